"""Others that keep vectors, on the file system of FOLDER, with the same vectors and metadata as the node is given.

Usage: python bench/index_ingest_rivals.py NAME COUNT FOLDER

Prints the seconds that it took, or nothing where its package is not here, or SQLite takes no extensions. Needs numpy,
and nothing of Engram's: so it runs with the Python of another environment.
"""

# ruff: noqa: PLC0415 - which packages are here is only known when they are asked for

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

DIM = 384
BATCH = 32


def vectors_of(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)


def metadata_of(number: int) -> dict[str, Any]:
    return {"n": number, "tag": f"a{number % 7}"}


def _sqlite(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "rival.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def sqlite_full(vectors: np.ndarray, folder: Path) -> float:
    """A table of vectors, each row a transaction."""
    connection = _sqlite(folder)
    connection.execute("CREATE TABLE records (id BLOB PRIMARY KEY, vector BLOB, metadata TEXT) WITHOUT ROWID")
    ids = np.random.default_rng(2).bytes(32 * len(vectors))
    started = time.perf_counter()
    for number, vector in enumerate(vectors):
        row = (ids[32 * number : 32 * number + 32], vector.tobytes(), str(metadata_of(number)))
        connection.execute("INSERT INTO records VALUES (?, ?, ?)", row)
    return time.perf_counter() - started


def sqlite_vec(vectors: np.ndarray, folder: Path) -> float:
    """A `vec0` table with a column of metadata, each row a transaction."""
    import sqlite_vec as package

    connection = _sqlite(folder)
    if not hasattr(connection, "enable_load_extension"):
        raise ModuleNotFoundError(name="sqlite_vec")
    connection.enable_load_extension(True)
    package.load(connection)
    connection.execute(f"CREATE VIRTUAL TABLE records USING vec0(vector float[{DIM}], n integer, tag text)")
    started = time.perf_counter()
    for number, vector in enumerate(vectors):
        found = metadata_of(number)
        row = (number, vector.tobytes(), found["n"], found["tag"])
        connection.execute("INSERT INTO records (rowid, vector, n, tag) VALUES (?, ?, ?, ?)", row)
    return time.perf_counter() - started


def chroma(vectors: np.ndarray, folder: Path, batch: int = 1) -> float:
    """Chroma's persistent client, in process, `batch` rows an `add`."""
    import chromadb

    client = chromadb.PersistentClient(str(folder), chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("records", metadata={"hnsw:space": "cosine"})
    started = time.perf_counter()
    for at in range(0, len(vectors), batch):
        numbers = range(at, min(at + batch, len(vectors)))
        collection.add(
            ids=[str(number) for number in numbers],
            embeddings=vectors[at : at + batch],
            metadatas=[metadata_of(number) for number in numbers],
        )
    return time.perf_counter() - started


def chroma_batches(vectors: np.ndarray, folder: Path) -> float:
    return chroma(vectors, folder, BATCH)


RIVALS: dict[str, Callable[[np.ndarray, Path], float]] = {
    "sqlite3": sqlite_full,
    "sqlite-vec": sqlite_vec,
    "chroma": chroma,
    "chroma-batches": chroma_batches,
}


def main() -> None:
    name, count, folder = sys.argv[1:]
    try:
        print(RIVALS[name](vectors_of(int(count)), Path(folder)))
    except ModuleNotFoundError as error:
        if error.name not in ("sqlite_vec", "chromadb"):
            raise


if __name__ == "__main__":
    main()
