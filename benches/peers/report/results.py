"""Results of a run: lines of JSON, looked up by stage, engine, workload, metric and round."""

import json
import statistics


class Results:
    def __init__(self, paths):
        self.header, self.cells, self.cuts, self.loads = {}, {}, [], []
        for path in paths:
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    # The last line of a run that was cut off may be half a line.
                    if line.endswith("\n"):
                        self.add(json.loads(line))

    def add(self, line):
        if "header" in line:
            self.header = self.header or line["header"]
        elif "cut" in line:
            self.cuts.append(line["cut"])
        else:
            self.cells[line["stage"], line["engine"], line["workload"], line["round"]] = line
            self.loads.append(line.get("load_average") or 0.0)

    def stages(self):
        return list(dict.fromkeys(key[0] for key in self.cells))

    def engines(self, stage):
        return list(dict.fromkeys(key[1] for key in sorted(self.cells, key=lambda key: ORDER.index(key[1])) if key[0] == stage))

    def rounds(self, stage):
        return sorted({key[3] for key in self.cells if key[0] == stage})

    def describe(self, stage):
        """Rows and dimension of a stage."""
        cell = next(cell for key, cell in self.cells.items() if key[0] == stage)
        return cell["rows"], cell["dimension"]

    def memtable_bytes(self, stage):
        """None: each engine's default."""
        return next(cell.get("memtable_bytes") for key, cell in self.cells.items() if key[0] == stage)

    def at(self, stage, engine, round_):
        return Cells(self, stage, engine, round_)

    def values(self, stage, engine, value):
        """What `value` makes of each round in which everything it asks for was measured."""
        found = []
        for round_ in self.rounds(stage):
            try:
                found.append(value(self.at(stage, engine, round_)))
            except (KeyError, ZeroDivisionError):
                continue
        return found

    def median(self, stage, engine, value):
        found = self.values(stage, engine, value)
        return statistics.median(found) if found else None

    def ratio(self, stage, value, engine, other):
        """The median of the ratios of rounds: what both had in common in a round cancels out."""
        ratios = []
        for round_ in self.rounds(stage):
            try:
                ratios.append(value(self.at(stage, engine, round_)) / value(self.at(stage, other, round_)))
            except (KeyError, ZeroDivisionError):
                continue
        return statistics.median(ratios) if ratios else None

    def notes(self, stage, engine, workload):
        """Why there is no number, or what is to be said about it."""
        metrics = [cell["metrics"] for key, cell in self.cells.items() if key[:3] == (stage, engine, workload)]
        if any(over_budget(entry) for entry in metrics):
            return "over budget"
        return next((name for entry in metrics for name in ("error", "unsupported") if name in entry), None)

    def errors(self):
        for (stage, engine, workload, round_), cell in self.cells.items():
            if "error" in cell["metrics"] and not over_budget(cell["metrics"]):
                yield f"{stage}, {workload}, {engine}, round {round_}: {cell['metrics']['error']}"


def over_budget(metrics):
    """Itself, or the load before it."""
    return bool(metrics.get("over_budget")) or metrics.get("error", "").startswith("over budget")


class Cells:
    """The measurements of one engine in one round: `cells("get-hit", "mean_ns")`."""

    def __init__(self, results, stage, engine, round_):
        self.results, self.stage, self.engine, self.round = results, stage, engine, round_
        self.rows, self.dimension = results.describe(stage)

    def __call__(self, workload, metric):
        metrics = self.results.cells[self.stage, self.engine, workload, self.round]["metrics"]
        if metrics.get("error"):
            raise KeyError(metric)
        return metrics[metric]

    def of(self, engine):
        return Cells(self.results, self.stage, engine, self.round)


ORDER = ["machine", "varvite", "varvite-f32", "rocksdb", "fjall", "lmdb", "redb", "sqlite", "lancedb", "chromadb", "sqlite-vec", "usearch", "faiss", "numpy", "hnswlib"]
NAMES = {
    "machine": "machine", "varvite": "varvite", "varvite-f32": "varvite, no codes", "rocksdb": "RocksDB", "fjall": "fjall", "lmdb": "LMDB", "redb": "redb", "sqlite": "SQLite",
    "lancedb": "LanceDB", "chromadb": "ChromaDB", "sqlite-vec": "sqlite-vec", "usearch": "USearch",
    "faiss": "faiss", "numpy": "NumPy", "hnswlib": "hnswlib",
}
