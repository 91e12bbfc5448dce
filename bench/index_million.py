"""Measure a node's memory, disk, queries and restart with a million vectors, and with 10,000 namespaces of 100.

Usage: python bench/index_million.py [--rows 1000000] [--namespaces 10000] [--queries 500] [--rounds 3] [--folder F]

The vectors are glosses of WordNet, drawn at random, with seeded noise; each has small metadata. They are put through
`engram.open`, and the folders kept under --folder: a run that finds all or some of the rows there puts the rest only.
Every figure is of a fresh process that opens the folder. Memory is what its pages are of: `anonymous` its own, `codes`
the index's maps; the bodies' maps are page cache that the system takes back when it needs it. What an empty folder
takes stands beside it: Python, the libraries, the model. Recall is against float64 brute force, over the first 100.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from folders import DIM, MODEL, NAMESPACE
from index_data import BATCH, K, add_options, gloss_vectors, made_queries, made_rows

import engram
from engram import record
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import CreateOperation, PutOperation, Store

IN_FLIGHT = 2
JUDGED = 100
ROWS_EACH = 100
QUERIES = "queries.npy"
PARTS = ("noun", "verb", "adj", "adv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--namespaces", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3, help="starts of a process, of which the medians stand")
    parser.add_argument("--folder", type=Path, help="keep the data folders here")
    parser.add_argument("--inside", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--named", nargs="*", default=[], help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args()
    if options.inside:
        path, queries = options.inside
        print(json.dumps(inside(path, options.named, np.load(queries))))
        return
    vectors = gloss_vectors(options.glosses)
    if options.rows % BATCH:
        raise SystemExit(f"error: --rows must be a multiple of {BATCH}, got {options.rows}")
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        np.save(root / QUERIES, made_queries(vectors, options.queries))
        empty = processes(root / "empty", [], options)
        if options.rows:
            one_large(root, vectors, empty, options)
        if options.namespaces:
            many_small(root, vectors, empty, options)


# -- making the folders ------------------------------------------------------------------------------------------------


def metadata_of(row: int) -> dict[str, Any]:
    """Give the metadata of a row."""
    return {"n": row, "part": PARTS[row % len(PARTS)], "year": 2000 + row % 25}


def put_rows(path: Path, vectors: np.ndarray, rows: int) -> None:
    """Put what the folder lacks of the rows, several batches in flight."""
    with engram.open(path) as memory, ThreadPoolExecutor(IN_FLIGHT) as pool:
        there = {space.name: space.records for space in memory.namespaces.list()}
        if NAMESPACE not in there:
            memory.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
        start = there.get(NAMESPACE, 0) // BATCH * BATCH
        if start >= rows:
            return
        started = time.perf_counter()
        pending: collections.deque[Any] = collections.deque()
        for first, batch in zip(range(start, rows, BATCH), made_rows(vectors, start, rows), strict=True):
            beside = [metadata_of(row) for row in range(first, first + BATCH)]
            pending.append(pool.submit(memory.ingest_embeddings, batch, metadata=beside, namespace=NAMESPACE))
            if len(pending) > IN_FLIGHT:
                check(pending.popleft().result())
        for outcome in pending:
            check(outcome.result())
        taken = time.perf_counter() - started
    print(f"put {rows - start:,} rows in {taken:.0f} s, {(rows - start) / taken:,.0f} a second", flush=True)


def check(outcomes: list[str | Exception]) -> None:
    """Raise the first error."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def put_namespaces(path: Path, vectors: np.ndarray, count: int) -> None:
    """Make as many namespaces of a hundred rows, through the store alone, as that many calls take long."""
    if path.exists():
        return
    started = time.perf_counter()
    store = Store.open(RealDisk(), RealTables(), path, RealRng(), time.time_ns(), "bench/index_million")
    signer = store.key.public
    store.commit([CreateOperation(signer, named(n), MODEL, DIM) for n in range(count)], time.time_ns())
    ns_of = {space.name: space.ns for space in store.published.namespaces.values()}
    end = -(-count * ROWS_EACH // BATCH) * BATCH
    for first, batch in zip(range(0, end, BATCH), made_rows(vectors, 0, end), strict=True):
        puts: list[PutOperation] = []
        for row, vector in enumerate(batch, first):
            if row < count * ROWS_EACH:
                metadata = record.canonical_metadata(metadata_of(row))
                digest, payload = record.encode_vector(vector.tobytes(), metadata, MODEL)
                puts.append(PutOperation(ns_of[named(row // ROWS_EACH)], digest, payload, signer))
        check(store.commit(puts, time.time_ns()))
    store.close(time.time_ns())
    print(f"put {count:,} namespaces in {time.perf_counter() - started:.0f} s", flush=True)


def named(number: int) -> str:
    """Give the name of a small namespace."""
    return f"space-{number}"


# -- measuring, each time in a process of its own ----------------------------------------------------------------------


def processes(path: Path, names: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Open the folder in a fresh process, several times over; give the medians of what it found, and one's answers."""
    command = [sys.executable, __file__, "--inside", path, path.with_name(QUERIES), "--named", *names]
    found = []
    for _ in range(options.rounds):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    numbers = {key: float(np.median([one[key] for one in found])) for key in found[0] if key != "answers"}
    return numbers | {"answers": found[-1]["answers"]}


def inside(path: Path, names: list[str], queries: np.ndarray) -> dict[str, Any]:
    """Open the folder, ask the queries, in a namespace each by turns; give times, memory, and the rows found."""
    found: dict[str, Any] = {"answers": {}}
    started = time.perf_counter()
    with engram.open(path) as memory:
        found["open s"] = time.perf_counter() - started
        if names:
            memory.query_by_vector(queries[0], K, namespace=names[0])
        found["restart s"] = time.perf_counter() - started
        for mode in ("default", "exact") if names else ():
            found |= ask(memory, names, queries, mode, found["answers"])
        found |= pages(path)
    return found


def ask(
    memory: engram.Memory, names: list[str], queries: np.ndarray, mode: str, answers: dict[str, Any]
) -> dict[str, float]:
    """Ask every query; note which rows the first ones found; give the percentiles, in milliseconds."""
    taken, rows = [], []
    for at, query in enumerate(queries):
        started = time.perf_counter()
        hits = memory.query_by_vector(query, K, namespace=names[at % len(names)], exact=mode == "exact")
        taken.append((time.perf_counter() - started) * 1e3)
        rows.append([hit.metadata["n"] for hit in hits])
    answers[mode] = rows[:JUDGED]
    return {f"{mode} p{part} ms": float(np.percentile(taken, part)) for part in (50, 99)}


def pages(path: Path) -> dict[str, float]:
    """Give this process's resident pages by what they are of, in MB, as /proc/self/smaps has them."""
    kinds: collections.Counter[str] = collections.Counter()
    name = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split(maxsplit=5)
        if not first.endswith(":"):
            name = rest[4] if len(rest) == 5 else ""
        elif first == "Rss:":
            kinds[kind_of(name, path)] += int(rest[0])
        elif first == "Anonymous:":
            kinds[kind_of(name, path)] -= int(rest[0])
            kinds["anonymous"] += int(rest[0])
    return {f"{kind} MB": kinds[kind] / 1e3 * 1.024 for kind in ("anonymous", "codes", "bodies", "others", "mapped")}


def kind_of(name: str, path: Path) -> str:
    """Say what a mapping of this name is of."""
    for folder, kind in (("index", "codes"), ("bodies", "bodies"), ("", "others")):
        if name.startswith(str(path.resolve() / folder)):
            return kind
    return "mapped"


# -- tables ------------------------------------------------------------------------------------------------------------


def one_large(root: Path, vectors: np.ndarray, empty: dict[str, Any], options: argparse.Namespace) -> None:
    """Make and measure the large folder."""
    path = root / "large"
    put_rows(path, vectors, options.rows)
    found = processes(path, [NAMESPACE], options)
    nearest = truth(root / f"nearest-{options.rows}.npy", vectors, options)
    print(f"\n{options.rows:,} x {DIM}, one namespace; medians of {options.rounds} processes")
    print_memory(found, empty)
    print_disk(path, options.rows)
    for mode, answers in found["answers"].items():
        judged = zip(answers, nearest, strict=False)
        recall = np.mean([len(set(rows) & set(map(int, right))) / K for rows, right in judged])
        print_times(found, mode, f"recall@10 {recall:.4f}")
    print(f"{'restart, to the first answer':44}{found['restart s']:>10.2f} s   (of it open() {found['open s']:.2f})")


def many_small(root: Path, vectors: np.ndarray, empty: dict[str, Any], options: argparse.Namespace) -> None:
    """Make and measure the folder of many namespaces."""
    path = root / f"small-{options.namespaces}"
    put_namespaces(path, vectors, options.namespaces)
    step = max(1, options.namespaces // options.queries)
    found = processes(path, [named(n) for n in range(0, options.namespaces, step)], options)
    print(f"\n{options.namespaces:,} namespaces of {ROWS_EACH} x {DIM}; medians of {options.rounds} processes")
    print_memory(found, empty)
    print_disk(path, options.namespaces * ROWS_EACH)
    for mode in found["answers"]:
        print_times(found, mode, "")
    print(f"{'restart, to the first answer':44}{found['restart s']:>10.2f} s   (of it open() {found['open s']:.2f})")


def truth(file: Path, vectors: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Give the nearest rows of the first queries, (JUDGED, K), by float64 brute force; keep them in the file."""
    if not file.exists():
        queries = np.load(file.with_name(QUERIES))[:JUDGED].astype(np.float64)
        best = np.zeros((len(queries), 0))
        rows = np.zeros((len(queries), 0), np.int64)
        for first, batch in zip(range(0, options.rows, BATCH), made_rows(vectors, 0, options.rows), strict=True):
            wide = batch.astype(np.float64)
            cosines = queries @ (wide / np.linalg.norm(wide, axis=1, keepdims=True)).T
            best = np.concatenate([best, cosines], axis=1)
            numbers = np.broadcast_to(np.arange(first, first + BATCH), cosines.shape)
            rows = np.concatenate([rows, numbers], axis=1)
            kept = np.argpartition(-best, K, axis=1)[:, :K]
            best, rows = np.take_along_axis(best, kept, 1), np.take_along_axis(rows, kept, 1)
        np.save(file, rows)
    return np.load(file)


def print_memory(found: dict[str, Any], empty: dict[str, Any]) -> None:
    """Print what the process's pages are of."""
    print(f"\n{'resident, after the queries':44}{'MB':>10}{'empty folder':>14}")
    for kind, title in (
        ("anonymous", "anonymous"),
        ("codes", "codes: the index's maps"),
        ("bodies", "the bodies' maps (page cache)"),
        ("others", "the folder's other files"),
        ("mapped", "mapped: model, programs, libraries"),
    ):
        print(f"{title:44}{found[f'{kind} MB']:>10.0f}{empty[f'{kind} MB']:>14.0f}")
    hot = found["anonymous MB"] + found["codes MB"]
    print(f"{'hot: anonymous + codes':44}{hot:>10.0f}{empty['anonymous MB']:>14.0f}")


def print_disk(path: Path, rows: int) -> None:
    """Print the bytes of each of the folder's parts, against those of the payloads."""
    payloads = sum(payload_bytes(row) for row in range(rows))
    sizes: collections.Counter[str] = collections.Counter()
    for file in path.rglob("*"):
        if file.is_file():
            sizes[file.relative_to(path).parts[0].partition("-")[0]] += file.stat().st_size
    print(f"\n{'on disk':44}{'MB':>10}{'of payloads':>14}\n{'payloads':44}{payloads / 1e6:>10.0f}{1:>13.2f}x")
    both = sizes["bodies"] + sizes["index"]
    for title, size in [*sorted(sizes.items()), ("bodies + index", both), ("all", sum(sizes.values()))]:
        print(f"{title:44}{size / 1e6:>10.0f}{size / payloads:>13.2f}x")
    print()


def payload_bytes(row: int) -> int:
    """Give the length of a row's payload."""
    return _PAYLOAD + len(record.canonical_metadata(metadata_of(row)))


def print_times(found: dict[str, Any], mode: str, beside: str) -> None:
    """Print what a query took."""
    p50, p99 = (found[f"{mode} p{part} ms"] for part in (50, 99))
    print(f"{f'query_by_vector, {mode}':44}{p50:>10.3f} ms p50{p99:>10.3f} ms p99   {beside}")


_PAYLOAD = len(record.encode_vector(np.ones(DIM, np.float32).tobytes(), b"{}", MODEL)[1]) - len(b"{}")

if __name__ == "__main__":
    main()
