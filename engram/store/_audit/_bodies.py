"""An audit's way through the body segments: each frame whole, each body what its id says; where each is, and its hash.

What is found stands in a table of the audit's own database, since there may be more of it than memory.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from engram.events import SEGMENT_BYTES, size_of
from engram.native import _core
from engram.store._frames import ERASED, HEADER, RECORD, Body, to_next_sound
from engram.store._rows import select_among
from engram.store._tables import View
from engram.store._verify_bodies import whole_frames

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from engram.ports import Disk, File
    from engram.store._audit._report import Ledger

_PIECE_BYTES = 1 << 20
_FRAME_BYTES = (1 << 20) + HEADER
_NAME = re.compile(r"[0-9]{20}\.seg")
_DAMAGED = 2
_LOOKS = 3
_TRIES = 64
"""How many places that look like a frame are looked at behind damage, in one piece."""
_DAMAGES = 100
"""How often damage is passed over in one segment; behind that the rest of it is given up."""


class Found(NamedTuple):
    """A body: where it is, what it is, the hash of its bytes; of a record its model and dimension."""

    id: bytes
    kind: int
    location: int
    payload: bytes
    model_version: str
    dim: int


class BodyTable:
    """The bodies that were found, by id: the first of each, but for one that was erased and came again."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(
            """CREATE TABLE found (id BLOB PRIMARY KEY, kind INTEGER NOT NULL, location INTEGER NOT NULL,
               payload BLOB NOT NULL, model_version TEXT NOT NULL, dim INTEGER NOT NULL) WITHOUT ROWID"""
        )
        connection.execute(
            "CREATE TABLE frames (location INTEGER PRIMARY KEY, id BLOB NOT NULL, kind INTEGER NOT NULL)"
        )

    def add(self, bodies: Sequence[Found]) -> None:
        """Take bodies in, in the order of their locations."""
        self._connection.executemany(
            "INSERT INTO frames VALUES (?, ?, ?)", [(body.location, body.id, body.kind) for body in bodies]
        )
        self._connection.executemany(
            f"""INSERT INTO found VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
               kind = excluded.kind, location = excluded.location, payload = excluded.payload,
               model_version = excluded.model_version, dim = excluded.dim
               WHERE found.kind = {ERASED} AND excluded.kind != {ERASED}""",  # noqa: S608 (a number)
            bodies,
        )

    def before(self, tail: int) -> Iterator[Body]:
        """Give every frame below a location, in order, as the tables' fold takes them."""
        rows = self._connection.execute("SELECT id, kind, location FROM frames WHERE location < ?", (tail,))
        return (Body(*row) for row in rows)

    def among(self, ids: Iterable[bytes]) -> dict[bytes, Found]:
        """Give those of these ids that are there."""
        query = "SELECT id, kind, location, payload, model_version, dim FROM found WHERE id IN"
        return {row[0]: Found(*row) for row in select_among(self._connection, query, list(dict.fromkeys(ids)))}


