"""What the tables show: a label, a unit, which way is better, the workload, and how the number comes from a round's metrics."""

from dataclasses import dataclass
from typing import Callable


@dataclass
class Row:
    label: str
    unit: str
    # None: nobody is ahead in it.
    lower_is_better: bool | None
    workload: str
    value: Callable


def metric(label, unit, scale, lower, workload, name):
    return Row(label, unit, lower, workload, lambda cells: cells(workload, name) * scale)


def share(label, lower, workload, over, under):
    return Row(label, "×", lower, workload, lambda cells: cells(workload, over) / cells(workload, under))


MB, MILLI, MICRO = 1e-6, 1e-6, 1e-3

LOADS = [
    metric("bulk load in the order of ids, settled and synced", "MB/s", MB, False, "bulk-load", "settled_bytes_per_s"),
    metric("batch load, acknowledged: journalled, unsynced", "MB/s", MB, False, "batch-load", "acknowledged_bytes_per_s"),
    metric("batch load, flushed and synced", "MB/s", MB, False, "batch-load", "flushed_bytes_per_s"),
    metric("batch load, flushed, synced, settled", "MB/s", MB, False, "batch-load", "settled_bytes_per_s"),
    share("disk after batch load / raw", True, "batch-load", "disk_bytes", "user_bytes"),
    share("disk after bulk load / raw", True, "bulk-load", "disk_bytes", "user_bytes"),
    share("bytes written by batch load / raw", True, "batch-load", "written_pages_bytes", "user_bytes"),
    metric("batch load, longest batch of 1,000", "ms", MILLI, True, "batch-load", "longest_batch_ns"),
    metric("memory, bulk load, anonymous", "MB", MB, True, "bulk-load", "anonymous_peak_bytes"),
    metric("memory, batch load, anonymous", "MB", MB, True, "batch-load", "anonymous_peak_bytes"),
    metric("memory, batch load, of mapped files", "MB", MB, None, "batch-load", "file_peak_bytes"),
]
PUTS = [
    metric("durable put, 1 thread, p50", "µs", MICRO, True, "put-1", "put_p50_ns"),
    metric("durable put, 1 thread, p99.9", "µs", MICRO, True, "put-1", "put_p999_ns"),
    metric("durable puts a second, 1 thread", "", 1, False, "put-1", "per_s"),
    metric("durable puts a second, 2 threads", "", 1, False, "put-2", "per_s"),
    metric("durable puts a second, 8 threads", "", 1, False, "put-8", "per_s"),
    metric("durable put under load, p50", "µs", MICRO, True, "put-under-load", "put_p50_ns"),
    metric("durable put under load, p99.9", "µs", MICRO, True, "put-under-load", "put_p999_ns"),
    metric("durable put under load, longest", "ms", MILLI, True, "put-under-load", "put_max_ns"),
    metric("the load beside durable puts", "MB/s", MB, False, "put-under-load", "background_bytes_per_s"),
    metric("put unsynced among all rows, p50", "µs", MICRO, True, "put-buffered", "put_p50_ns"),
    metric("puts unsynced among all rows, a second", "thousand", 1e-3, False, "put-buffered", "per_s"),
]
READS = [
    metric("get + dot, hit", "ns", 1, True, "get-hit", "mean_ns"),
    metric("get + dot, hit, p99", "ns", 1, True, "get-hit", "get_p99_ns"),
    metric("gets a second, 2 threads", "", 1, False, "get-hit-2", "per_s"),
    metric("get, miss", "ns", 1, True, "get-miss", "mean_ns"),
    metric("get + dot, Zipf", "ns", 1, True, "get-zipf", "mean_ns"),
    metric("multi_get of 64 + dot, a row", "ns", 1, True, "multi-get-64", "mean_ns"),
    metric("memory, gets, anonymous", "MB", MB, True, "get-hit", "anonymous_peak_bytes"),
    metric("memory, gets, of mapped files", "MB", MB, None, "get-hit", "file_peak_bytes"),
    metric("ordered scan, rows a second", "million", 1e-6, False, "scan", "rows_per_s"),
    metric("ordered scan + dot", "GB/s", 1e-9, False, "scan-dot", "bytes_per_s"),
    metric("prefix scan, first row, p50", "µs", MICRO, True, "prefix-scan", "first_row_p50_ns"),
    metric("prefix scan, all rows, p50", "µs", MICRO, True, "prefix-scan", "all_rows_p50_ns"),
    metric("search, 10 nearest", "GB/s", 1e-9, False, "search", "bytes_per_s"),
]
SEARCHES = [
    metric("search, 1 query, a row", "ns", 1, True, "search", "ns_a_pair"),
    metric("search, 16 queries, a row and query", "ns", 1, True, "search-16", "ns_a_pair"),
    metric("search, 64 queries, a row and query", "ns", 1, True, "search-64", "ns_a_pair"),
    metric("search, 512 queries, a row and query", "ns", 1, True, "search-512", "ns_a_pair"),
    metric("search, 1,000 nearest, a row", "ns", 1, True, "search-1000-nearest", "ns_a_pair"),
    metric("found of the exact 10 nearest (1 where exact)", "", 1, None, "search", "recall"),
]
CHANGES = [
    metric("overwriting, settled", "MB/s", MB, False, "churn", "settled_bytes_per_s"),
    share("bytes written by overwriting / raw", True, "churn", "written_pages_bytes", "user_bytes"),
    share("disk, peak of overwriting / before", True, "churn", "disk_peak_bytes", "disk_before_bytes"),
    share("disk, settled after overwriting / before", True, "churn", "disk_bytes", "disk_before_bytes"),
    metric("longest batch of 1,000 while overwriting", "ms", MILLI, True, "churn", "longest_batch_ns"),
    metric("deletes a second, acknowledged", "thousand", 1e-3, False, "delete", "rows_per_s"),
    metric("deletes a second, settled", "thousand", 1e-3, False, "delete", "settled_rows_per_s"),
    share("disk after deleting half / before", True, "delete", "disk_bytes", "disk_before_bytes"),
    metric("put and get in turn, operations a second", "thousand", 1e-3, False, "mixed", "mixed_per_s"),
    metric("reader beside them, gets a second", "thousand", 1e-3, False, "mixed", "reader_per_s"),
    metric("reader beside them, p99", "µs", MICRO, True, "mixed", "reader_p99_ns"),
    metric("get while a load runs, p99", "µs", MICRO, True, "get-under-load", "loaded_p99_ns"),
    metric("the load beside gets", "MB/s", MB, False, "get-under-load", "load_bytes_per_s"),
]
OPENS = [
    metric("open, clean", "ms", MILLI, True, "reopen-clean", "open_ns"),
    metric("open, clean, and get a row", "ms", MILLI, True, "reopen-clean", "open_and_get_ns"),
    metric("open after kill -9, and get the last row", "ms", MILLI, True, "reopen-killed", "open_and_get_ns"),
    Row("acknowledged bytes over the time of that open", "GB/s", None, "reopen-killed", lambda cells: cells("reopen-killed", "acknowledged_bytes") / cells("reopen-killed", "open_ns")),
    metric("acknowledged rows lost by kill -9", "", 1, True, "reopen-killed", "lost_rows"),
]
SECTIONS = [("Loading and space", LOADS), ("Durable puts", PUTS), ("Reading", READS), ("Searching", SEARCHES), ("Changing", CHANGES), ("Opening", OPENS)]

