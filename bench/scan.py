"""Time the exact scan's first phase against its scalar kernel (the baseline) and numpy, alternating in one run.

Usage: python bench/scan.py [--rows 117659] [--dim 384] [--rounds 15]

Synthetic unit vectors from a fixed seed: topics with noise, as text has. Each round takes one query through every
contestant in turn, so that a busy machine slows them alike; the table gives the median and the best of the rounds.
Phase one is what is timed; the full search, with its re-rank from memory, stands in the last row.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

from typing import TYPE_CHECKING

import numpy as np

from engram.index import VectorIndex
from engram.native._core import scan_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

K = 10
BASELINE = "scan, scalar"


def unit_vectors(rng: np.random.Generator, rows: int, centres: np.ndarray) -> np.ndarray:
    dim = centres.shape[1]
    vectors = centres[rng.integers(0, len(centres), rows)] + rng.standard_normal((rows, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def numpy_top(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    return np.argpartition(vectors @ query, -K)[-K:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=117_659)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rng = np.random.default_rng(20_240_601)
    centres = rng.standard_normal((500, options.dim), dtype=np.float32)
    vectors = unit_vectors(rng, options.rows, centres)
    queries = unit_vectors(rng, options.rounds, centres)

    index = VectorIndex(options.dim)
    items = [(row.to_bytes(32, "big"), row) for row in range(options.rows)]
    started = time.perf_counter()
    index.add(items, vectors.tobytes())
    loaded_s = time.perf_counter() - started
    snapshot = index.publish(0)
    view, size = memoryview(vectors).cast("B"), options.dim * 4

    def scan(kernel: str) -> Callable[[np.ndarray], object]:
        return lambda query: snapshot.codes.candidates(query.tobytes(), K, kernel=kernel)

    contestants: dict[str, Callable[[np.ndarray], object]] = {
        f"scan, {kernel}": scan(kernel) for kernel in reversed(scan_kernels())
    }
    contestants["numpy float32 matmul + argpartition"] = lambda query: numpy_top(vectors, query)
    contestants["whole search, best kernel"] = lambda query: snapshot.search(
        query.tobytes(), K, lambda location: view[location * size : (location + 1) * size]
    )
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for query in queries:
        for name, search in contestants.items():
            started = time.perf_counter()
            search(query)
            times[name].append((time.perf_counter() - started) * 1e3)

    candidates = [len(snapshot.codes.candidates(query.tobytes(), K)) for query in queries]
    print(f"{options.rows} x {options.dim}, k = {K}, one thread, {options.rounds} rounds")
    print(f"load {loaded_s:.2f} s; candidates: median {statistics.median(candidates):.0f}, most {max(candidates)}\n")
    print(f"{'':38}{'median ms':>10}{'best ms':>10}{'times the baseline':>20}")
    baseline = statistics.median(times[BASELINE])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:38}{median:>10.2f}{min(taken):>10.2f}{baseline / median:>19.2f}x")


if __name__ == "__main__":
    main()
