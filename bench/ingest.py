"""Time writing: texts against the embedder alone, and durable vectors against sqlite3, in the same run.

Usage: python bench/ingest.py [--texts 2000] [--vectors 5000] [--in-flight 32]

Texts are WordNet glosses, into a fresh node each time. A vector put is one call, 384 dimensions, answered when it is
durable; `--in-flight` threads of one client call at once. The baseline for vectors commits the same payloads to sqlite3
(WAL, synchronous=FULL), a transaction each, on the same file system.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from folders import DIM, MODEL, NAMESPACE, glosses, random_vectors
from node_process import ENGRAM, NodeProcess

from engram import record
from engram.embed import find_model, load_embedder
from engram.sdk import EngramClient

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

ROUNDS = 3


def embedder_alone(texts: list[str]) -> Callable[[Path], float]:
    files = find_model(None)
    assert files is not None, "the model is not here: engram-node model fetch"
    embedder = load_embedder(files)

    def run(_: Path) -> float:
        started = time.perf_counter()
        for at in range(0, len(texts), 8):
            embedder.embed(texts[at : at + 8])
        return time.perf_counter() - started

    return run


def through_sdk(texts: list[str]) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        with NodeProcess(folder) as node, EngramClient(node.url) as client:
            node.wait_for_model()
            started = time.perf_counter()
            assert all(isinstance(cid, str) for cid in client.ingest_many(texts))
            return time.perf_counter() - started

    return run


def through_cli(memories: list[dict]) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        file = folder.with_suffix(".jsonl")
        file.write_text("".join(json.dumps(memory) + "\n" for memory in memories), "utf-8")
        with NodeProcess(folder) as node:
            node.wait_for_model()
            started = time.perf_counter()
            subprocess.run([*ENGRAM, "ingest", "--file", file, "--node", node.url], check=True, capture_output=True)
            return time.perf_counter() - started

    return run


def sqlite_full(vectors: np.ndarray) -> Callable[[Path], float]:
    payloads = [record.encode_vector(row.tobytes(), b"{}", MODEL) for row in vectors]

    def run(folder: Path) -> float:
        connection = sqlite3.connect(folder.with_suffix(".db"), isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE records (id BLOB PRIMARY KEY, payload BLOB) WITHOUT ROWID")
        started = time.perf_counter()
        for digest, payload in payloads:
            connection.execute("INSERT INTO records VALUES (?, ?)", (digest, payload))
        taken = time.perf_counter() - started
        connection.close()
        return taken

    return run


def one_by_one(vectors: np.ndarray, in_flight: int) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        with NodeProcess(folder) as node, EngramClient(node.url) as client, ThreadPoolExecutor(in_flight) as pool:
            client.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
            started = time.perf_counter()
            list(pool.map(lambda row: client.ingest_embedding(row, namespace=NAMESPACE), vectors))
            return time.perf_counter() - started

    return run


def in_batches(vectors: np.ndarray) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        with NodeProcess(folder) as node, EngramClient(node.url) as client:
            client.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
            started = time.perf_counter()
            assert all(isinstance(cid, str) for cid in client.ingest_embeddings(vectors, namespace=NAMESPACE))
            return time.perf_counter() - started

    return run


def table(unit: str, count: int, contestants: dict[str, Callable[[Path], float]]) -> None:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(run(Path(folder) / "data"))
    print(f"\n{count} {unit}, median of {ROUNDS}{'':<26}{'per second':>12}{'times the baseline':>20}")
    baseline = statistics.median(next(iter(times.values())))
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:48}{count / median:>12.0f}{baseline / median:>19.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--vectors", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=32)
    options = parser.parse_args()
    memories = glosses(options.texts)
    texts = [memory["text"] for memory in memories]
    vectors = random_vectors(options.vectors)
    table(
        "texts",
        options.texts,
        {
            "embedder alone, one thread": embedder_alone(texts),
            "SDK, ingest_many": through_sdk(texts),
            "engram ingest --file, whole command": through_cli(memories),
        },
    )
    table(
        "vectors",
        options.vectors,
        {
            "sqlite3, synchronous=FULL, one a transaction": sqlite_full(vectors),
            f"node, one a call, {options.in_flight} in flight": one_by_one(vectors, options.in_flight),
            "node, one a call, 1 in flight": one_by_one(vectors, 1),
            "node, ingest_embeddings": in_batches(vectors),
        },
    )


if __name__ == "__main__":
    main()
