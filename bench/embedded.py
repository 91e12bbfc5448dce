"""Time an embedded memory's calls: beside the work that each is about, and beside sqlite3, Chroma and LanceDB.

Usage: python bench/embedded.py [--rows 100000] [--rounds 5] [--folder F]

The rows are made vectors of 384 dimensions, each with a text of about 60 characters and small metadata. `get` is timed
hot, over 200 CIDs, against a row of a sqlite3 table by its key, its JSON decoded; `query_by_vector`, k = 10, against
the engine's own call on the same snapshot with the same queries. Beneath each stands what its parts take. The
contestants of a table take turns, call by call. Then: asyncio and trio; a loop's lateness while a bulk is written
beside it; opening and closing a folder, a single file, and `:memory:`. --folder keeps the rows' data folder, for
another run.

Rivals, where they are installed: pip install chromadb lancedb
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import shutil
import sqlite3
import statistics
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trio
from folders import NAMESPACE, fill
from scan import synthetic

import engram
from engram import cid as cids
from engram.node._checks import hit_of, record_answer
from engram.store._reading import _grouped
from engram.wire import Get, Query, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

K, DIM = 10, 384
HOT, QUERIES = 200, 200
BARS_US = {"get": 20.0, "query": 40.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the data folder here")
    options = parser.parse_args()
    vectors = synthetic(options.rows + QUERIES, DIM).astype(np.float32)
    rows, queries = vectors[: options.rows], [query.tobytes() for query in vectors[options.rows :]]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "data"
        if not folder.exists():
            fill(folder, memories(options.rows), rows)
        with engram.open(folder) as memory:
            settle(memory)
            gets(memory, rows, options.rounds, Path(temporary))
            searches(memory, queries, options.rounds)
        loops(folder, queries)
        places(folder, Path(temporary))
        in_memory(rows)


def memories(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        text = f"memory {number:07}: what was said, by whom, and when it was so"
        yield {"text": text, "metadata": {"n": number, "source": "bench", "year": 1900 + number % 127}}


def settle(memory: engram.Memory) -> None:
    """Wait until the parts of the index are built, which goes on beside."""
    rows, quiet = -1, 0
    while quiet < 3:
        view = memory._home.service._store.published.indexes[namespace(memory)]
        quiet, rows = (quiet + 1, rows) if len(view.parts) == rows else (0, len(view.parts))
        time.sleep(1)


def namespace(memory: engram.Memory) -> bytes:
    return memory._home.service.reads.namespace(NAMESPACE).ns


def turns(calls: Mapping[str, Callable[[Any], Any]], arguments: list[Any], rounds: int) -> dict[str, list[float]]:
    """Time each call with each argument, in turn, another one first each time; give the microseconds, sorted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for argument in arguments:
            call(argument)
    gc.collect()
    gc.disable()
    order = list(calls.items())
    for _ in range(rounds):
        for argument in arguments:
            order = [*order[1:], order[0]]
            for name, call in order:
                started = time.perf_counter_ns()
                call(argument)
                times[name].append((time.perf_counter_ns() - started) / 1000)
    gc.enable()
    return {name: sorted(found) for name, found in times.items()}


