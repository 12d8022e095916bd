"""Measures cells with a store that only Python can drive: `runner.py cell SPEC…` prints the metrics of each, `runner.py describe` versions and settings.

The specification, the workloads and the names of metrics are those of src/cell.rs and src/workloads.
"""

import importlib.metadata
import json
import os
import shutil
import sys
import time

# One thread for all: before NumPy, which asks for them when it is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from data import Data
from meter import Latencies, Meter, disk_bytes
from stores import MODULES, Unsupported, store

BATCH = 1000
OPENS = 7


class Cell:
    def __init__(self, spec):
        self.spec, self.data = spec, Data(spec)
        self.main = os.path.join(spec["directory"], "main")
        self.mark = os.path.join(spec["directory"], "loaded")
        self.deadline = time.monotonic() + spec["budget"]
        self.random = np.random.default_rng(42)

    def open(self, path=None, durable=False):
        return store(self.spec["engine"])(path or self.main, self.data.dimension, durable)

    def open_empty(self, path=None, durable=False):
        shutil.rmtree(path or self.main, ignore_errors=True)
        return self.open(path, durable)

    def load(self, target):
        """Batches in random order: how many rows, in how many seconds."""
        order, seconds, rows = self.data.order(), 0.0, 0
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            ids, vectors = [self.data.id(row) for row in batch], self.data.vectors(batch)
            started = time.perf_counter()
            target.put_batch(ids, vectors)
            seconds += time.perf_counter() - started
            rows += len(batch)
            if time.monotonic() > self.deadline:
                break
        return rows, seconds

    def open_loaded(self):
        if not os.path.exists(self.mark):
            target = self.open_empty()
            self.load(target)
            target.settle()
            target.close()
            open(self.mark, "w").close()
        return self.open()

    def unmark(self):
        if os.path.exists(self.mark):
            os.remove(self.mark)

    def turns(self):
        """Random rows for as long as a workload runs, one at least."""
        end = time.monotonic() + self.spec["seconds"]
        while True:
            yield int(self.random.integers(self.data.rows))
            if time.monotonic() > end:
                return


def batch_load(cell):
    metrics = {}
    cell.unmark()
    meter = Meter(cell.main)
    target = cell.open_empty()
    rows, acknowledged = cell.load(target)
    started = time.perf_counter()
    target.sync()
    flushed = acknowledged + time.perf_counter() - started
    target.settle()
    settled = acknowledged + time.perf_counter() - started
    meter.stop(metrics)
    metrics["disk_bytes"] = disk_bytes(cell.main)
    target.close()
    over = rows < cell.data.rows
    size = cell.data.bytes() * rows / cell.data.rows
    for name, seconds in [("acknowledged", acknowledged), ("flushed", flushed), ("settled", settled)]:
        metrics[f"{name}_bytes_per_s"] = size / seconds
    metrics["user_bytes"], metrics["over_budget"] = size, over
    if not over:
        open(cell.mark, "w").close()
    return metrics


def reads(cell, size, missing=False):
    metrics, latencies = {}, Latencies()
    target, query = cell.open_loaded(), cell.data.vectors([0])[0]
    suffix = "?" if missing else ""
    target.get([cell.data.id(0)])  # What is loaded at first use is not a read.
    for first in cell.turns():
        rows = [first] + [int(row) for row in cell.random.integers(cell.data.rows, size=size - 1)]
        ids = sorted({cell.data.id(row) + suffix for row in rows})

        def get():
            vectors, count = target.get(ids)
            return count, None if missing else (vectors.reshape(-1, cell.data.dimension) @ query).sum()

        count, _ = latencies.time(get)
        if count != (0 if missing else len(ids)):
            raise RuntimeError(f"{count} of {len(ids)} ids were found")
    metrics["mean_ns"] = latencies.mean() / size
    if size == 1:
        metrics["per_s"] = 1e9 / latencies.mean()
        latencies.report("get", metrics)
    target.close()
    return metrics


