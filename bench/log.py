"""Time the log and the bodies, each against a plain file and sqlite3, alternating in one run.

Usage: python bench/log.py [--folder DIR] [--frames 300] [--events 64000] [--batches 100] [--rounds 5]

Appending: frames of 64 `record_stored` events, each frame made durable before the next. The plain file (the baseline)
is preallocated as a segment is, takes the bytes of the frame in one write, and an fdatasync. sqlite3 commits 64 rows of
(position, event), `synchronous=FULL`, with a write-ahead log and with a rollback journal.

Bodies: batches of 32 records of 384 dimensions and a text, durable after each; sqlite3 keeps the same payloads by row
id, and by CID, as a primary key.

Reading: verifying is CRC, form of each event, and Merkle root, as opening does it; decoding gives the events as the
store folds them. The fold is what opening a folder without its `state.db` takes longer than with it. Medians of the
rounds, in which the contestants take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engram import events, record
from engram.events import Log, LogCreated, RecordStored
from engram.native import _core
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import PUBLIC, PutOperation, Store
from engram.store._bodies import RECORD, Bodies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FRAME_EVENTS, BATCH, DIM = 64, 32, 384
ALLOCATED = 64 << 20
NOW = 1_700_000_000_000_000_000


def event(number: int) -> bytes:
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return events.encode(
        RecordStored(
            ns=bytes(32),
            cid=f"v1::{digest.hex()}",
            payload=digest,
            signer=bytes(32),
            issued_unix_ms=NOW // 10**6 + number,
        )
    )


def created() -> bytes:
    return events.encode(LogCreated(format=events.FORMAT, node_key=bytes(32)))


def payloads(count: int) -> list[tuple[bytes, bytes]]:
    """(digest, payload) of records with a vector and a sentence."""
    rng = np.random.default_rng(20_261_121)
    made = []
    for number in range(count):
        vector = rng.standard_normal(DIM, dtype=np.float32).tobytes()
        made.append(
            record.encode_text(f"sentence {number} " * 8, vector, record.canonical_metadata({"n": number}), "v1")
        )
    return made


# -- appending --------------------------------------------------------------------------------------------------------


def log_append(folder: Path, frames: Sequence[list[bytes]]) -> float:
    log = Log.open(RealDisk(), folder)
    log.append([created()], 1)
    started = time.perf_counter()
    for number, frame in enumerate(frames):
        log.append(frame, number)
    taken = time.perf_counter() - started
    log.close()
    return taken


def file_append(folder: Path, frames: Sequence[list[bytes]]) -> float:
    folder.mkdir()
    file = RealDisk().open(folder / "file", create=True)
    size = min(ALLOCATED, 2 * sum(len(part) for frame in frames for part in frame))
    file.write(0, bytes(size))
    file.sync()
    started, at = time.perf_counter(), 0
    for frame in frames:
        data = b"".join(frame)
        file.write(at, data)
        file.datasync()
        at += len(data)
    taken = time.perf_counter() - started
    file.close()
    return taken


def sqlite(schema: str, insert: str, journal: str) -> Callable[[Path, Sequence[list[tuple[object, bytes]]]], float]:
    def run(folder: Path, groups: Sequence[list[tuple[object, bytes]]]) -> float:
        folder.mkdir()
        connection = sqlite3.connect(folder / "file.db", isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(schema)
        started = time.perf_counter()
        for rows in groups:
            connection.execute("BEGIN")
            connection.executemany(insert, rows)
            connection.execute("COMMIT")
        taken = time.perf_counter() - started
        connection.close()
        return taken

    return run


BY_ROW = "CREATE TABLE kept (id INTEGER PRIMARY KEY, data BLOB NOT NULL)", "INSERT INTO kept VALUES (?, ?)"
BY_CID = "CREATE TABLE kept (cid BLOB PRIMARY KEY, data BLOB NOT NULL)", "INSERT INTO kept VALUES (?, ?)"


def bodies_append(folder: Path, batches: Sequence[list[tuple[bytes, bytes]]]) -> float:
    bodies, _ = Bodies.open(RealDisk(), folder, known_to=0, named=set)
    started = time.perf_counter()
    for batch in batches:
        for digest, payload in batch:
            bodies.stage(RECORD, digest, payload)
        bodies.flush()
    taken = time.perf_counter() - started
    bodies.close()
    return taken


def race(folder: Path, rounds: int, contestants: dict[str, Callable[[Path], float]]) -> dict[str, float]:
    """Give each contestant's median seconds; each works in a fresh folder."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            fresh = folder / "now"
            taken[name].append(run(fresh))
            shutil.rmtree(fresh)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def table(title: str, count: int, taken: dict[str, float], baseline: str) -> None:
    print(f"\n| {title} | µs each | times the baseline |\n|---|---:|---:|")
    for name, seconds in taken.items():
        mark = " (baseline)" if name == baseline else ""
        print(f"| {name}{mark} | {seconds / count * 1e6:.0f} | {seconds / taken[baseline]:.2f} |")


# -- reading ----------------------------------------------------------------------------------------------------------


