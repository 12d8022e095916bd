"""USearch: an index in memory that is saved whole. Its keys are integers: the ids' row numbers, so that it is spared a map. Exact search."""

import os

import numpy as np
from usearch.index import Index

from stores import Unsupported

SETTINGS = {
    "index": "ip, f32, integer keys (no ids), else defaults: an approximate index is built while it loads; search with exact=True",
    "acknowledged": "in memory; settled: save() of the whole index, without a sync",
}


class Store:
    package = "usearch"
    settings = SETTINGS

    def __init__(self, path, dimension, durable):
        os.makedirs(path, exist_ok=True)
        self.file = os.path.join(path, "index.usearch")
        self.index = Index(ndim=dimension, metric="ip", dtype="f32")
        if os.path.exists(self.file):
            self.index.load(self.file)

    def keys(self, ids):
        try:
            return np.fromiter((int(name[4:12]) for name in ids), np.uint64, len(ids))
        except ValueError:
            raise Unsupported("only ids with a number in them") from None

    def put_batch(self, ids, rows):
        self.index.add(self.keys(ids), np.ascontiguousarray(rows))

    def put(self, name, row):
        raise Unsupported("a durable row is a save of the whole index")

    def get(self, ids):
        if any(name.endswith("?") for name in ids):
            raise Unsupported("misses: keys are numbers")
        rows = np.asarray(self.index.get(self.keys(ids)))
        return rows, len(rows)

    def search(self, query, k):
        return len(self.index.search(query, k, exact=True, threads=1))

    def search_many(self, queries, k):
        return self.index.search(queries, k, exact=True, threads=1).keys.size

    def delete(self, ids):
        self.index.remove(self.keys(ids))

    def sync(self):
        pass

    def settle(self):
        self.index.save(self.file)

    def close(self):
        pass
