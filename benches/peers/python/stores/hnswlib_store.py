"""hnswlib: approximate, so that what it finds of the exact answer stands beside its speed. One thread."""

import hnswlib
import numpy as np

from stores.memory import InMemory


class Store(InMemory):
    package = "hnswlib"
    approximate = True
    settings = {"index": "ip, M = 16, ef_construction = 200, ef = 100 (k, if that is more); searched by one thread", "acknowledged": "in memory"}

    def build(self):
        saved = self.file.replace("rows.npy", "index.hnsw")
        self.index = hnswlib.Index(space="ip", dim=self.dimension)
        try:
            self.index.load_index(saved, max_elements=len(self.rows))
        except RuntimeError:
            self.index.init_index(max_elements=len(self.rows), ef_construction=200, M=16)
            self.index.add_items(self.rows, np.arange(len(self.rows)))
            self.index.save_index(saved)
        self.index.set_num_threads(1)

    def search_many(self, queries, k):
        return self.labels(queries, k).size

    def labels(self, queries, k):
        self.index.set_ef(max(100, k))
        return self.index.knn_query(queries, k)[0]
