"""ChromaDB with a persistent client: a collection under inner product, the rest its defaults. Its search is approximate (HNSW)."""

import chromadb
import numpy as np
from chromadb.config import Settings

SETTINGS = {
    "collection": "hnsw:space ip, else defaults: an approximate index is built while it loads",
    "acknowledged": "by its SQLite log",
}


class Store:
    package = "chromadb"
    settings = SETTINGS

    def __init__(self, path, dimension, durable):
        self.client = chromadb.PersistentClient(path, settings=Settings(anonymized_telemetry=False))
        self.docs = self.client.get_or_create_collection("docs", metadata={"hnsw:space": "ip"}, embedding_function=None)

    def put_batch(self, ids, rows):
        self.docs.upsert(ids=list(ids), embeddings=rows)

    def put(self, name, row):
        self.put_batch([name], row.reshape(1, -1))

    def get(self, ids):
        found = self.docs.get(ids=list(ids), include=["embeddings"])
        return np.asarray(found["embeddings"]), len(found["ids"])

    def search(self, query, k):
        return len(self.docs.query(query_embeddings=[query], n_results=k, include=["distances"])["ids"][0])

    def delete(self, ids):
        self.docs.delete(ids=list(ids))

    def sync(self):
        pass

    def settle(self):
        pass

    def close(self):
        # Else the next client of the same path in this process would be given this one's state.
        self.client.close()
        del self.docs, self.client