def segment_of(count: int) -> tuple[bytes, list[bytes]]:
    state = _core.LogState()
    written = [event(number) for number in range(count)]
    frames = [state.encode(1, [created()])]
    frames += [state.encode(2, written[at : at + FRAME_EVENTS]) for at in range(0, count, FRAME_EVENTS)]
    return b"".join(frames), written


def verify(segment: bytes) -> float:
    started = time.perf_counter()
    _, (status, _, _) = _core.LogState().scan(segment, True, 0)
    taken = time.perf_counter() - started
    assert status == 0
    return taken


def decode(written: list[bytes]) -> float:
    started = time.perf_counter()
    for data in written:
        events.decode(data)
    return time.perf_counter() - started


def fold(folder: Path, records: list[tuple[bytes, bytes]]) -> Callable[[], float]:
    """Give what makes and times the fold of a folder with these records."""
    disk, path = RealDisk(), folder / "store"
    store = Store.open(disk, RealTables(), path, RealRng(), NOW, "bench")
    store.commit([PutOperation(PUBLIC.ns, *each, store.key.public) for each in records], NOW)
    store.close(NOW)

    def opened() -> float:
        started = time.perf_counter()
        store = Store.open(disk, RealTables(), path, RealRng(), NOW, "bench")
        taken = time.perf_counter() - started
        store.close(NOW)
        return taken

    def run() -> float:
        whole = opened()
        for suffix in ("", "-wal", "-shm"):
            (path / f"state.db{suffix}").unlink(missing_ok=True)
        return opened() - whole

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--events", type=int, default=64_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, sqlite {sqlite3.sqlite_version}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        appending(folder, options.frames, options.rounds)
        records = keeping(folder, options.batches, options.rounds)
        reading(folder, options.events, records, options.rounds)


def appending(folder: Path, count: int, rounds: int) -> None:
    frames = [[event(at * FRAME_EVENTS + n) for n in range(FRAME_EVENTS)] for at in range(count)]
    rows = [[(at * FRAME_EVENTS + n, data) for n, data in enumerate(frame)] for at, frame in enumerate(frames)]
    taken = race(
        folder,
        rounds,
        {
            "plain file, fdatasync": lambda fresh: file_append(fresh, frames),
            "the log": lambda fresh: log_append(fresh, frames),
            "sqlite3 FULL, WAL": lambda fresh: sqlite(*BY_ROW, "WAL")(fresh, rows),
            "sqlite3 FULL, rollback journal": lambda fresh: sqlite(*BY_ROW, "DELETE")(fresh, rows),
        },
    )
    table(f"a frame of {FRAME_EVENTS} events, durable", count, taken, "plain file, fdatasync")


def keeping(folder: Path, count: int, rounds: int) -> list[tuple[bytes, bytes]]:
    records = payloads(count * BATCH)
    batches = [records[at : at + BATCH] for at in range(0, len(records), BATCH)]
    plain = [[data for _, data in batch] for batch in batches]
    by_row = [[(at * BATCH + n, data) for n, (_, data) in enumerate(batch)] for at, batch in enumerate(batches)]
    taken = race(
        folder,
        rounds,
        {
            "plain file, fdatasync": lambda fresh: file_append(fresh, plain),
            "the bodies": lambda fresh: bodies_append(fresh, batches),
            "sqlite3 FULL, WAL, by row id": lambda fresh: sqlite(*BY_ROW, "WAL")(fresh, by_row),
            "sqlite3 FULL, WAL, by CID": lambda fresh: sqlite(*BY_CID, "WAL")(fresh, batches),
            "sqlite3 FULL, rollback journal, by row id": lambda fresh: sqlite(*BY_ROW, "DELETE")(fresh, by_row),
            "sqlite3 FULL, rollback journal, by CID": lambda fresh: sqlite(*BY_CID, "DELETE")(fresh, batches),
        },
    )
    table(f"a batch of {BATCH} records, durable", count, taken, "the bodies")
    return records


def reading(folder: Path, count: int, records: list[tuple[bytes, bytes]], rounds: int) -> None:
    segment, written = segment_of(count)
    folded = fold(folder, records)
    taken: dict[str, list[float]] = {"verify": [], "decode": [], "fold": []}
    for _ in range(rounds):
        taken["verify"].append(verify(segment) / count)
        taken["decode"].append(decode(written) / count)
        taken["fold"].append(folded() / len(records))
    median = {name: statistics.median(each) * 1e9 for name, each in taken.items()}
    best = {name: min(each) * 1e9 for name, each in taken.items()}
    print("\n| an event | median ns | best ns |\n|---|---:|---:|")
    for name in taken:
        print(f"| {name} | {median[name]:.0f} | {best[name]:.0f} |")
    both = [sum(of[name] for name in ("verify", "decode")) for of in (median, best)]
    print(f"| verify + decode | {both[0]:.0f} | {both[1]:.0f} |")
    print(f"\nThe fold is {median['fold'] / both[0]:.0f} times verifying and decoding.")


if __name__ == "__main__":
    main()
