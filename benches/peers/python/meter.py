"""What a measured stretch cost; the counterpart of src/measure.rs, with the same names."""

import os
import threading
import time


def field(path, name):
    try:
        with open(path, encoding="ascii") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)
    except OSError:
        return 0


def resident_bytes():
    return field("/proc/self/status", "RssAnon") << 10, field("/proc/self/status", "RssFile") << 10


def disk_bytes(directory):
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # It vanished meanwhile.
    return total


def written():
    return [field("/proc/self/io", name) for name in ("write_bytes", "cancelled_write_bytes", "wchar")]


class Meter:
    def __init__(self, directory):
        self.directory, self.before, self.resident = directory, written(), resident_bytes()
        self.anonymous_peak = self.file_peak = self.disk_peak = 0
        self.done = threading.Event()
        self.sampler = threading.Thread(target=self.sample, daemon=True)
        self.sampler.start()

    def sample(self):
        while not self.done.is_set():
            anonymous, file = resident_bytes()
            self.anonymous_peak, self.file_peak = max(self.anonymous_peak, anonymous), max(self.file_peak, file)
            self.disk_peak = max(self.disk_peak, disk_bytes(self.directory))
            self.done.wait(0.02)

    def stop(self, metrics):
        self.done.set()
        self.sampler.join()
        for name, now, before in zip(("written_pages", "cancelled_pages", "written_calls"), written(), self.before):
            metrics[f"{name}_bytes"] = now - before
        metrics["anonymous_peak_bytes"] = max(self.anonymous_peak - self.resident[0], 0)
        metrics["file_peak_bytes"] = max(self.file_peak - self.resident[1], 0)
        metrics["disk_peak_bytes"] = self.disk_peak


class Latencies:
    def __init__(self):
        self.nanoseconds = []

    def time(self, operation):
        started = time.perf_counter_ns()
        result = operation()
        self.nanoseconds.append(time.perf_counter_ns() - started)
        return result

    def report(self, name, metrics):
        ordered = sorted(self.nanoseconds)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
        for suffix, share in shares.items():
            metrics[f"{name}_{suffix}_ns"] = ordered[round((len(ordered) - 1) * share)]

    def mean(self):
        return sum(self.nanoseconds) / len(self.nanoseconds)
