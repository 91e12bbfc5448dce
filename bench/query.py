"""Time a query by vector over RPC against numpy's brute force in this process, alternating in one run.

Usage: python bench/query.py [--vectors FOLDER ...] [--queries 200]

Folders as `bench/folders.py --vectors` makes them; without any, one of 5,000 records is made. numpy multiplies the same
number of normalised float32 rows in memory, on one thread, and gives row numbers; the node gives texts and metadata.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from folders import NAMESPACE, make_vectors, random_vectors
from node_process import NodeProcess

from engram.sdk import EngramClient

K = 10
FILTER = 'category = "noun.animal"'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, nargs="*", default=[])
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folders = options.vectors or [Path(temporary) / "vectors"]
        if not options.vectors:
            make_vectors(folders[0], 5000)
        for folder in folders:
            measure(folder, options.queries)


def measure(folder: Path, count: int) -> None:
    queries = random_vectors(count, seed=3)
    with NodeProcess(folder) as node, EngramClient(node.url) as client:
        rows = client.status().records
        vectors = random_vectors(rows)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        contestants = {
            "numpy matmul + argpartition, in process": lambda query: np.argpartition(vectors @ query, -K)[-K:],
            "status, over RPC": lambda _: client.status(),
            "query_by_vector, over RPC": lambda query: client.query_by_vector(query, K, namespace=NAMESPACE),
        }
        times = timed(contestants, queries)
        numbers = iter(range(count))

        def filtered(query: np.ndarray, condition: str) -> object:
            return client.query_by_vector(query, K, condition, namespace=NAMESPACE)

        filtering = {
            "the same, a filter for the first time": lambda query: filtered(
                query, f"{FILTER} and x != {next(numbers)}"
            ),
            "the same, a filter again": lambda query: filtered(query, FILTER),
        }
        filtered(queries[0], FILTER)
        times |= timed(filtering, queries[: max(5, count // 20)])
    print(f"\n{rows} records, k = {K}{'':<22}{'p50 ms':>10}{'p99 ms':>10}{'times the baseline':>20}")
    baseline = float(np.median(next(iter(times.values()))))
    for name, taken in times.items():
        p50, p99 = np.percentile(taken, [50, 99])
        print(f"{name:44}{p50 * 1e3:>10.2f}{p99 * 1e3:>10.2f}{p50 / baseline:>19.2f}x")


def timed(contestants: dict, queries: np.ndarray) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for query in queries:
        for name, call in contestants.items():
            started = time.perf_counter()
            call(query)
            times[name].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