# What the machine does by itself, for the column beside the engines: who measured it, and what.
CEILINGS = {
    "bulk-load": ("varvite", metric("", "MB/s", MB, False, "bulk-load", "raw_bytes_per_s")),
    "batch-load": ("varvite", metric("", "MB/s", MB, False, "batch-load", "raw_bytes_per_s")),
    "put-1": ("machine", metric("", "µs", MICRO, True, "put-1", "put_p50_ns")),
    "get-hit": ("machine", metric("", "ns", 1, True, "get-hit", "mean_ns")),
    "scan-dot": ("machine", metric("", "GB/s", 1e-9, False, "scan-dot", "plain_bytes_per_s")),
    "search": ("machine", metric("", "GB/s", 1e-9, False, "scan-dot", "plain_bytes_per_s")),
}


def nanoseconds_a_row(workload, rate):
    return lambda cells: 1e9 * cells(workload, "user_bytes") / cells(workload, rate) / cells.rows


# Costs of one operation or one row, against the number of rows.
GROWTH = [
    Row("bulk load, a row", "ns", True, "bulk-load", nanoseconds_a_row("bulk-load", "settled_bytes_per_s")),
    metric("get + dot, hit", "ns", 1, True, "get-hit", "mean_ns"),
    metric("get, miss", "ns", 1, True, "get-miss", "mean_ns"),
    Row("ordered scan + dot, a row", "ns", True, "scan-dot", lambda cells: 1e9 / cells("scan-dot", "rows_per_s")),
    metric("prefix scan, first row, p50", "µs", MICRO, True, "prefix-scan", "first_row_p50_ns"),
    metric("put unsynced, p50", "µs", MICRO, True, "put-buffered", "put_p50_ns"),
    metric("open, clean", "ms", MILLI, True, "reopen-clean", "open_ns"),
]
