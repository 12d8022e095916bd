"""sqlite-vec: a vec0 table in SQLite with a write-ahead log. Exact search; l2, since vec0 has no dot product."""

import os

import apsw
import numpy as np
import sqlite_vec

SETTINGS = {
    "table": "vec0 (id text primary key, vector float[N]); l2: it has no dot product",
    "options": "journal_mode=WAL; synchronous=NORMAL for batches and FULL for single durable rows, checkpoint when settled",
    "acknowledged": "batch: a transaction each",
}


class Store:
    package = "sqlite-vec"
    settings = SETTINGS

    def __init__(self, path, dimension, durable):
        os.makedirs(path, exist_ok=True)
        self.db = apsw.Connection(os.path.join(path, "db.sqlite"))
        self.db.enable_load_extension(True)
        self.db.load_extension(sqlite_vec.loadable_path())
        self.db.execute("PRAGMA journal_mode=WAL").fetchall()
        self.db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self.db.execute(f"CREATE VIRTUAL TABLE IF NOT EXISTS docs USING vec0 (id text primary key, vector float[{dimension}])")

    def put_batch(self, ids, rows):
        with self.db:
            self.db.executemany("INSERT INTO docs (id, vector) VALUES (?, ?)", ((name, row.tobytes()) for name, row in zip(ids, rows)))

    def put(self, name, row):
        self.db.execute("INSERT INTO docs (id, vector) VALUES (?, ?)", (name, row.tobytes()))

    def get(self, ids):
        found = [row for name in ids for row in self.db.execute("SELECT vector FROM docs WHERE id = ?", (name,))]
        return np.frombuffer(b"".join(row[0] for row in found), np.float32), len(found)

    def search(self, query, k):
        found = self.db.execute("SELECT id, distance FROM docs WHERE vector MATCH ? AND k = ?", (query.tobytes(), k))
        return len(found.fetchall())

    def delete(self, ids):
        with self.db:
            self.db.executemany("DELETE FROM docs WHERE id = ?", ((name,) for name in ids))

    def sync(self):
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def settle(self):
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self):
        self.db.close()