def search(cell, batch=1, k=10):
    metrics, latencies = {}, Latencies()
    target = cell.open_loaded()
    if batch * k > 10 and not hasattr(target, "search_many"):
        raise Unsupported("asked for the ten nearest of one query only")
    run = target.search_many if batch > 1 else lambda queries, k: target.search(queries[0], k)
    run(cell.data.vectors([0] * batch), k)
    for row in cell.turns():
        rows = [row] + [int(row) for row in cell.random.integers(cell.data.rows, size=batch - 1)]
        queries = np.ascontiguousarray(cell.data.vectors(rows))
        count = latencies.time(lambda: run(queries, k))
        if count != batch * min(k, cell.data.rows):
            raise RuntimeError(f"the search gave {count} hits")
    latencies.report("search", metrics)
    metrics["ns_a_pair"] = metrics["search_p50_ns"] / cell.data.rows / batch
    metrics["bytes_per_s"] = cell.data.rows * cell.data.dimension * 4 * 1e9 / metrics["search_p50_ns"]
    if getattr(target, "approximate", False):
        metrics["recall"] = recall(cell, target, k)
    target.close()
    return metrics


def recall(cell, target, k):
    """The share of the k nearest that an approximate index finds, of 100 rows as queries."""
    queries = cell.data.vectors(cell.random.integers(cell.data.rows, size=100))
    exact = np.argpartition(-(queries @ target.rows.T), k, axis=1)[:, :k]
    found = target.labels(queries, k)
    return sum(len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist())) / exact.size


def reopen_clean(cell):
    cell.open_loaded().close()
    opens, gets = [], []
    name = cell.data.id(cell.data.rows // 2)
    for _ in range(OPENS):
        started = time.perf_counter_ns()
        target = cell.open()
        opens.append(time.perf_counter_ns() - started)
        target.get([name])
        gets.append(time.perf_counter_ns() - started)
        target.close()
    return {"open_ns": sorted(opens)[OPENS // 2], "open_and_get_ns": sorted(gets)[OPENS // 2]}


def delete(cell):
    metrics = {}
    order = cell.data.order()[: cell.data.rows // 2]
    # Whatever ran before: what is deleted from was loaded and settled.
    cell.unmark()
    target = cell.open_loaded()
    cell.unmark()
    metrics["disk_before_bytes"] = disk_bytes(cell.main)
    meter, seconds, deleted = Meter(cell.main), 0.0, 0
    for start in range(0, len(order), BATCH):
        ids = [cell.data.id(row) for row in order[start : start + BATCH]]
        started = time.perf_counter()
        target.delete(ids)
        seconds += time.perf_counter() - started
        deleted += len(ids)
        if time.monotonic() > cell.deadline:
            metrics["over_budget"] = True
            break
    started = time.perf_counter()
    target.settle()
    settled = seconds + time.perf_counter() - started
    meter.stop(metrics)
    metrics["rows_per_s"], metrics["settled_rows_per_s"] = deleted / seconds, deleted / settled
    metrics["disk_bytes"] = disk_bytes(cell.main)
    target.close()
    return metrics


def put_single(cell):
    metrics, latencies = {}, Latencies()
    path = os.path.join(cell.spec["directory"], "puts")
    target, order, number = cell.open_empty(path, durable=True), cell.data.order(), 0
    started = time.perf_counter()
    for _ in cell.turns():
        row = order[number]
        name, vector = cell.data.id(row), cell.data.vectors([row])[0]
        latencies.time(lambda: target.put(name, vector))
        number += 1
        if number == len(order):
            break
    metrics["per_s"] = number / (time.perf_counter() - started)
    latencies.report("put", metrics)
    target.close()
    shutil.rmtree(path)
    return metrics


WORKLOADS = {
    "batch-load": batch_load,
    "get-hit": lambda cell: reads(cell, 1),
    "get-miss": lambda cell: reads(cell, 1, missing=True),
    "multi-get-64": lambda cell: reads(cell, 64),
    "search": search,
    "search-16": lambda cell: search(cell, 16),
    "search-64": lambda cell: search(cell, 64),
    "search-512": lambda cell: search(cell, 512),
    "search-1000-nearest": lambda cell: search(cell, k=1000),
    "reopen-clean": reopen_clean,
    "delete": delete,
    "put-1": put_single,
}


def describe():
    described = {}
    for name in MODULES:
        kind = store(name)
        described[name] = {"version": f"{kind.package} {importlib.metadata.version(kind.package)}", "settings": kind.settings}
    return described


def main():
    if sys.argv[1] == "describe":
        print(json.dumps(describe()))
        return
    for spec in map(json.loads, sys.argv[2:]):
        os.sync()  # Else the write-back of one workload would fall into the time of the next.
        try:
            metrics = WORKLOADS[spec["workload"]](Cell(spec))
        except Unsupported as reason:
            metrics = {"unsupported": str(reason)}
        except Exception as error:  # The run goes on: the error is the result.
            metrics = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(metrics), flush=True)


if __name__ == "__main__":
    main()
