"""Time durable writing of vectors over RPC against others that do it in process, and queries meanwhile.

Usage: python bench/index_ingest.py [--vectors 5000] [--in-flight 32] [--rounds 3] [--python PYTHON ...]

Each vector of 384 dimensions has small metadata and is a `put` of its own on one connection, answered when bodies and
log are synced; `--in-flight` of them wait for their answers at a time. All write to the same file system, and all in
turn: sqlite3 and sqlite-vec a transaction each (WAL, synchronous=FULL), Chroma an `add` each and 32 an `add`. Each
`--python` is a Python that has one of their packages; what is in none of them is left out. The rate of Chroma is that
of its first 1,000. While another node is written to, a process of its own asks it for the nearest 10, every 10 ms.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from folders import DIM, MODEL, NAMESPACE
from index_ingest_rivals import metadata_of, vectors_of
from node_process import NodeProcess

from engram.errors import EngramError
from engram.sdk import EngramClient
from engram.wire import Put

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    import numpy as np

RIVALS = {
    "sqlite3": "sqlite3, synchronous=FULL, one a transaction",
    "sqlite-vec": "sqlite-vec, synchronous=FULL, one a transaction",
    "chroma": "Chroma, one an add",
    "chroma-batches": "Chroma, 32 an add",
}
CHROMA = 1000
PAUSE_S = 0.01


def rival(name: str, pythons: list[str], count: int) -> Callable[[Path], float | None]:
    """Give microseconds a vector, in a process of its own."""
    count = min(count, CHROMA) if name.startswith("chroma") else count

    def run(folder: Path) -> float | None:
        script = Path(__file__).with_name("index_ingest_rivals.py")
        for number, python in enumerate(pythons):
            inside = folder / str(number)
            inside.mkdir(parents=True)
            done = subprocess.run(
                [python, script, name, str(count), inside], check=True, capture_output=True, text=True
            )
            if done.stdout:
                return float(done.stdout) / count * 1e6
        return None

    return run


def pipelined(vectors: np.ndarray, in_flight: int, url: str) -> float:
    """Give the seconds that one put a vector took."""
    puts = (
        Put(vector=vector.tobytes(), metadata=metadata_of(number), namespace=NAMESPACE)
        for number, vector in enumerate(vectors)
    )
    client = EngramClient(url, 60.0)
    started = time.perf_counter()
    for outcome in client._calls.call_many(puts, window=in_flight):  # noqa: SLF001 - a wider window than the API has
        if isinstance(outcome, EngramError):
            raise outcome
    taken = time.perf_counter() - started
    client.close()
    return taken


def in_batches(vectors: np.ndarray, url: str) -> float:
    with EngramClient(url) as client:
        metadata = [metadata_of(number) for number in range(len(vectors))]
        started = time.perf_counter()
        outcomes = client.ingest_embeddings(vectors, metadata, namespace=NAMESPACE)
        taken = time.perf_counter() - started
    assert all(isinstance(outcome, str) for outcome in outcomes)
    return taken


def node(write: Callable[[str], float], count: int) -> Callable[[Path], float]:
    """Give microseconds a vector, into a fresh node."""

    def run(folder: Path) -> float:
        with NodeProcess(folder) as process:
            with EngramClient(process.url) as client:
                client.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
            return write(process.url) / count * 1e6

    return run


def ask(url: str, query: bytes, told: Connection) -> None:
    """Query again and again until told to end, then give the seconds that each took."""
    taken = []
    with EngramClient(url) as client:
        client.query_by_vector(query, namespace=NAMESPACE)
        told.send(None)
        while not told.poll(PAUSE_S):
            started = time.perf_counter()
            client.query_by_vector(query, namespace=NAMESPACE)
            taken.append(time.perf_counter() - started)
    told.send(taken)


def queried(vectors: np.ndarray, in_flight: int, folder: Path) -> tuple[list[float], list[float], float]:
    """Give the seconds of queries of a node at rest and while it is written to, and the puts a second meanwhile."""
    with NodeProcess(folder) as process:
        with EngramClient(process.url) as client:
            client.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
        pipelined(vectors[: len(vectors) // 2], in_flight, process.url)
        found = []
        rate = 0.0
        for written_to in (False, True):
            ours, theirs = multiprocessing.Pipe()
            asking = multiprocessing.Process(target=ask, args=(process.url, vectors[0].tobytes(), theirs))
            asking.start()
            ours.recv()
            if written_to:
                half = vectors[len(vectors) // 2 :]
                rate = len(half) / pipelined(half, in_flight, process.url)
            else:
                time.sleep(2)
            ours.send(None)
            found.append(ours.recv())
            asking.join()
        return found[0], found[1], rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", action="append", default=[])
    options = parser.parse_args()
    count, vectors = options.vectors, vectors_of(options.vectors)
    contestants: dict[str, Callable[[Path], float | None]] = {
        shown: rival(name, [sys.executable, *options.python], count) for name, shown in RIVALS.items()
    }
    contestants |= {
        f"node, one a call, {options.in_flight} in flight": node(partial(pipelined, vectors, options.in_flight), count),
        "node, one a call, 1 in flight": node(partial(pipelined, vectors, 1), count),
        "node, ingest_embeddings": node(partial(in_batches, vectors), count),
    }
    print_rates(measured(contestants, options.rounds), count)
    with tempfile.TemporaryDirectory() as folder:
        print_queries(*queried(vectors, options.in_flight, Path(folder) / "data"))


def measured(contestants: dict[str, Callable[[Path], float | None]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, run in contestants.items():
            with tempfile.TemporaryDirectory() as folder:
                taken = run(Path(folder) / "data")
            if taken is not None:
                times.setdefault(name, []).append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def print_rates(medians: dict[str, float], count: int) -> None:
    print(
        f"{f'{count} durable vectors':48}{'per second':>12}" + "".join(f"{name.split(',')[0]:>14}" for name in RIVALS)
    )
    for name, median in medians.items():
        ratios: list[Any] = [medians.get(shown) for shown in RIVALS.values()]
        cells = "".join(f"{'-' if each is None else f'{each / median:.2f}x':>16}" for each in ratios)
        print(f"{name:48}{1e6 / median:>12.0f}{cells}")


def print_queries(at_rest: list[float], written_to: list[float], rate: float) -> None:
    print(f"\n{'query, 10 nearest, from another process':48}{'p50 ms':>12}{'p99 ms':>12}{'queries':>12}")
    for name, taken in (("at rest", at_rest), (f"while {rate:.0f} puts a second are written", written_to)):
        cuts = statistics.quantiles(taken, n=100)
        print(f"{name:48}{cuts[49] * 1e3:>12.2f}{cuts[98] * 1e3:>12.2f}{len(taken):>12}")


if __name__ == "__main__":
    main()
