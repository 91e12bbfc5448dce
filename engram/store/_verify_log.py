"""Going over the log from its beginning, a piece at a time, beside the one who appends to it.

Every frame is proved as at opening: CRC, position, time, the events' form, and the Merkle root, which only one who has
read all that comes before can know. No further than what is committed: behind it a frame may be half written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.events import segment_name
from engram.native import _core
from engram.store._place import LogPlace

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk

PIECE_BYTES = 1 << 20

_HEADER = 64
_FRAME_BYTES = 8 << 20
_COVERED = 2**63
"""All of it: what is committed is never torn."""


class Damage(msgspec.Struct, frozen=True):
    """What is wrong, and where: `size_bytes` from `offset` of the file on."""

    file: str
    offset: int
    size_bytes: int
    reason: str


class Look(msgspec.Struct, frozen=True):
    """What one step read, whether it came to the end, and what is wrong."""

    size_bytes: int = 0
    done: bool = False
    damages: tuple[Damage, ...] = ()


class LogVerifier:
    """Stands between two frames of the log in `folder`. Raises `ValueError` for a place that is in no log."""

    def __init__(self, disk: Disk, folder: Path, place: LogPlace) -> None:
        self._disk = disk
        self._folder = folder
        self._first, self._offset = place.first, place.offset
        self._state = _core.LogState(place.size, place.roots, place.time_unix_ns)
        self._suspect: tuple[int, int] | None = None

    @property
    def place(self) -> LogPlace:
        """Where it stands."""
        state = self._state
        return LogPlace(self._first, self._offset, state.size, state.roots, state.time_unix_ns)

    def step(self, end: int, root: bytes) -> Look:
        """Prove one more piece, no further than event `end`, where the log's root is `root`. Raises `OSError`.

        Damage is told when it is seen a second time.
        """
        if self._state.size >= end:
            if self._state.size == end and self._state.root != root:
                return Look(damages=self._damage("the log's root is another than the one that was committed"))
            return Look(done=True)
        piece = self._piece(end)
        if not piece and self._offset:
            return self._next_segment()
        _, (status, offset, reason) = self._state.scan(piece, False, _COVERED)
        self._offset += offset
        if status and self._suspect != (self._first, self._offset):
            self._suspect = (self._first, self._offset)
            return Look(len(piece))
        return Look(len(piece), damages=self._damage(reason) if status else ())

    def _piece(self, end: int) -> bytes:
        """Read whole frames, at least one; less than one where the file does not hold it."""
        file = self._disk.open(self._folder / segment_name(self._first), writable=False)
        try:
            data = file.read(self._offset, PIECE_BYTES)
            extent = _extent(data, 0)
            if len(data) < extent <= _FRAME_BYTES:
                data = file.read(self._offset, extent)
        finally:
            file.close()
        at, position = 0, self._state.size
        while position < end and at + _HEADER <= len(data) and at + _extent(data, at) <= len(data):
            position += int.from_bytes(data[at + 12 : at + 16], "little")
            at += _extent(data, at)
        return data[:at] if at else data[: _extent(data, 0)]

    def _next_segment(self) -> Look:
        name = segment_name(self._state.size)
        if not self._disk.exists(self._folder / name):
            return Look(damages=self._damage(f"it ends before what is committed, and there is no {name}"))
        self._first, self._offset = self._state.size, 0
        return Look()

    def _damage(self, reason: str) -> tuple[Damage, ...]:
        return (Damage(f"{self._folder.name}/{segment_name(self._first)}", self._offset, 0, reason),)


def _extent(data: bytes, at: int) -> int:
    """Give the size of the frame that is said to stand there, padded."""
    return _HEADER + (int.from_bytes(data[at + 8 : at + 12], "little") + 7) // 8 * 8
