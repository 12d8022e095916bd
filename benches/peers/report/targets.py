"""The targets that the project set itself, each with its ratio in this run, in their order."""

import math

from results import NAMES
from rows import GROWTH
from tables import growth_stages, number, table

SYNCING = ["rocksdb", "fjall", "lmdb", "redb", "sqlite"]
# What varvite may take for its memtables by default: `Options::memtable_bytes`.
MEMTABLE_BYTES = 128 << 20


class Targets:
    def __init__(self, results, main):
        self.results, self.main, self.rows = results, main, []

    def add(self, target, text, value, limit, at_most):
        if value is None:
            self.rows.append([target, text, sign(limit, at_most), "–", "–", "not measured in this run"])
            return
        share = (limit / value if value else math.inf) if at_most else value / limit
        # So close to the limit that rounding would hide on which side.
        shown = f"{value:.4f}" if 0 < abs(share - 1) < 0.01 else number(value)
        verdict = "met" if share >= 1 else "**missed**" if share >= 0.7 else "**missed by far**"
        self.rows.append([target, text, sign(limit, at_most), shown, "–" if math.isinf(share) else f"{share:.2f}", verdict])

    def own(self, value, stage=None, engine="varvite"):
        return self.results.median(stage or self.main, engine, value)

    def against(self, value, other, stage=None, engine="varvite"):
        return self.results.ratio(stage or self.main, value, engine, other)

    def loads(self):
        for text, workload, state, limit in [("bulk load", "bulk-load", "settled", 0.9), ("batch load, flushed and synced", "batch-load", "flushed", 0.45)]:
            value = self.own(lambda c: c(workload, f"{state}_bytes_per_s") / c(workload, "raw_bytes_per_s"))
            self.add("1", f"{text} / raw sequential write + sync just before and after", value, limit, False)
        states = [("acknowledged", "only journalled"), ("flushed", "flushed and synced"), ("settled", "flushed, synced, settled")]
        for state, text in states:
            value = lambda c: c("batch-load", f"{state}_bytes_per_s")
            ratios = [(ratio, engine) for engine in SYNCING if (ratio := self.against(value, engine)) is not None]
            ratio, engine = min(ratios, default=(None, None))
            self.add("1", f"batch load, all {text} / best peer that syncs ({NAMES.get(engine, '–')})", ratio, 1.2, False)

    def puts(self):
        self.add("2", "durable put p50 / bare append + fdatasync", self.against(lambda c: c("put-1", "put_p50_ns"), "machine"), 1.1, True)
        self.add("2", "durable puts, 8 threads / 1 thread", self.own(lambda c: c("put-8", "per_s") / c("put-1", "per_s")), 4, False)
        value = self.own(lambda c: c("put-under-load", "put_p999_ns") / c("put-under-load", "bare_p999_ns"))
        self.add("2", "durable put p99.9 under load / bare append + fdatasync in turn with it", value, 3, True)
        # From outside: what the batch itself and the kernel's throttling of writers took is in it.
        value = self.own(lambda c: c("churn", "longest_batch_ns") / 1e6)
        self.add("2", "longest stall, at most: longest unsynced batch of 1,000 while overwriting, ms", value, 100, True)

    def gets(self):
        for stage in self.results.stages():
            ratio = self.against(lambda c: c("get-hit", "mean_ns"), "lmdb", stage)
            if ratio is not None and not stage.startswith("scale-"):
                rows, dimension = self.results.describe(stage)
                self.add("3", f"get / LMDB, {rows:,} × {dimension} ({stage})", ratio, 0.5, True)
        self.add("3", "get, miss / hit", self.own(lambda c: c("get-miss", "mean_ns") / c("get-hit", "mean_ns")), 0.5, True)
        self.add("3", "multi_get of 64, a row / get", self.own(lambda c: c("multi-get-64", "mean_ns") / c("get-hit", "mean_ns")), 0.5, True)
        value = self.own(lambda c: c("get-under-load", "loaded_p99_ns") / c("get-under-load", "idle_p99_ns"))
        self.add("3", "get p99 while a load runs / idle", value, 3, True)
        self.add("3", "gets, 2 threads / 1 thread", self.own(lambda c: c("get-hit-2", "per_s") / c("get-hit", "per_s")), 1.9, False)

    def scans(self):
        for text, workload in [("ordered scan + dot", "scan-dot"), ("exact search", "search")]:
            value = self.own(lambda c: c(workload, "bytes_per_s") / c.of("machine")("scan-dot", "plain_bytes_per_s"))
            self.add("4", f"{text} / memory read", value, 0.9, False)
        self.add("4", "ordered scan + dot / LMDB", self.against(lambda c: c("scan-dot", "bytes_per_s"), "lmdb"), 2, False)
        self.add("4", "prefix scan, first row, µs", self.own(lambda c: c("prefix-scan", "first_row_p50_ns") / 1e3), 2, True)

    def opens(self):
        value = lambda c: c("reopen-clean", "open_ns") / 1e6
        opened = [(self.results.describe(stage)[0], self.own(value, stage)) for stage in self.results.stages()]
        opened = sorted((rows, cost) for rows, cost in opened if cost is not None)
        (few, cheap), (many, dear) = (opened[0], opened[-1]) if opened else ((0, None), (0, None))
        self.add("5", f"open, clean, {many:,} rows, ms", dear, 5, True)
        # Independent of the number: what differs by less than this is the machine.
        self.add("5", f"open, clean, {many:,} rows / {few:,} rows", dear / cheap if few < many else None, 1.5, True)
        value = self.own(lambda c: c("reopen-killed", "acknowledged_bytes") / c("reopen-killed", "open_ns"))
        self.add("5", "recovery after kill -9, GB/s of acknowledged bytes", value, 1, False)

    def space(self):
        rows, dimension = self.results.describe(self.main)
        codes = rows * (dimension + 12) if dimension >= 128 else 0
        value = self.own(lambda c: c("batch-load", "disk_bytes") / (c("batch-load", "user_bytes") + codes))
        self.add("6", "disk after batch load / vectors, ids and codes", value, 1.02, True)
        stage = "load-4gb" if "load-4gb" in self.results.stages() else self.main
        value = self.own(lambda c: c("batch-load", "written_pages_bytes") / c("batch-load", "user_bytes"), stage)
        self.add("6", f"bytes written by a random-order load / raw ({stage})", value, 4.5, True)
        written = lambda c: c("churn", "written_pages_bytes") / c("churn", "user_bytes")
        disk = lambda c: c("churn", "disk_bytes") / c("churn", "disk_before_bytes")
        for stage, limit in [("churn-10", 4), ("churn-100", 5.5), ("churn-1000", 7)]:
            memtables = f"live = {stage[6:]} memtables"
            self.add("6", f"bytes written by uniform overwriting / raw, {memtables}", self.own(written, stage), limit, True)
            for peer in ("rocksdb", "fjall"):
                ratio = self.against(written, peer, stage)
                if ratio is None:
                    continue
                room = " and ".join(number(self.results.median(stage, engine, disk)) for engine in ("varvite", peer))
                text = f"the same / {NAMES[peer]}'s, {memtables}; disk then {room} of what it was"
                self.add("6", text, ratio, 1, True)

    def memory(self):
        for text, workload in [("bulk load", "bulk-load"), ("batch load", "batch-load"), ("gets", "get-hit")]:
            value = self.own(lambda c: c(workload, "anonymous_peak_bytes") / (MEMTABLE_BYTES + 10 * c.rows))
            self.add("7", f"memory beyond mapped files, {text} / memtable budget + 10 bytes a record", value, 1, True)

    def growth(self):
        """Cost at the most rows over cost at the fewest, against what a logarithm allows."""
        sized = growth_stages(self.results)
        for row in GROWTH:
            costs = [(rows, self.own(row.value, stage)) for rows, stage in sized]
            costs = [(rows, cost) for rows, cost in costs if cost is not None]
            if len(costs) >= 2:
                (few, cheap), (many, dear) = costs[0], costs[-1]
                self.add("8", f"{row.label}: {many:,} rows / {few:,} rows (limit: the logarithms')", dear / cheap, math.log(many) / math.log(few), True)

    def searches(self):
        """Those of exact search in f32 and by codes, on the rows of the stage of that name."""
        if (stage := "search") not in self.results.stages():
            return
        pair = lambda workload: lambda c: c(workload, "ns_a_pair")
        plain = "varvite-f32"
        value = self.own(lambda c: c("search", "bytes_per_s") / c.of("machine")("scan-dot", "plain_bytes_per_s"), stage, plain)
        self.add("search", "search in f32, 1 query / memory read", value, 0.97, False)
        for workload, peer, limit in [("search", plain, 3.3), ("search", "faiss", 3.5), ("search-16", plain, 1), ("search-64", plain, 1)]:
            ratio = self.against(pair(workload), peer, stage)
            queries = workload.removeprefix("search").removeprefix("-") or "1"
            text = f"search by codes, {queries} {'query' if queries == '1' else 'queries'}: times as fast as {NAMES[peer]}"
            self.add("search", text, ratio and 1 / ratio, limit, False)
        limits = [("search", "faiss", 1), ("search", "usearch", 2), ("search-16", "faiss", 9), ("search-16", "numpy", 2), ("search-64", "faiss", 12)]
        for workload, peer, limit in [*limits, ("search-64", "numpy", 1.2), ("search-512", "faiss", 4), ("search-512", "numpy", 1)]:
            ratio = self.against(pair(workload), peer, stage, plain)
            queries = workload.removeprefix("search").removeprefix("-") or "1"
            text = f"search in f32, {queries} {'query' if queries == '1' else 'queries'}: times as fast as {NAMES[peer]}"
            self.add("search", text, ratio and 1 / ratio, limit, False)
        for text, engine in [("in f32", plain), ("by codes", "varvite")]:
            value = self.own(lambda c: c("search-1000-nearest", "ns_a_pair") / c("search", "ns_a_pair"), stage, engine)
            self.add("search", f"search {text}, 1,000 nearest / 10 nearest", value, 2, True)

    def table(self):
        for part in (self.searches, self.loads, self.puts, self.gets, self.scans, self.opens, self.space, self.memory, self.growth):
            part()
        return table(["target", "", "limit", "measured", "share of the target", "verdict"], self.rows)


def sign(limit, at_most):
    return f"{'≤' if at_most else '≥'} {limit:.3g}"