def shown(title: str, times: Mapping[str, list[float]], baseline: str) -> None:
    print(f"\n{title:52}{'p50 us':>9}{'p99 us':>9}{'  of ' + baseline:>22}")
    base = statistics.median(times[baseline])
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:52}{median:>9.1f}{found[len(found) * 99 // 100]:>9.1f}{median / base:>22.2f}", flush=True)


def gets(memory: engram.Memory, rows: np.ndarray, rounds: int, temporary: Path) -> None:
    records = memory.list(limit=HOT, namespace=NAMESPACE)
    found = [record.cid for record in records]
    service, store, ns = memory._home.service, memory._home.service._store, namespace(memory)
    digests = {cid: cids.digest_of(cid) for cid in found}
    views = {cid: store.get(ns, digests[cid]) for cid in found}
    requests = {cid: Get(cid=cid, namespace=NAMESPACE) for cid in found}
    locations = {cid: location(store, ns, digests[cid]) for cid in found}
    whole = {
        "sqlite3, by key": by_key(records, rows, temporary / "rival.db"),
        "memory.get": partial(memory.get, namespace=NAMESPACE),
    }
    parts = {
        "  the request checked": lambda cid: checked(requests[cid]),
        "  the request looked at": lambda cid: service.reads.get(requests[cid]),
        "  its place found, by SQLite": lambda cid: location(store, ns, digests[cid]),
        "  its body proved": lambda cid: store._proved(locations[cid], digests[cid]),
        "  the answer made": lambda cid: record_answer(digests[cid], views[cid], 0),
    }
    times = turns(whole, found, rounds * 5)
    shown(f"get, {len(rows):,} rows, hot", times | turns(parts, found, rounds * 5), "sqlite3, by key")
    print(f"bar: {BARS_US['get']:.0f} us; memory.get: {statistics.median(times['memory.get']):.1f}")
    if others := rivals(records, rows, temporary):
        times = turns(whole | others, found, 2)
        shown("the same in turn with these, which leave no cache hot", times, "sqlite3, by key")


def location(store: Any, ns: bytes, digest: bytes) -> int:
    return store._row(
        """SELECT location FROM memberships INDEXED BY memberships_by_record
           WHERE ns = ? AND digest = ? AND alive LIMIT 1""",
        (ns, digest),
    )[0]


def by_key(records: list[Any], rows: np.ndarray, path: Path) -> Callable[[str], Any]:
    """Give the plain way: a table with a primary key, in WAL, opened again."""
    with sqlite3.connect(path) as table:
        table.execute("PRAGMA journal_mode=WAL")
        table.execute("CREATE TABLE t (id TEXT PRIMARY KEY, text TEXT, metadata TEXT, vector BLOB) WITHOUT ROWID")
        found = ((record.cid, record.text, json.dumps(record.metadata)) for record in records)
        table.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(*one, rows[0].tobytes()) for one in found])
        more = ((f"id {n}", "text " * 12, "{}", rows[n % len(rows)].tobytes()) for n in range(len(rows)))
        table.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", more)
    table.close()
    reading = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    def get(cid: str) -> tuple[str, dict[str, Any]]:
        text, metadata = reading.execute("SELECT text, metadata FROM t WHERE id = ?", (cid,)).fetchone()
        return text, json.loads(metadata)

    return get


def rivals(records: list[Any], rows: np.ndarray, temporary: Path) -> dict[str, Callable[[str], Any]]:
    """Give the rivals that are installed, with the hot rows and a few thousand more."""
    found: dict[str, Callable[[str], Any]] = {}
    ids, texts = [record.cid for record in records], [record.text for record in records]
    if find_spec("chromadb"):
        import chromadb  # noqa: PLC0415

        collection = chromadb.PersistentClient(str(temporary / "chroma")).create_collection("memories")
        embeddings = [row.tolist() for row in rows[: len(records)]]
        metadatas = [record.metadata for record in records]
        collection.add(ids=ids, embeddings=embeddings, documents=texts, metadatas=metadatas)
        found[f"Chroma {chromadb.__version__}, get"] = collection.get
    if find_spec("lancedb"):
        import lancedb  # noqa: PLC0415
        from lancedb.index import BTree  # noqa: PLC0415

        made = [
            {"id": record.cid, "text": record.text, "vector": row, "metadata": json.dumps(record.metadata)}
            for record, row in zip(records, rows[: len(records)], strict=True)
        ]
        table = lancedb.connect(temporary / "lance").create_table("memories", made)
        table.create_index("id", config=BTree())
        found[f"LanceDB {lancedb.__version__}, by id"] = lambda cid: (
            table.search().where(f"id = '{cid}'").limit(1).to_list()
        )
    return found


def searches(memory: engram.Memory, queries: list[bytes], rounds: int) -> None:
    store, ns = memory._home.service._store, namespace(memory)
    view = store.published.indexes[ns]
    requests = {query: Query(vector=query, namespace=NAMESPACE) for query in queries}
    hits = {query: view.search(query, K)[0] for query in queries}
    answers = {query: store.search(ns, query, K, None) for query in queries}
    whole = {
        "the engine": lambda query: view.search(query, K),
        "memory.query_by_vector": lambda query: memory.query_by_vector(query, K, namespace=NAMESPACE),
    }
    parts = {
        "  the request checked": lambda query: checked(requests[query]),
        "  whose chunks its hits are": lambda query: _grouped(hits[query]),
        "  its hits decoded": lambda query: [hit_of(found) for found in answers[query].found],
    }
    times = turns(whole, queries, rounds * 2)
    shown(f"query_by_vector, {answers[queries[0]].mode}, k = {K}", times | turns(parts, queries, rounds), "the engine")
    added = statistics.median(times["memory.query_by_vector"]) - statistics.median(times["the engine"])
    print(f"bar: {BARS_US['query']:.0f} us more than the engine; at the median: {added:.1f}")


