"""The same rows as src/data.rs makes: from a seed, or the first of a NumPy file."""

import numpy as np

POOL = 1 << 20
SEED = np.uint64(42)
GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(values):
    """The finaliser of SplitMix64, over an array of 64-bit integers."""
    with np.errstate(over="ignore"):
        z = np.asarray(values, dtype=np.uint64) * GAMMA + GAMMA
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Data:
    def __init__(self, spec):
        self.rows, self.dimension, self.ids = spec["rows"], spec["dimension"], None
        if spec["vectors"]:
            self.matrix = np.load(spec["vectors"])[: self.rows]
            with open(spec["ids"], encoding="utf-8") as lines:
                self.ids = [line.rstrip("\n") for line in lines][: len(self.matrix)]
            self.rows, self.dimension = self.matrix.shape
        else:
            words = mix(SEED ^ np.arange(POOL, dtype=np.uint64)) >> np.uint64(40)
            pool = words.astype(np.float32) / np.float32(16777216.0) - np.float32(0.5)
            self.windows = np.lib.stride_tricks.sliding_window_view(pool, self.dimension)

    def id(self, row):
        return self.ids[row] if self.ids else f"doc-{row:08}#chunk-3"

    def vectors(self, rows):
        rows = np.asarray(rows, dtype=np.uint64)
        if self.ids:
            return self.matrix[rows]
        return self.windows[mix(rows) % np.uint64(POOL - self.dimension)]

    def bytes(self):
        ids = sum(map(len, self.ids)) if self.ids else self.rows * len(self.id(0))
        return ids + self.rows * self.dimension * 4

    def order(self):
        return np.argsort(mix(np.arange(self.rows, dtype=np.uint64) ^ SEED), kind="stable")
