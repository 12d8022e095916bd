"""Plots of a run, drawn by matplotlib as SVG, the same bytes for the same results."""

import os
import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402 (after the choice of the backend)

from results import NAMES, ORDER  # noqa: E402
from rows import GROWTH  # noqa: E402
from tables import growth_stages, number  # noqa: E402

# Text stays text and ids are not random: small files that diff well.
plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "varvite", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
COLOURS = {engine: plt.get_cmap("tab10")(max(at - 1, 0) % 10) for at, engine in enumerate(ORDER)}
COLOURS["machine"] = "0.6"
# Told apart without colours too.
MARKERS = dict(zip(ORDER, "xos^DvP*<>h"))


class Plots:
    def __init__(self, results, main, folder):
        self.results, self.main, self.folder, self.drawn = results, main, folder, []
        os.makedirs(folder, exist_ok=True)

    def save(self, figure, name, caption):
        figure.tight_layout()
        figure.savefig(os.path.join(self.folder, f"{name}.svg"), metadata={"Date": None, "Creator": None})
        plt.close(figure)
        self.drawn.append((name, caption))

    def bars(self, name, caption, panels):
        """A panel for each (title, unit, value), a bar for each engine."""
        figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 2.6))
        for axis, (title, value) in zip(axes, panels):
            engines = self.results.engines(self.main)
            found = [(engine, self.results.values(self.main, engine, value)) for engine in engines]
            found = [(engine, sorted(values)) for engine, values in found if values]
            medians = [statistics.median(values) for _, values in found]
            # From the lowest to the highest round.
            spread = [[median - values[0] for median, (_, values) in zip(medians, found)], [values[-1] - median for median, (_, values) in zip(medians, found)]]
            names = [NAMES[engine] for engine, _ in found]
            drawn = axis.barh(names, medians, xerr=spread, color=[COLOURS[engine] for engine, _ in found], error_kw={"lw": 0.8})
            axis.bar_label(drawn, labels=[number(median) for median in medians], padding=3, fontsize=7)
            axis.margins(x=0.2)
            axis.invert_yaxis()
            axis.set_title(title, fontsize=9)
        self.save(figure, name, caption)

    def throughput(self):
        rate = lambda workload, name: lambda cells: cells(workload, name) / 1e6
        self.bars("loads", "Loads: medians, and the range of the rounds.", [
            ("bulk load, MB/s", rate("bulk-load", "settled_bytes_per_s")),
            ("batch load, flushed and synced, MB/s", rate("batch-load", "flushed_bytes_per_s")),
            ("overwriting, settled, MB/s", rate("churn", "settled_bytes_per_s")),
        ])
        self.bars("reads", "Reads, each row multiplied with a query. The machine's bars: rows of a mapped file without a lookup, and plain reading of memory.", [
            ("get + dot, ns", lambda cells: cells("get-hit", "mean_ns")),
            ("multi_get of 64 + dot, ns a row", lambda cells: cells("multi-get-64", "mean_ns")),
            ("ordered scan + dot, GB/s", lambda cells: cells("scan-dot", "plain_bytes_per_s" if cells.engine == "machine" else "bytes_per_s") / 1e9),
        ])

    def percentiles(self):
        """Latency by percentile while the database is written to."""
        suffixes = ["p50", "p90", "p99", "p999", "max"]
        panels = [("get while a load runs", "get-under-load", "loaded"), ("durable put under load", "put-under-load", "put"), ("durable put, 8 threads", "put-8", "put")]
        figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3))
        for axis, (title, workload, name) in zip(axes, panels):
            for engine in self.results.engines(self.main):
                points = [self.results.median(self.main, engine, lambda cells, suffix=suffix: cells(workload, f"{name}_{suffix}_ns") / 1e3) for suffix in suffixes]
                if None not in points:
                    axis.plot(suffixes, points, marker=MARKERS[engine], ms=4, lw=1, color=COLOURS[engine], label=NAMES[engine])
            axis.set_yscale("log")
            axis.set_title(f"{title}, µs", fontsize=9)
        bare = [self.results.median(self.main, "varvite", lambda cells, suffix=suffix: cells("put-under-load", f"bare_{suffix}_ns") / 1e3) for suffix in suffixes]
        if None not in bare:
            axes[1].plot(suffixes, bare, color="0.6", ls="--", lw=1, label="append + fdatasync")
        if axes[1].lines:
            axes[1].legend(fontsize=6, frameon=False)
        self.save(figure, "latency", "Latency percentiles under load, medians of the rounds.")

    def growth(self):
        """Cost of an operation against the number of rows."""
        sized = growth_stages(self.results)
        if len(sized) < 2:
            return
        measured = [row for row in GROWTH if any(self.results.median(stage, "varvite", row.value) is not None for _, stage in sized)]
        across = 4
        down = -(-len(measured) // across)
        figure, axes = plt.subplots(down, across, figsize=(3 * across, 2.6 * down), squeeze=False)
        for axis in axes.flat[len(measured) :]:
            axis.set_visible(False)
        for axis, row in zip(axes.flat, measured):
            for engine in self.results.engines(sized[0][1]):
                points = [(rows, self.results.median(stage, engine, row.value)) for rows, stage in sized]
                points = [point for point in points if point[1] is not None]
                if points:
                    axis.plot(*zip(*points), marker=MARKERS[engine], ms=4, lw=1, color=COLOURS[engine], label=NAMES[engine])
            axis.set_xscale("log")
            axis.set_ylim(bottom=0)
            axis.set_xlabel("rows")
            axis.set_title(f"{row.label}, {row.unit}", fontsize=9)
            axis.legend(fontsize=6, frameon=False)
        self.save(figure, "growth", f"Cost against the number of rows ({self.results.describe(sized[0][1])[1]} dimensions).")

    def draw(self):
        self.throughput()
        self.percentiles()
        self.growth()
        return self.drawn
