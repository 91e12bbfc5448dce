"""Time a search of the index, fast and exact, by every kernel that this CPU has, against numpy, alternating in one run.

Usage: python bench/scan.py [--rows 100000] [--dim 384] [--rounds 200] [--vectors file.npy]

Without a file, synthetic vectors from a fixed seed: topics with noise, most of it in few directions, as text has. Each
round takes one query, which is none of the rows, through every contestant in turn, so that a busy machine slows them
alike; the table gives the median and the best of the rounds. A search is the whole of it: the ten nearest and their
bodies, checked. Beside it stands the share of numpy's ten nearest that it found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import struct
import time

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

from typing import TYPE_CHECKING

import numpy as np

from engram.index import BodyMaps, Space
from engram.native._core import encode_body, scan_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

K = 10
SEGMENT = 2**26
BASELINE = "numpy float32 matmul + argpartition"


def synthetic(rows: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(20_240_601)
    spread = (1.0 + np.arange(dim, dtype=np.float32)) ** -0.5
    topics = rng.standard_normal((max(1, rows // 40), dim), dtype=np.float32)
    noise = rng.standard_normal((rows, dim), dtype=np.float32)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    return ((topics[rng.integers(0, len(topics), rows)] + 0.5 * noise) * spread) @ turn


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def written(vectors: np.ndarray, maps: BodyMaps) -> list[tuple[bytes, int]]:
    """Write the vectors as bodies into segments in memory, and give their rows."""
    rows, segment, number = [], bytearray(), 0
    header = b"EPR1\0\0" + struct.pack("<HIH", vectors.shape[1], 2, 2)
    for vector in vectors:
        payload = header.ljust(64, b"\0") + vector.tobytes() + b"{}v1"
        digest = hashlib.sha256(struct.pack("<Q", len(rows)) + payload).digest()
        frame = encode_body(0, digest, payload)
        if len(segment) + len(frame) > SEGMENT:
            maps.put(number, bytes(segment))
            segment, number = bytearray(), number + 1
        rows.append((digest, number * SEGMENT + len(segment)))
        segment += frame
    maps.put(number, bytes(segment))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--vectors", help="a .npy file of float32 rows to take instead")
    options = parser.parse_args()
    wanted = options.rows + options.rounds
    everything = np.load(options.vectors)[-wanted:] if options.vectors else synthetic(wanted, options.dim)
    vectors = np.ascontiguousarray(everything[: -options.rounds], np.float32)
    queries = np.ascontiguousarray(everything[-options.rounds :], np.float32)
    maps = BodyMaps()
    rows = written(vectors, maps)
    row_of = {digest: row for row, (digest, _) in enumerate(rows)}
    space = Space(vectors.shape[1], maps)
    started = time.process_time()
    space.add(rows)
    built_s = time.process_time() - started
    view, units = space.publish(), unit(vectors)

    def native(kernel: str, *, exact: bool) -> Callable[[np.ndarray], list[int]]:
        def search(query: np.ndarray) -> list[int]:
            return [row_of[digest] for digest, *_ in view.search(query.tobytes(), K, exact=exact, kernel=kernel)[0]]

        return search

    def brute_force(query: np.ndarray) -> list[int]:
        return np.argpartition(units @ query, -K)[-K:].tolist()

    contestants: dict[str, Callable[[np.ndarray], list[int]]] = {BASELINE: brute_force}
    for kernel in reversed(scan_kernels()):
        contestants[f"exact, {kernel}"] = native(kernel, exact=True)
        contestants[f"default, {kernel}"] = native(kernel, exact=False)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    found = dict.fromkeys(contestants, 0)
    for query in queries:
        truth = set(brute_force(query))
        for name, search in contestants.items():
            started = time.perf_counter()
            answer = search(query)
            times[name].append((time.perf_counter() - started) * 1e3)
            found[name] += len(truth.intersection(answer))

    ways = [None if way is None else (way[0], "raw" if way[2] is None else "centred") for way in view.fast]
    print(f"{len(vectors)} x {vectors.shape[1]}, k = {K}, one thread, {len(queries)} rounds; fast: {ways}")
    print(f"build: {built_s:.2f} CPU-s\n")
    print(f"{'':38}{'median ms':>10}{'best ms':>10}{'recall':>9}{'of the baseline':>17}")
    baseline = statistics.median(times[BASELINE])
    for name, taken in times.items():
        median, recall = statistics.median(taken), found[name] / K / len(queries)
        print(f"{name:38}{median:>10.3f}{min(taken):>10.3f}{recall:>9.4f}{median / baseline:>16.3f}x")


if __name__ == "__main__":
    main()
