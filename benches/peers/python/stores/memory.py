"""What libraries that search in memory have in common: rows by number, kept in a file between processes."""

import os

import numpy as np

from stores import Unsupported


class InMemory:
    """Subclasses make `self.index` of `self.rows` and search it."""

    def __init__(self, path, dimension, durable):
        os.makedirs(path, exist_ok=True)
        self.file, self.dimension, self.parts = os.path.join(path, "rows.npy"), dimension, []
        self.rows = np.load(self.file) if os.path.exists(self.file) else np.empty((0, dimension), np.float32)
        if len(self.rows):
            self.build()

    def put_batch(self, ids, rows):
        self.parts.append(np.array(rows, np.float32))

    def put(self, name, row):
        raise Unsupported("nothing is stored")

    get = delete = put

    def sync(self):
        pass

    def settle(self):
        self.rows = np.concatenate([self.rows, *self.parts])
        self.parts = []
        np.save(self.file, self.rows)
        self.build()

    def search(self, query, k):
        return self.search_many(query[None, :], k)

    def close(self):
        pass
