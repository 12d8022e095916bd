"""One adapter a file, each with the verbs of `Store`."""

import importlib

MODULES = {"lancedb": "lance", "chromadb": "chroma", "sqlite-vec": "sqlite_vec_store", "usearch": "usearch_store",
           "faiss": "faiss_store", "numpy": "numpy_store", "hnswlib": "hnswlib_store"}


class Unsupported(Exception):
    """The store has no interface for a workload."""


def store(name):
    return importlib.import_module(f"stores.{MODULES[name]}").Store
