"""Time proofs about a log: catching up, making and verifying them, the export; each against a baseline of the same run.

Usage: python bench/log_tree.py [--folder DIR] [--events 1000000] [--proofs 2000] [--rounds 3]

The log has `record_stored` events in frames of 1,024. Catching up makes the tree of all of it; its baseline is reading
those events alone. A proof of an event is a median over random positions, at the log's size and at random ones; its
baseline makes the path of one event by hashing all of them, natively, events at hand. Verifying is against RFC 9162's
steps in Python with hashlib. Export is against proving the log, which is what `engram-node replay` does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engram import events
from engram.events import (
    Checkpoint,
    Log,
    LogCreated,
    LogTree,
    RecordStored,
    Replay,
    checkpoints,
    export_tiles,
    verify_consistency,
    verify_inclusion,
)
from engram.identity import NodeKey
from engram.native import _core
from engram.runtime import RealDisk

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME, NOW = 1024, 1_700_000_000_000_000_000
KEY = NodeKey(bytes(range(32)))


def event(number: int) -> bytes:
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    stored = RecordStored(
        ns=bytes(32), cid=f"v1::{digest.hex()}", payload=digest, signer=bytes(32), issued_unix_ms=NOW // 10**6 + number
    )
    return events.encode(stored)


def written(folder: Path, count: int) -> tuple[Log, list[bytes]]:
    """Write a log as a data folder has it, signed at its end and at its middle."""
    made = [events.encode(LogCreated(format=1, node_key=KEY.public)), *(event(number) for number in range(1, count))]
    log = Log.open(RealDisk(), folder / "events")
    (folder / "FORMAT").write_text("{}")
    (folder / "checkpoints").mkdir()
    for at in range(0, count, FRAME):
        log.append(made[at : at + FRAME], NOW + at)
        if at in {count // 2 // FRAME * FRAME, (count - 1) // FRAME * FRAME}:
            checkpoints.write(RealDisk(), folder / "checkpoints", Checkpoint(log.size, log.root), KEY)
    return log, made


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def median_us(calls: list[Callable[[], object]]) -> float:
    return statistics.median(seconds(call) for call in calls) * 1e6


def row(what: str, value: str, ratio: float | None = None) -> None:
    print(f"| {what} | {value} | {'' if ratio is None else f'{ratio:.3g}'} |")


def reading(log: Log) -> None:
    for _ in log.read():
        pass


def catching_up(folder: Path, log: Log, rounds: int) -> LogTree:
    alone, whole = [], []
    for _ in range(rounds):
        alone.append(seconds(lambda: reading(log)))
        shutil.rmtree(folder / "tree", ignore_errors=True)
        tree = LogTree(RealDisk(), folder / "tree", log)
        whole.append(seconds(tree.catch_up))
    read, caught = statistics.median(alone), statistics.median(whole)
    row("reading every event (baseline)", f"{log.size / read:,.0f}/s", 1)
    row("catching up: reading, hashing, writing the tree", f"{log.size / caught:,.0f}/s", read / caught)
    size = sum(path.stat().st_size for path in (folder / "tree").iterdir())
    row("the tree on disk", f"{size / log.size:.1f} B an event")
    again = LogTree(RealDisk(), folder / "tree", log)
    row("after a restart, to the first proof", f"{seconds(lambda: again.inclusion(7, log.size)) * 1e3:.2f} ms")
    return tree


def proving(tree: LogTree, log: Log, made: list[bytes], count: int) -> None:
    rng = random.Random(20_261_130)
    whole = seconds(lambda: _core.frame_paths(_core.LogState(), made, [log.size // 3])) * 1e6
    row("an event's path by hashing all events (baseline)", f"{whole:,.0f} µs", 1)
    pairs = [(rng.randrange(log.size), log.size) for _ in range(count)]
    now = median_us([lambda pair=pair: tree.inclusion(*pair) for pair in pairs])
    row("inclusion at the log's size, verified", f"{now:,.0f} µs", now / whole)
    pairs = [(rng.randrange(size), size) for size in (rng.randint(1, log.size) for _ in range(count))]
    past = median_us([lambda pair=pair: tree.inclusion(*pair) for pair in pairs])
    row("inclusion at a size of the past, verified", f"{past:,.0f} µs", past / whole)
    sizes = [sorted(rng.sample(range(1, log.size), 2)) for _ in range(count)]
    two = median_us([lambda pair=pair: tree.consistency(*pair) for pair in sizes])
    row("consistency of two sizes, verified", f"{two:,.0f} µs", two / whole)


def plain_inclusion(data: bytes, position: int, size: int, path: list[bytes], root: bytes) -> bool:
    """RFC 9162 §2.1.3.2 in Python."""
    at, last, value = position, size - 1, hashlib.sha256(b"\0" + data).digest()
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            value = hashlib.sha256(b"\1" + sibling + value).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = hashlib.sha256(b"\1" + value + sibling).digest()
        at, last = at >> 1, last >> 1
    return last == 0 and value == root


def verifying(tree: LogTree, log: Log, made: list[bytes], count: int) -> None:
    rng = random.Random(20_261_130)
    proofs = [(p, tree.inclusion(p, log.size)) for p in (rng.randrange(log.size) for _ in range(count))]
    given = [(made[position], position, log.size, path, log.root) for position, path in proofs]
    assert all(plain_inclusion(*each) and verify_inclusion(*each) for each in given)
    plain = median_us([lambda each=each: plain_inclusion(*each) for each in given])
    ours = median_us([lambda each=each: verify_inclusion(*each) for each in given])
    row("verifying inclusion, hashlib (baseline)", f"{plain:.1f} µs", 1)
    row("verifying inclusion", f"{ours:.1f} µs", ours / plain)
    sizes = [rng.randint(1, log.size) for _ in range(count)]
    kept = [(size, tree.root(size), log.size, log.root, tree.consistency(size, log.size)) for size in sizes]
    row("verifying consistency", f"{median_us([lambda each=each: verify_consistency(*each) for each in kept]):.1f} µs")
    row("the largest path", f"{max(len(each[-1]) for each in kept) * 32:,} B")


def of_a_frame(made: list[bytes], size: int) -> None:
    """What a frame's receipts need, for each of its events."""
    state = _core.LogState(size, [bytes(32)] * size.bit_count())
    for count in (1, 64, 1024):
        frame = made[:count]
        hashing = median_us([lambda frame=frame: _core.leaf_hashes(frame) for _ in range(200)]) / count
        paths = median_us([lambda frame=frame: _core.frame_paths(state, frame, range(len(frame))) for _ in range(200)])
        row(f"hashing the events of a frame of {count:,} (baseline)", f"{hashing:.2f} µs each", 1)
        row(f"the paths of a frame of {count:,}", f"{paths / count:.2f} µs each", paths / count / hashing)


def proved(folder: Path) -> None:
    log = Replay(RealDisk(), folder)
    while log.read():
        pass


def exporting(folder: Path, log: Log) -> None:
    alone = seconds(lambda: proved(folder))
    row("proving the log (baseline)", f"{alone:.2f} s, {log.bytes() / alone / 1e6:,.0f} MB/s", 1)
    first = seconds(lambda: export_tiles(RealDisk(), folder, folder / "out"))
    row("the export", f"{first:.2f} s", first / alone)
    again = seconds(lambda: export_tiles(RealDisk(), folder, folder / "out"))
    row("the export again, nothing new", f"{again:.2f} s", again / alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--proofs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.events:,} events\n")
    print("| what | | times the baseline |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        log, made = written(folder, options.events)
        tree = catching_up(folder, log, options.rounds)
        proving(tree, log, made, options.proofs)
        verifying(tree, log, made, options.proofs)
        of_a_frame(made, log.size)
        exporting(folder, log)
        log.close()


if __name__ == "__main__":
    main()
