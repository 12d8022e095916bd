"""The targets that the project set itself, each with its ratio in this run."""

import math
import re

from results import NAMES
from tables import number, table

SYNCING = ["rocksdb", "fjall", "lmdb", "redb", "sqlite"]


class Targets:
    def __init__(self, results, main):
        self.results, self.main, self.rows = results, main, []

    def add(self, text, value, limit, at_most):
        if value is None:
            self.rows.append([text, sign(limit, at_most), "–", "not measured in this run"])
            return
        met = value <= limit if at_most else value >= limit
        # So close to the limit that rounding would hide on which side.
        shown = f"{value:.4f}" if 0 < abs(value / limit - 1) < 0.01 else number(value)
        self.rows.append([text, sign(limit, at_most), shown, "met" if met else "**missed**"])

    def own(self, value, stage=None):
        return self.results.median(stage or self.main, "varvite", value)

    def against(self, value, other, stage=None):
        return self.results.ratio(stage or self.main, value, "varvite", other)

    def best_peer(self, value):
        ratios = [(engine, self.against(value, engine)) for engine in SYNCING]
        known = [(engine, ratio) for engine, ratio in ratios if ratio is not None]
        return min(known, key=lambda entry: entry[1]) if known else (None, None)

    def loads(self):
        self.add("bulk load / raw sequential write + sync", self.against(lambda c: c("bulk-load", "settled_bytes_per_s"), "machine"), 0.9, False)
        for state, limit in [("settled", 0.45)]:
            value = self.own(lambda c: c("batch-load", "settled_bytes_per_s") / c.of("machine")("batch-load", "settled_bytes_per_s"))
            self.add(f"batch load, {state} / raw sequential write + sync", value, limit, False)
        for state in ["synced", "settled"]:
            engine, ratio = self.best_peer(lambda c, state=state: c("batch-load", f"{state}_bytes_per_s"))
            name = "journalled and synced" if state == "synced" else "flushed, settled, synced"
            self.add(f"batch load, {name} / best peer that syncs ({NAMES.get(engine, '–')})", ratio, 1.2, False)

    def puts(self):
        self.add("durable put p50 / bare append + fdatasync", self.against(lambda c: c("put-1", "put_p50_ns"), "machine"), 1.1, True)
        self.add("durable puts, 8 threads / 1 thread", self.own(lambda c: c("put-8", "per_s") / c("put-1", "per_s")), 4, False)
        value = self.own(lambda c: c("put-under-load", "put_p999_ns") / c("put-under-load", "bare_p999_ns"))
        self.add("durable put p99.9 under load / bare append + fdatasync in turn with it", value, 3, True)

    def gets(self):
        for stage in self.results.stages():
            ratio = self.against(lambda c: c("get-hit", "mean_ns"), "lmdb", stage)
            if ratio is not None and not stage.startswith("space"):
                rows, dimension = self.results.describe(stage)
                self.add(f"get / LMDB, {rows:,} × {dimension} ({stage})", ratio, 0.5, True)
        self.add("get, miss / hit", self.own(lambda c: c("get-miss", "mean_ns") / c("get-hit", "mean_ns")), 0.5, True)
        self.add("multi_get of 64, a row / get", self.own(lambda c: c("multi-get-64", "mean_ns") / c("get-hit", "mean_ns")), 0.5, True)
        self.add("get p99 while a load runs / idle", self.own(lambda c: c("get-under-load", "loaded_p99_ns") / c("get-under-load", "idle_p99_ns")), 3, True)
        self.add("gets, 2 threads / 1 thread", self.own(lambda c: c("get-hit-2", "per_s") / c("get-hit", "per_s")), 1.9, False)

    def scans(self):
        memory = self.own(lambda c: c("scan-dot", "bytes_per_s") / c.of("machine")("scan-dot", "plain_bytes_per_s"))
        self.add("ordered scan + dot / memory read", memory, 0.9, False)
        self.add("ordered scan + dot / LMDB", self.against(lambda c: c("scan-dot", "bytes_per_s"), "lmdb"), 2, False)
        search = self.own(lambda c: c("search", "bytes_per_s") / c.of("machine")("scan-dot", "plain_bytes_per_s"))
        self.add("exact search / memory read", search, 0.9, False)
        self.add("prefix scan, first row, µs", self.own(lambda c: c("prefix-scan", "first_row_p50_ns") / 1e3), 2, True)

    def opens(self):
        for stage in self.results.stages():
            value = self.own(lambda c: c("reopen-clean", "open_ns") / 1e6, stage)
            if value is not None:
                self.add(f"open, clean, ms, {self.results.describe(stage)[0]:,} rows ({stage})", value, 5, True)
        value = self.own(lambda c: c("reopen-killed", "disk_before_bytes") / c("reopen-killed", "open_ns"))
        self.add("recovery, GB/s of files on disk / time to open after kill -9", value, 1, False)

    def space(self):
        self.add("disk after batch load / raw", self.own(lambda c: c("batch-load", "disk_bytes") / c("batch-load", "user_bytes")), 1.02, True)
        amplification = lambda c: c("batch-load", "written_pages_bytes") / c("batch-load", "user_bytes")
        stage = "load-4gb" if "load-4gb" in self.results.stages() else self.main
        self.add(f"bytes written by a random-order load / raw ({stage})", self.own(amplification, stage), 4.5, True)
        for stage, limit in [("churn-10", 4), ("churn-100", 5.5), ("churn-1000", 7)]:
            value = self.own(lambda c: c("churn", "written_pages_bytes") / c("churn", "user_bytes"), stage)
            self.add(f"bytes written by uniform overwriting / raw, live = {stage[6:]} write buffers", value, limit, True)
        rows, _ = self.results.describe(self.main)
        value = self.own(lambda c: (c("batch-load", "memory_peak_bytes") - (64 << 20)) / rows)
        self.add("memory beyond mapped files and write buffers while loading, bytes a record", value, 10, True)

    def growth(self):
        """Cost at the most rows over cost at the fewest, against what a logarithm allows."""
        sizes = sorted((int(match[1]), stage) for stage in self.results.stages() if (match := re.fullmatch(r"scale-(\d+)", stage)))
        costs = [(rows, self.own(lambda c: c("get-hit", "mean_ns"), stage)) for rows, stage in sizes]
        costs = [(rows, cost) for rows, cost in costs if cost is not None]
        if len(costs) >= 2:
            (few, cheap), (many, dear) = costs[0], costs[-1]
            limit = math.log(many) / math.log(few)
            self.add(f"get at {many:,} rows / at {few:,} rows (a logarithm: {limit:.2f})", dear / cheap, limit, True)

    def table(self):
        for part in (self.loads, self.puts, self.gets, self.scans, self.opens, self.space, self.growth):
            part()
        return table(["target", "limit", "measured", "verdict"], self.rows)


def sign(limit, at_most):
    return f"{'≤' if at_most else '≥'} {limit:.3g}"
