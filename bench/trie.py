"""Time a state trie of a million leaves: building, changing, memory, saving and loading, proofs.

Usage: python bench/trie.py [--leaves 1000000] [--rounds 3]

The baseline of building is the definition in plain Python over hashlib: leaves sorted once, subtrees found by
bisection. That of changing, and of loading, is the native build from all leaves. Times are of one process, the median
of the rounds; "CPU" is that of all its threads. Memory is what the process grows by.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING

from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES = 20


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def rows_of(first: int, count: int) -> bytes:
    """Leaves with random keys, as `Trie` takes them."""
    digests = (sha(number.to_bytes(8, "big")) for number in range(first, first + count))
    return b"".join(digest + digest + (at << 6).to_bytes(8, "little") for at, digest in enumerate(digests))


def plain_root(rows: bytes) -> bytes:
    """The root of the rows, in plain Python."""
    leaves = sorted(rows[at : at + 64] for at in range(0, len(rows), 72))
    numbers = [int.from_bytes(leaf[:32], "big") for leaf in leaves]
    sha256 = hashlib.sha256

    def subtree(start: int, end: int, prefix: int, depth: int) -> bytes:
        if end - start == 0:
            return bytes(32)
        if end - start == 1:
            return sha256(b"\x02" + leaves[start]).digest()
        middle = prefix | 1 << (255 - depth)
        split = bisect_left(numbers, middle, start, end)
        counts = (split - start).to_bytes(8, "big") + (end - split).to_bytes(8, "big")
        left = subtree(start, split, prefix, depth + 1)
        return sha256(b"\x03" + counts + left + subtree(split, end, middle, depth + 1)).digest()

    return subtree(0, len(leaves), 0, 0)


def timed(rounds: int, work: Callable[[], object]) -> tuple[float, float]:
    """Median seconds by the clock, and of CPU."""
    taken = []
    for _ in range(rounds):
        started, cpu = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - started, time.process_time() - cpu))
    return statistics.median(wall for wall, _ in taken), statistics.median(cpu for _, cpu in taken)


def show(what: str, figure: str, ratio: float, baseline: str) -> None:
    print(f"{what:<58} {figure:>18} {ratio:>8.2f} x {baseline}")


def resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def changing(view: _core.TrieView, rows: bytes, built: float, size: int) -> None:
    """New leaves in batches, each committed."""
    trie, batches = _core.Trie.load(view.save()), [rows_of(1 << 40 | at * size, size) for at in range(BATCHES)]
    started = time.process_time()
    for batch in batches:
        trie.update(batch, b"")
        trie.commit()
    taken = (time.process_time() - started) / BATCHES
    name = f"updates a second of CPU, committed {size} at a time"
    show(name, f"{size / taken:,.0f}", built / taken, f"a build from all {len(rows) // 72:,}, each time")


def memory(rows: bytes) -> _core.TrieView:
    """Build, commit; replace a tenth of the leaves, commit again. Gives the first snapshot."""
    each, must = len(rows) // 72, "the 72 bytes that it must hold"
    replaced = b"".join(rows[at : at + 72] for at in range(0, len(rows), 720))
    before = resident()
    trie = _core.Trie(rows)
    first = trie.commit()
    grown = resident() - before
    trie.update(replaced, b"")
    second = trie.commit()
    both = resident() - before
    show("memory, bytes a leaf, the writer and a snapshot", f"{first.size_bytes / each:.1f}", grown / len(rows), must)
    show("  the same, as the process grew", f"{grown / each:.1f}", grown / len(rows), must)
    show("  with a second one, a tenth of the leaves replaced", f"{both / each:.1f}", both / grown, "the first alone")
    assert second.root == first.root
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rows = rows_of(0, given.leaves)
    view = memory(rows)
    roots = []
    plain, plain_cpu = timed(1, lambda: roots.append(plain_root(rows)))
    if roots != [view.root]:
        sys.exit("the two roots differ")
    built, built_cpu = timed(given.rounds, lambda: _core.Trie(rows).commit())
    show("build, plain Python over hashlib, seconds", f"{plain:.2f}", 1, "itself")
    show("build, native, seconds", f"{built:.3f}", plain / built, "the plain one, by the clock")
    show("build, native, seconds of CPU", f"{built_cpu:.3f}", plain_cpu / built_cpu, "the plain one, of CPU")
    for size in (1, 100, 1_000, 10_000):
        changing(view, rows, built_cpu, size)

    saved = view.save()
    save, _ = timed(given.rounds, view.save)
    load, load_cpu = timed(given.rounds, lambda: _core.Trie.load(saved).commit())
    show("save, seconds", f"{save:.3f}", built / save, "a build, by the clock")
    show("load, seconds", f"{load:.3f}", built / load, "a build, by the clock")
    show("load, seconds of CPU", f"{load_cpu:.3f}", built_cpu / load_cpu, "a build, of CPU")


if __name__ == "__main__":
    main()
