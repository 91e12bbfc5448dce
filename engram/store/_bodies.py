"""Bodies: record payloads and patches, content-addressed, append-only, written before the event that names them.

Formats §2. A location is segment number * 2^26 + the offset of the frame in its segment. One thread writes; any thread
reads, from maps that stay valid while the store is open.
"""

from __future__ import annotations

import contextlib
import re
import struct
import threading
from typing import TYPE_CHECKING

import msgspec

from engram.errors import BodiesCorrupt, StorageFailed
from engram.events import SEGMENT_BYTES, SegmentWriter, create, cut_torn_tail, make_durable, remove_leftovers, size_of
from engram.index import BodyMaps
from engram.native import _core
from engram.store._frames import HEADER, ID, KIND, Body, is_erased, segment_name
from engram.store._overwriting import erase, may_mend, mend, overwrite, remove_torn_copies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from engram.ports import Disk

_SEGMENT_NAME = re.compile(r"[0-9]{20}\.seg")
_TORN, _DAMAGED = 1, 2
_LENGTH = struct.Struct("<I")


class Bodies:
    """The folder of body segments, open."""

    def __init__(self, disk: Disk, folder: Path, number: int, end: int, segment_bytes: int) -> None:
        self._disk = disk
        self._folder = folder
        self._limit = segment_bytes
        self._writer = SegmentWriter(disk, folder, segment_name(number), end, segment_bytes)
        self._number = number
        self._end = end
        self._pending: list[tuple[int, bytes]] = []
        self._unnamed: list[Body] = []
        """What was written since `keep`."""
        self._mending: list[tuple[int, bytes]] = []
        self._being_erased: frozenset[int] = frozenset()
        self.maps = BodyMaps()
        """What the segments hold, by number, for the index: as far as `cover` has seen them."""
        self._views: dict[int, memoryview] = {}
        self._mapping = threading.Lock()
        self._covered = 0

    @classmethod
    def open(
        cls,
        disk: Disk,
        folder: Path,
        *,
        known_to: int,
        named: Callable[[], set[bytes]],
        held: Callable[[], set[bytes]] = set,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> tuple[Bodies, list[Body]]:
        """Open the folder, made if absent; also give the bodies at and after location `known_to`.

        The last segment is verified whole, content included. `named` gives the ids that the log's events name, `held`
        those of the bodies below `known_to`; they are asked only where a frame is unsound, to tell a torn tail from
        damage. What is below `known_to` was durable, so bodies that end before it are damage too. Raises
        `BodiesCorrupt`.
        """
        disk.make_folder(folder)
        remove_leftovers(disk, folder)
        names = [name for name in disk.list(folder) if _SEGMENT_NAME.fullmatch(name)]
        if not names:
            create(disk, folder, segment_name(0)).close()
            names = [segment_name(0)]
        found: list[Body] = []
        end = 0
        for name in names:
            last = name == names[-1]
            if not last and (int(name[:20]) + 1) * SEGMENT_BYTES <= known_to:
                continue
            known = _Known(named, lambda: held() | {body.id for body in found}, known_to)
            number, end = int(name[:20]), _verify(disk, folder / name, known, found, last=last)
        bodies = cls(disk, folder, number, end, segment_bytes)
        return bodies, [body for body in found if body.location >= known_to]

    @property
    def tail(self) -> int:
        """The location at which the next body will stand at the earliest."""
        return self._number * SEGMENT_BYTES + self._end

    def stage(self, kind: int, body_id: bytes, data: bytes) -> int:
        """Choose the place of a new body, to be written by `flush`; give its location."""
        frame = _core.encode_body(kind, body_id, data)
        if self._end and self._end + len(frame) > self._limit:
            self._number, self._end = self._number + 1, 0
        self._pending.append((self._number, frame))
        self._end += len(frame)
        return self._number * SEGMENT_BYTES + self._end - len(frame)

    def stage_again(self, kind: int, body_id: bytes, data: bytes, location: int) -> bool:
        """Have `flush` write a body that is damaged once more, where it stood; False where another one stands there."""
        frame = _core.encode_body(kind, body_id, data)
        with self._failing("mend"):
            may = may_mend(self._disk, self._folder, location, frame)
        if may:
            self._mending.append((location, frame))
        return may

    def flush(self) -> list[tuple[int, int]]:
        """Write what is staged and make it durable; give the ranges of locations of what was damaged and is mended.

        Raises `StorageFailed`, and for ever after, if the disk fails; `DiskFull`, where it is full: what was staged is
        given up then, and a later flush may find room.
        """
        pending, self._pending = self._pending, []
        current = int(self._writer.name[:20])
        for number in sorted({number for number, _ in pending}):
            if number != current:
                self._writer.sync()
                self._writer.rotate(segment_name(number))
            frames = [frame for at, frame in pending if at == number]
            start = number * SEGMENT_BYTES + self._writer.write(b"".join(frames))
            for frame in frames:
                self._unnamed.append(Body(frame[ID], frame[KIND], start))
                start += len(frame)
        if pending:
            self._writer.sync()
        mending, self._mending = self._mending, []
        with self._failing("mend"):
            for location, frame in mending:
                mend(self._disk, self._folder, location, frame)
        return [(location, location + len(frame)) for location, frame in mending]

    def erase(self, bodies: Sequence[Body]) -> None:
        """Overwrite bodies that are durable, durably. Raises `StorageFailed`; opening the folder goes on with it."""
        self._being_erased = frozenset(body.location for body in bodies)
        with self._failing("erase"):
            erase(self._disk, self._folder, bodies, self.tail)
        self._being_erased = frozenset()

    def forget_torn(self) -> None:
        """Keep no copies of torn tails, where something was erased: they may hold the same. Raises `StorageFailed`."""
        with self._failing("erase"):
            remove_torn_copies(self._disk, self._folder)

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageFailed(
                f"cannot {what} bodies in {self._folder}: {error.strerror or error}. Nothing acknowledged is lost; "
                "mend the disk and open the folder again."
            ) from error

    def keep(self) -> None:
        """Note that an event names what was written."""
        self._unnamed = []

    def discard(self) -> list[Body]:
        """Forget what is staged; give what was written since `keep`, which stands though nothing names it."""
        self._pending, self._mending = [], []
        self._number, self._end = int(self._writer.name[:20]), self._writer.end
        unnamed, self._unnamed = self._unnamed, []
        return unnamed

    def read(self, location: int) -> memoryview:
        """Give the bytes of a body, from the map of its segment."""
        number, start = location // SEGMENT_BYTES, location % SEGMENT_BYTES + HEADER
        view = self._view(number, start)
        if start > len(view):
            raise BodiesCorrupt(f"{self._folder / segment_name(number)} has lost its end: no body at {start - HEADER}")
        end = start + _LENGTH.unpack_from(view, start - HEADER + 8)[0]
        return self._view(number, end)[start:end]

    def proved(self, location: int, body_id: bytes | None = None) -> bytes | None:
        """Give a copy of the bytes of a body whose checksum, and id where one is given, are right; None where not."""
        number, start = location // SEGMENT_BYTES, location % SEGMENT_BYTES + HEADER
        view = self._view(number, start)
        body = self.maps.proved(location, body_id)
        if body is None and start <= len(view) < start + _LENGTH.unpack_from(view, start - HEADER + 8)[0]:
            self._map(number)  # the map was older than the body, and ended inside it
            body = self.maps.proved(location, body_id)
        return body

    def id_at(self, location: int) -> bytes | None:
        """Give the id that stands at a location; None where the segment has no such place. Raises `OSError`."""
        header = self._header_at(location)
        return header[ID] if len(header) == HEADER else None

    def is_erased(self, location: int) -> bool:
        """Say whether what stands at a location is erased, or is being so just now."""
        if location in self._being_erased:
            return True
        try:
            return is_erased(self._header_at(location))
        except OSError:
            return False

    def _header_at(self, location: int) -> bytes:
        """Read a frame's header, and not from a map.

        A process that touches what a file has lost behind its map, or a sector that cannot be read, is ended by a
        signal.
        """
        number, start = divmod(location, SEGMENT_BYTES)
        file = self._disk.open(self._folder / segment_name(number), writable=False)
        try:
            return file.read(start, HEADER)
        finally:
            file.close()

    def all(self) -> Iterator[Body]:
        """Give every body that is durable, by what the frames' headers say of them. Raises `BodiesCorrupt`."""
        for name in self._disk.list(self._folder):
            if _SEGMENT_NAME.fullmatch(name):
                yield from self._of_segment(name)

    def _of_segment(self, name: str) -> Iterator[Body]:
        last = name == self._writer.name  # which alone may hold no frame
        file = self._disk.open(self._folder / name, writable=False)
        try:
            data = file.read(0, self._writer.end if last else min(file.size(), SEGMENT_BYTES + 1))
        finally:
            file.close()
        frames, _, (status, offset, reason) = _core.scan_bodies(data, 0, None, last, content=False)
        if status:
            raise BodiesCorrupt(f"{self._folder / name}, offset {offset}: {reason}. Restore the segment.")
        for at, _, _, kind, body_id in frames:
            yield Body(body_id, kind, int(name[:20]) * SEGMENT_BYTES + at)

    def bytes(self) -> int:
        """Give the size of the bodies on disk, without the last segment's allocation."""
        names = [name for name in self._disk.list(self._folder) if _SEGMENT_NAME.fullmatch(name)]
        return sum(size_of(self._disk, self._folder / name) for name in names[:-1]) + self._end

    def close(self) -> None:
        """Close the files. Views given out stay valid while somebody holds them."""
        self._writer.close()
        for number in self._views:  # an index that somebody still holds, a file of the folder it does not
            self.maps.put(number, b"")
        self._views.clear()

    def cover(self) -> None:
        """Have `maps` hold every body that was written. Raises `OSError`."""
        last = int(self._writer.name[:20])
        while self._covered < last:  # closed since then, and cut to what it holds
            self._map(self._covered)
            self._covered += 1
        self._view(last, self._writer.end)

    def _view(self, number: int, size: int) -> memoryview:
        """Give a segment's bytes: `size` of them at least, if it has as many."""
        view = self._views.get(number)
        return view if view is not None and size <= len(view) else self._map(number)

    def _map(self, number: int) -> memoryview:
        with self._mapping:  # or an older map might take the place of a newer one
            file = self._disk.open(self._folder / segment_name(number), writable=False)
            try:
                view = file.map()
            finally:
                file.close()
            self.maps.put(number, view)
            self._views[number] = view
        return view


class _Known(msgspec.Struct, frozen=True):
    named: Callable[[], set[bytes]]
    held: Callable[[], set[bytes]]
    to: int


def _verify(disk: Disk, path: Path, known: _Known, found: list[Body], *, last: bool) -> int:
    number = int(path.name[:20])
    file = disk.open(path)
    try:
        data = file.read(0, min(file.size(), SEGMENT_BYTES + 1))
        frames, again, (status, offset, reason) = _core.scan_bodies(data, 0, set(), last, content=True)
        if status:  # only now is it worth a walk over the log to know what its events name
            frames, again, (status, offset, reason) = _core.scan_bodies(
                data, 0, known.named(), last, content=True, held=known.held()
            )
        if status == _DAMAGED:
            raise BodiesCorrupt(f"{path}, offset {offset}: {reason}. Bodies before it are sound; restore the segment.")
        if last and number * SEGMENT_BYTES + offset < known.to:
            raise BodiesCorrupt(
                f"{path}, offset {offset}: the bodies end at {number * SEGMENT_BYTES + offset}, before {known.to}, to "
                "which state.db knows them. Restore the segment."
            )
        if last:  # before an erasure is finished, which what was read would undo
            make_durable(disk, path, data, min(offset, max(0, known.to - number * SEGMENT_BYTES)), offset)
        if again:  # their headers too: what was read of them need not be durable
            overwrite(file, [(data[start + ID.start : start + ID.stop], start) for start in again], offset)
        if status == _TORN and data[offset:].strip(b"\0"):  # not where an erasure alone was unfinished
            cut_torn_tail(disk, path, offset)
    finally:
        file.close()
    found.extend(Body(body_id, kind, number * SEGMENT_BYTES + at) for at, _, _, kind, body_id in frames)
    return offset
