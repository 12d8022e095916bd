"""faiss: the flat index, which is exact. One thread."""

import faiss

from stores.memory import InMemory

faiss.omp_set_num_threads(1)


class Store(InMemory):
    package = "faiss-cpu"
    settings = {"index": "IndexFlatIP, one thread", "acknowledged": "in memory"}

    def build(self):
        self.index = faiss.IndexFlatIP(self.dimension)
        self.index.add(self.rows)

    def search_many(self, queries, k):
        return self.index.search(queries, k)[1].size
