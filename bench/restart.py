"""Time how long a node takes to be ready again, and what it spends that on.

Usage: python bench/restart.py [--events 1000000] [--records 100000] [--dim 16] [--rounds 3] [--folder FOLDER]

The folder is made once, through `Store.commit`: the records, then deletes and puts of them again. A start is
`Store.open`, of which a second, profiled run gives the parts; a refold is one without `state.db`. The baseline reads
every file of the folder plainly, from the same page cache. With --folder one that is there is used, and kept.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engram import record
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import CreateOperation, DeleteOperation, PutOperation, Scrub, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = "bench/1"
BATCH = 2000
PARTS = {
    "the log: verify its last segment": ("_opening.py", "_open_log"),
    "the bodies: verify their last segment": ("_bodies.py", "open"),
    "the tables: fold what they lack": ("_opening.py", "fold_log"),
    "the indexes: every vector of every namespace": ("_store.py", "_load_all"),
}


def open_store(path: Path) -> Store:
    return Store.open(RealDisk(), RealTables(), path, RealRng(), time.time_ns(), "bench/restart")


def operations(store: Store, records: int, dim: int) -> Iterator[PutOperation | DeleteOperation]:
    """Give puts of the records, then for ever: delete some of them, put them again."""
    [ns] = [space.ns for space in store.published.namespaces.values() if space.name == "bench"]
    vectors = np.random.default_rng(1).standard_normal((records, dim), dtype=np.float32)
    encoded = [record.encode_vector(row.tobytes(), b'{"n":%d}' % n, MODEL) for n, row in enumerate(vectors)]
    puts = [PutOperation(ns, digest, payload, store.key.public) for digest, payload in encoded]
    deletes = [DeleteOperation(ns, put.digest, store.key.public) for put in puts]
    yield from puts
    for start in itertools.cycle(range(0, records, BATCH)):
        yield from deletes[start : start + BATCH]
        yield from puts[start : start + BATCH]


def make(path: Path, events: int, records: int, dim: int) -> None:
    store = open_store(path)
    store.commit([CreateOperation(store.key.public, "bench", MODEL, dim)], time.time_ns())
    rest = itertools.islice(operations(store, records, dim), events - store.published.position)
    started = time.perf_counter()
    while batch := list(itertools.islice(rest, BATCH)):
        store.commit(batch, time.time_ns())
    print(f"made: {store.published.position:,} events, {store.count():,} records, {elapsed(started):.0f} s")
    store.close(time.time_ns())


def elapsed(started: float) -> float:
    return time.perf_counter() - started


def files(path: Path) -> list[Path]:
    return [file for folder in ("events", "bodies", ".") for file in (path / folder).iterdir() if file.is_file()]


def read_plainly(path: Path) -> float:
    started = time.perf_counter()
    for file in files(path):
        file.read_bytes()
    return elapsed(started)


def start(path: Path) -> tuple[float, float]:
    """Open, write something, and close; what opening and closing took."""
    started = time.perf_counter()
    store = open_store(path)
    opened = elapsed(started)
    name = f"made at {time.time_ns()}"
    store.commit([CreateOperation(store.key.public, name, MODEL, 8)], time.time_ns())
    started = time.perf_counter()
    store.close(time.time_ns())
    return opened, elapsed(started)


def parts_of_a_start(path: Path) -> dict[str, float]:
    profile = cProfile.Profile()
    with profile:
        store = open_store(path)
    store.close(time.time_ns())
    found = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    spent = {(Path(file).name, called): cumulative for (file, _, called), (*_, cumulative, _) in found.items()}
    return {title: spent.get(part, 0.0) for title, part in PARTS.items()}


def refold(path: Path) -> float:
    for suffix in ("", "-wal", "-shm"):
        (path / f"state.db{suffix}").unlink(missing_ok=True)
    return start(path)[0]


def scrub(path: Path) -> float:
    store = open_store(path)
    started, whole = time.perf_counter(), Scrub(store)
    while not (stepped := whole.step(time.time_ns())).completed:
        assert not stepped.findings, stepped
    taken = elapsed(started)
    store.close(time.time_ns())
    return taken


def measure(path: Path, rounds: int) -> None:
    times: dict[str, list[float]] = {}
    contestants: dict[str, Callable[[], dict[str, float]]] = {
        "read": lambda: {"every file of the folder, read plainly": read_plainly(path)},
        "start": lambda: dict(zip(("start", "stop: a checkpoint over every record"), start(path), strict=True)),
        "parts": lambda: {f"  {title}": taken for title, taken in parts_of_a_start(path).items()},
        "refold": lambda: {"start without state.db: all is folded again": refold(path)},
        "scrub": lambda: {"scrub: a whole pass, unthrottled": scrub(path)},
    }
    for _ in range(rounds):
        for contestant in contestants.values():
            for name, taken in contestant().items():
                times.setdefault(name, []).append(taken)
    baseline = statistics.median(next(iter(times.values())))
    size = sum(file.stat().st_size for file in files(path))
    print(f"\n{size / 1e6:.0f} MB, median of {rounds}{'':<34}{'seconds':>10}{'times the baseline':>20}")
    for name, taken in times.items():
        print(f"{name:<56}{statistics.median(taken):>10.3f}{statistics.median(taken) / baseline:>19.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    path = options.folder or Path(tempfile.mkdtemp(prefix="engram-restart-")) / "data"
    try:
        if not path.exists():
            make(path, options.events, options.records, options.dim)
        measure(path, options.rounds)
    finally:
        if options.folder is None:
            shutil.rmtree(path.parent)


if __name__ == "__main__":
    main()
