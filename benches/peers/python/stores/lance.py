"""LanceDB, embedded: a table of ids and vectors, with a scalar index of ids, which its documentation advises for look-ups. Exact search."""

import os

import lancedb
import pyarrow as pa

SETTINGS = {
    "table": "string ids with a BTREE scalar index, made when settled; no vector index: exact search",
    "settled": "optimize() after the load",
    "acknowledged": "never synced: there is no option",
}


def quoted(ids):
    return ", ".join("'" + name.replace("'", "''") + "'" for name in ids)


class Store:
    package = "lancedb"
    settings = SETTINGS

    def __init__(self, path, dimension, durable):
        self.schema = pa.schema([pa.field("id", pa.string()), pa.field("vector", pa.list_(pa.float32(), dimension))])
        self.dimension, self.directory = dimension, path
        self.db = lancedb.connect(path)
        made = os.path.isdir(os.path.join(path, "docs.lance"))
        self.table = self.db.open_table("docs") if made else self.db.create_table("docs", schema=self.schema)

    def put_batch(self, ids, rows):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), self.dimension)
        self.table.add(pa.table([pa.array(ids), vectors], schema=self.schema))

    def put(self, name, row):
        self.put_batch([name], row.reshape(1, -1))

    def get(self, ids):
        found = self.table.search().where(f"id IN ({quoted(ids)})").limit(len(ids)).to_arrow()
        return found.column("vector").combine_chunks().values.to_numpy(), found.num_rows

    def search(self, query, k):
        found = self.table.search(query).distance_type("dot").limit(k).select(["id", "_distance"]).to_arrow()
        return found.num_rows

    def delete(self, ids):
        self.table.delete(f"id IN ({quoted(ids)})")

    def sync(self):
        pass

    def settle(self):
        self.table.create_scalar_index("id", index_type="BTREE", replace=True)
        self.table.optimize()

    def close(self):
        del self.table, self.db