def loops(folder: Path, queries: list[bytes]) -> None:
    print(f"\n{'a call, awaited, p50 us':52}{'get':>9}{'query':>9}{'status':>9}")
    for name, found in (
        ("asyncio", asyncio.run(awaited(folder, queries))),
        ("trio", trio.run(awaited, folder, queries)),
    ):
        print(f"{name:52}" + "".join(f"{us:>9.1f}" for us in found), flush=True)
    print(f"\n{'a loop that sleeps 5 ms, while 20,000 vectors come':52}{'p50 ms':>9}{'p99 ms':>9}{'most ms':>9}")
    print_late("asyncio", asyncio.run(lateness()))
    print_late("trio", trio.run(lateness))


async def awaited(folder: Path, queries: list[bytes]) -> list[float]:
    async with engram.open_async(folder) as memory:
        found = [record.cid for record in await memory.list(limit=HOT, namespace=NAMESPACE)]
        return [
            await median_us(lambda at: memory.get(found[at % HOT], NAMESPACE), 3000),
            await median_us(lambda at: memory.query_by_vector(queries[at % QUERIES], K, namespace=NAMESPACE), 1000),
            await median_us(lambda _: memory.status(), 1000),
        ]


async def median_us(call: Callable[[int], Any], count: int) -> float:
    times = []
    for at in range(count):
        started = time.perf_counter_ns()
        await call(at)
        times.append((time.perf_counter_ns() - started) / 1000)
    return statistics.median(times[count // 5 :])


async def lateness() -> list[float]:
    import anyio  # noqa: PLC0415

    late: list[float] = []

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await anyio.sleep(0.005)
            late.append((time.perf_counter() - started - 0.005) * 1000)

    vectors = synthetic(20_000, DIM).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        async with engram.open_async(Path(folder)) as memory, anyio.create_task_group() as tasks:
            await memory.namespaces.create(NAMESPACE, dim=DIM, model="bench/1")
            tasks.start_soon(tick)
            await memory.ingest_embeddings(vectors, namespace=NAMESPACE)
            tasks.cancel_scope.cancel()
    return sorted(late)


def print_late(name: str, late: list[float]) -> None:
    print(f"{name:52}{statistics.median(late):>9.1f}{late[len(late) * 99 // 100]:>9.1f}{late[-1]:>9.1f}", flush=True)


def places(folder: Path, temporary: Path) -> None:
    print(f"\n{'a memory of as many rows':52}{'open s':>9}{'close s':>9}{'MB':>9}")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{'a folder':52}{opened(folder)}{size / 1e6:>9.0f}")
    file = temporary / "one.engram"
    started = time.perf_counter()
    shutil.copytree(folder, temporary / "plain")
    copied = time.perf_counter() - started
    from engram.runtime import RealDisk  # noqa: PLC0415
    from engram.store import PackedFile  # noqa: PLC0415

    packed = PackedFile(RealDisk(), file)
    packed.unpack()
    shutil.copytree(folder, packed.folder, dirs_exist_ok=True)
    packed.pack()
    packed.release()
    print(f"{'one file, nothing written':52}{opened(file)}{file.stat().st_size / 1e6:>9.0f}")
    print(f"{'one file, a vector written':52}{opened(file, write=True)}{file.stat().st_size / 1e6:>9.0f}")
    print(f"copying the folder with shutil, unsynced: {copied:.2f} s")


def opened(path: Path, *, write: bool = False) -> str:
    started = time.perf_counter()
    memory = engram.open(path)
    opening = time.perf_counter() - started
    if write:
        memory.ingest_embedding([1.0] * DIM, namespace=NAMESPACE)
    started = time.perf_counter()
    memory.close()
    return f"{opening:>9.2f}{time.perf_counter() - started:>9.2f}"


def in_memory(rows: np.ndarray) -> None:
    started, before = time.perf_counter(), resident_mb()
    with engram.open(":memory:") as memory:
        memory.namespaces.create(NAMESPACE, dim=DIM, model="bench/1")
        for at in range(0, len(rows), 5000):
            batch = [given | {"vector": row} for given, row in zip(memories(5000), rows[at : at + 5000], strict=False)]
            memory.ingest_many(batch, namespace=NAMESPACE)
        took, payloads = time.perf_counter() - started, memory.status().bodies_bytes / 1e6
        count = memory.status().records
        grown = resident_mb() - before
        print(f"\n:memory: {count:,} rows in {took:.1f} s; resident {grown:.0f} MB, bodies {payloads:.0f} MB")
    print(f"peak of the whole process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def resident_mb() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    main()
