"""An audit's look at `tree/`: every hash that it keeps of the log's complete subtrees is that of the log's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.events import LOG_LEVELS, TILE_WIDTH, size_of
from engram.native import _core

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence
    from pathlib import Path

    from engram.ports import Disk, File
    from engram.store._audit._report import Ledger

_HASH = 32


class TreePass:
    """Holds the levels' files against the events, in order; what they lack is made when it is asked for, and no fault.

    The sizes are taken at first: what a node adds meanwhile is not looked at.
    """

    def __init__(self, disk: Disk, path: Path, ledger: Ledger, opened: contextlib.ExitStack) -> None:
        self._ledger = ledger
        self._files: list[File] = []
        self._counts: list[int] = []
        self._tails = [b""] * (LOG_LEVELS + 1)
        """Of each level the hashes of the tile that is not complete yet, as the log gives them."""
        try:
            for level in range(LOG_LEVELS):
                if not disk.exists(file := path / "tree" / str(level)):
                    break
                self._counts.append(size_of(disk, file) // _HASH)
                self._files.append(disk.open(file, writable=False))
                opened.callback(self._files[-1].close)
        except OSError as error:
            self._wrong(f"tree/{len(self._files)}", None, f"it cannot be read: {error.strerror or error}")
        if self._files:
            ledger.count("projections")

    @property
    def is_wanted(self) -> bool:
        """Whether there is something to hold against the events."""
        return bool(self._files)

    def take(self, first: int, events: Sequence[bytes]) -> None:
        """Hold the next events against every level."""
        if first >= self._counts[0]:
            return
        hashes = _core.leaf_hashes(events)
        for level in range(len(self._files)):
            if not self._holds(level, first, hashes):
                return
            tail = self._tails[level] + hashes
            whole = len(tail) // (TILE_WIDTH * _HASH) * TILE_WIDTH * _HASH
            self._tails[level] = tail[whole:]
            if not whole:
                return
            hashes = _core.subtree_roots(tail[:whole], TILE_WIDTH)
            first //= TILE_WIDTH

    def end(self, size: int, *, whole: bool) -> None:
        """Hold how much they have against the log. `whole`: nothing ended it early."""
        if not self._files:
            return
        if whole and self._counts[0] > size:
            self._wrong("tree/0", size * _HASH, f"it has {self._counts[0]} events, and the log has {size}")
        else:
            self._ledger.count("projections", 0, 1)

    def _holds(self, level: int, first: int, hashes: bytes) -> bool:
        most = max(0, self._counts[level] - first) * _HASH
        file = f"tree/{level}"
        try:
            found = self._files[level].read(first * _HASH, min(len(hashes), most))
        except OSError as error:
            self._wrong(file, first * _HASH, f"it cannot be read: {error.strerror or error}")
            return False
        if found == hashes[: len(found)]:
            return True
        at = next(at for at in range(0, len(found), _HASH) if found[at : at + _HASH] != hashes[at : at + _HASH])
        self._wrong(file, first * _HASH + at, "not the hash that the log gives; the next proof makes it again")
        return False

    def _wrong(self, file: str, offset: int | None, reason: str) -> None:
        self._files = []
        self._ledger.found("projections", file, offset, reason)