class BodyReader:
    """Reads bodies where they were found: from the file and not a map, whose end may go while it is read."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._folder = path / "bodies"
        self._number = -1
        self._file: File | None = None

    def read(self, location: int) -> memoryview:
        """Give the bytes of the body at a location. Raises `OSError`."""
        number, start = divmod(location, SEGMENT_BYTES)
        if self._file is None or self._number != number:
            self.close()
            self._file = self._disk.open(self._folder / f"{number:020}.seg", writable=False)
            self._number = number
        header = self._file.read(start, HEADER)
        size = min(int.from_bytes(header[8:12], "little"), _FRAME_BYTES)
        return memoryview(self._file.read(start + HEADER, size))

    def close(self) -> None:
        """Close the segment that was read last."""
        if self._file is not None:
            self._file.close()
            self._file = None


class BodiesPass:
    """Goes over all segments once. `named` says which of some ids the events of the log name."""

    def __init__(
        self,
        disk: Disk,
        path: Path,
        table: BodyTable,
        ledger: Ledger,
        named: Callable[[set[bytes]], set[bytes]],
        pause: Callable[[], object],
    ) -> None:
        self._disk = disk
        self._folder = path / "bodies"
        self._table = table
        self._ledger = ledger
        self._named = named
        self._pause = pause
        try:
            self._names = [name for name in disk.list(self._folder) if _NAME.fullmatch(name)]
        except OSError as error:
            self._names = []
            ledger.found("bodies", "bodies", None, f"it cannot be read: {error.strerror or error}")
        self.done = 0
        self.end = 0
        """The location behind the last sound frame."""

    def run(self) -> None:
        """Read everything, and note what is wrong."""
        total = sum(self._size(name) for name in self._names)
        for name in self._names:
            before = self.done
            for size in self._segment(name, last=name == self._names[-1]):
                self.done += size
                self._ledger.tell("bodies", self.done, total)
            self._ledger.count("bodies", 0, size_bytes=self.done - before)

    def _size(self, name: str) -> int:
        try:
            return min(size_of(self._disk, self._folder / name), SEGMENT_BYTES)
        except OSError:
            return 0

    def _segment(self, name: str, *, last: bool) -> Iterator[int]:
        file, offset = f"bodies/{name}", 0
        try:
            opened = self._disk.open(self._folder / name, writable=False)
        except OSError as error:
            self._ledger.found("bodies", file, None, f"it cannot be read: {error.strerror or error}")
            return
        try:
            if opened.size() > SEGMENT_BYTES:
                self._ledger.found("bodies", file, SEGMENT_BYTES, "a segment is at most 64 MiB")
            damages = 0
            while offset < SEGMENT_BYTES and (data := opened.read(offset, _PIECE_BYTES + _FRAME_BYTES)):
                used, reason = self._piece(name, offset, data)
                offset += used
                yield used
                if reason is None:
                    continue
                if last:
                    reason = self._at_the_end(opened, file, offset, first=not damages)
                    if reason is None:
                        return
                damages += 1
                rest = data[used:]
                skipped = to_next_sound(rest, 0, _TRIES) if damages < _DAMAGES else SEGMENT_BYTES - offset
                self._ledger.count("bodies")
                self._ledger.found("bodies", file, offset, reason)
                offset += skipped
                yield min(skipped, len(rest))
            if not last and not offset:
                self._ledger.found("bodies", file, 0, "a segment before the last holds no frame")
        except OSError as error:
            self._ledger.found("bodies", file, offset, f"it cannot be read: {error.strerror or error}")
        finally:
            opened.close()

    def _piece(self, name: str, offset: int, data: bytes) -> tuple[int, str | None]:
        """Take in the whole frames at the beginning of `data`; give their size, and what is wrong behind them."""
        piece = data[: min(whole_frames(data), SEGMENT_BYTES - offset)]
        if not piece:
            return 0, "an unsound frame"
        frames, again, (status, used, reason) = _core.scan_bodies(piece, 0, None, False, True)
        start = int(name[:20]) * SEGMENT_BYTES + offset
        self._table.add([_found(piece, frame, start) for frame in frames])
        self._ledger.count("bodies", len(frames), len(frames))
        self.end = start + used if frames else self.end
        for at in again:
            reason_again = "an erasure that was not finished; the next start finishes it"
            self._ledger.found("bodies", f"bodies/{name}", offset + at, reason_again, status="torn")
        return used, reason if status == _DAMAGED else None

    def _at_the_end(self, opened: File, file: str, offset: int, *, first: bool) -> str | None:
        """Say what is wrong with an unsound frame of the last segment; None where the data end there, or are torn.

        `first`: the frames before it are sound. Behind damage nothing is torn.
        """
        for look in range(_LOOKS):
            rest = opened.read(0, SEGMENT_BYTES)
            _, _, (status, at, reason) = _core.scan_bodies(rest, offset, set(), True, True)
            if at > offset or not status:  # written meanwhile, or nothing but zeros
                return None
            if not first:
                return "an unsound frame"
            if look < _LOOKS - 1:
                self._pause()
        ids = {rest[at : at + 32] for at in range(offset + 16, len(rest) - 47, 64)}
        held = {body_id for body_id, found in self._table.among(ids).items() if found.kind != ERASED}
        _, _, (status, _, reason) = _core.scan_bodies(rest, offset, self._named(ids), True, True, held=held)
        if status == _DAMAGED:
            return reason
        self._ledger.found("bodies", file, offset, reason, status="torn")
        return None


def _found(piece: bytes, frame: _core.BodyFrame, start: int) -> Found:
    at, _, size, kind, body_id = frame
    data = memoryview(piece)[at + HEADER : at + HEADER + size]
    if kind != RECORD:
        return Found(body_id, kind, start + at, body_id, "", 0)
    view = View(data)
    return Found(body_id, kind, start + at, hashlib.sha256(data).digest(), view.model_version, view.dim)
