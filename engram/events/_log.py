"""The event log: the source of truth. Frames of events in segments, each frame one group commit. Formats §3.

Opening reads the last segment (all of them, where no trusted state of its beginning is at hand), proves every frame
against CRC and Merkle root, cuts a torn tail, and refuses a damaged log. Appending answers after the disk's sync.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.errors import LogCorrupt
from engram.events._reader import LogReader, segment_name, segment_names
from engram.events._segments import (
    SEGMENT_BYTES,
    SegmentWriter,
    create,
    cut_torn_tail,
    make_durable,
    read_whole,
    remove_leftovers,
    size_of,
)
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from engram.events._checkpoint import Checkpoint
    from engram.ports import Disk

SOUND, TORN, DAMAGED, BROKEN_PROMISE = 0, 1, 2, 3


class LogStart(msgspec.Struct, frozen=True):
    """What is known of the log before a segment: events so far, the tree's right edge, the last frame's time."""

    size: int = 0
    roots: list[bytes] = []
    time_unix_ns: int = 0


class Committed(msgspec.Struct, frozen=True):
    """A frame that is durable: the position of its first event, and the log's size, root and time after it."""

    first_position: int
    size: int
    root: bytes
    time_unix_ns: int


class Verdict(msgspec.Struct, frozen=True):
    """What reading a log found. `status`: 0 sound, 1 torn tail, 2 damage, 3 a checkpoint does not hold."""

    status: int
    events: int
    segment: str
    offset: int
    reason: str


class _Reading:
    """Goes over the segments in order; remembers where the last one starts and ends, and the root at a checkpoint."""

    def __init__(self, start: LogStart, checkpoint: Checkpoint | None, durable: int = 0) -> None:
        try:
            self.state = _core.LogState(start.size, start.roots, start.time_unix_ns)
        except ValueError as error:
            raise LogCorrupt(
                f"the state before event {start.size}, kept beside the log, is of no log: {error}"
            ) from error
        self.checkpoint = checkpoint
        self.covered = max(durable, checkpoint.size if checkpoint else 0)
        self.durable = durable
        self.durable_root = self.state.root if start.size == durable else None
        self.last_start = start
        self.end = 0
        self.durable_end = 0
        self.kept = checkpoint is None or checkpoint.size <= start.size

    def segment(self, name: str, data: bytes, *, last: bool) -> Verdict:
        self.last_start = LogStart(self.state.size, self.state.roots, self.state.time_unix_ns)
        if name != segment_name(self.state.size):
            return self._verdict(DAMAGED, name, 0, f"the next event is {self.state.size}, so its name is wrong")
        frames, (status, offset, reason) = self.state.scan(data, last, self.covered)
        self.durable_end = 0
        for at, size, first, count, _, root in frames:
            if first + count <= self.durable:
                self.durable_end = at + size
            if self.checkpoint and first + count == self.checkpoint.size:
                self.kept = root == self.checkpoint.root
            if first + count == self.durable:
                self.durable_root = root
        self.end = offset
        return self._verdict(status, name, offset, reason)

    def conclude(self, verdict: Verdict) -> Verdict:
        if verdict.status > TORN:
            return verdict
        if not self.kept and self.checkpoint:
            reason = f"the checkpoint of size {self.checkpoint.size} does not hold: the log was rolled back or changed"
            return self._verdict(BROKEN_PROMISE, verdict.segment, verdict.offset, reason)
        if self.state.size < self.durable:
            reason = (
                f"the log ends before event {self.state.size}, and {self.durable} events were committed, as state.db "
                "knows (if you restored an older log, remove state.db)"
            )
            return self._verdict(DAMAGED, verdict.segment, verdict.offset, reason)
        return verdict

    def _verdict(self, status: int, name: str, offset: int, reason: str) -> Verdict:
        return Verdict(status, self.state.size, name, offset, reason)


def judge(segments: Mapping[str, bytes], checkpoint: Checkpoint | None) -> Verdict:
    """Read a whole log from the bytes of its segments, by name, and say what is wrong with it."""
    reading = _Reading(LogStart(), checkpoint)
    verdict = Verdict(SOUND, 0, segment_name(0), 0, "")
    names = sorted(segments)
    for name in names:
        verdict = reading.segment(name, segments[name], last=name == names[-1])
        if verdict.status != SOUND:
            break
    return reading.conclude(verdict)


class Log:
    """An open log. One thread appends; any thread may read what is committed."""

    def __init__(self, disk: Disk, folder: Path, writer: SegmentWriter, state: _core.LogState, start: LogStart) -> None:
        self._disk = disk
        self._folder = folder
        self._writer = writer
        self._state = state
        self.segment_start = start
        """What to trust at the next opening: the state before the last segment."""
        self.durable_root: bytes | None = None
        """The root at the size that opening was told to be durable; None where no frame that was read ends there."""

    @classmethod
    def open(
        cls,
        disk: Disk,
        folder: Path,
        *,
        checkpoint: Checkpoint | None = None,
        trusted: LogStart | None = None,
        durable: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Log:
        """Open the log of `folder`, made if absent.

        `trusted`: the state before some segment, kept by a projection; verification starts there, or at the beginning
        if no such segment is there. `durable`: how many events a projection has seen committed; what is not whole of
        them is damaged, not torn. Raises `LogCorrupt` for damage, naming file, offset, and what is trustworthy.
        """
        disk.make_folder(folder)
        remove_leftovers(disk, folder)
        names = segment_names(disk, folder)
        if not names:
            create(disk, folder, segment_name(0)).close()
            names = [segment_name(0)]
        if names[0] != segment_name(0):
            raise _corrupt(folder, Verdict(DAMAGED, 0, segment_name(0), 0, f"it is missing, and {names[0]} is there"))
        start = trusted if trusted and segment_name(trusted.size) in names else LogStart()
        reading = _Reading(start, checkpoint, durable)
        names = [name for name in names if name >= segment_name(start.size)]
        for name in names:
            data = read_whole(disk, folder / name)
            verdict = reading.segment(name, data, last=name == names[-1])
            if verdict.status != SOUND:
                break
        verdict = reading.conclude(verdict)
        if verdict.status >= DAMAGED:
            raise _corrupt(folder, verdict)
        make_durable(disk, folder / names[-1], data, reading.durable_end, reading.end)
        if verdict.status == TORN:
            cut_torn_tail(disk, folder / verdict.segment, verdict.offset)
        writer = SegmentWriter(disk, folder, names[-1], reading.end, segment_bytes)
        log = cls(disk, folder, writer, reading.state, reading.last_start)
        log.durable_root = reading.durable_root
        return log

    @property
    def size(self) -> int:
        """The number of events, which is the next position."""
        return self._state.size

    @property
    def root(self) -> bytes:
        """The RFC 6962 root over all events."""
        return self._state.root

    @property
    def tip(self) -> tuple[int, bytes]:
        """The size and the root, of one moment: any thread may ask while another appends."""
        state = self._state
        return state.size, state.root

    @property
    def time_unix_ns(self) -> int:
        """The time of the last frame."""
        return self._state.time_unix_ns

    @property
    def state(self) -> _core.LogState:
        """The log's tree and time; it stays as it is, whatever is appended later."""
        return self._state

    def append(self, events: list[bytes], now_ns: int) -> Committed:
        """Append one frame and make it durable.

        Raises `StorageFailed`, and for ever after, if the disk fails; `DiskFull`, where it is full and nothing of the
        frame was written: a later append may find room.
        """
        first = self._state.size
        state = self._state.copy()
        frame = state.encode(now_ns, events)
        if not self._writer.fits(len(frame)):
            before = LogStart(first, self._state.roots, self._state.time_unix_ns)
            self._writer.rotate(segment_name(first))
            self.segment_start = before
        self._writer.write(frame)
        self._writer.sync()
        self._state = state
        return Committed(first, state.size, state.root, state.time_unix_ns)

    def reader(self, position: int = 0) -> LogReader:
        """Give a place in the log, from which to read what is committed, now and later."""
        return LogReader(self._disk, self._folder, lambda: self._state.size, position)

    def read(self, position: int = 0) -> Iterator[tuple[int, bytes]]:
        """Give (position, event) from `position` to what is committed now.

        Raises `LogCorrupt` where a frame is unsound or missing: opening may have verified the last segment alone.
        """
        end = self.size
        reader = LogReader(self._disk, self._folder, lambda: end, position)
        while entries := reader.read():
            for at, _, event in entries:
                yield at, event

    def root_at(self, size: int) -> bytes | None:
        """Give the root of the log when it had `size` events; None where no frame ends there."""
        if not 0 < size <= self.size:
            return _core.LogState().root if size == 0 else None
        reader = self.reader(size - 1)
        reader.read(limit_events=1)
        found, root = reader.proved or (0, None)
        return root if found == size else None

    def bytes(self) -> int:
        """Give the size of the log's data on disk, without the last segment's allocation."""
        names = segment_names(self._disk, self._folder)
        return sum(size_of(self._disk, self._folder / name) for name in names[:-1]) + self._writer.end

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


def _corrupt(folder: Path, verdict: Verdict) -> LogCorrupt:
    trusted = f"Events 0 to {verdict.events - 1} before it are" if verdict.events else "Nothing of the log is"
    return LogCorrupt(
        f"{folder / verdict.segment}, offset {verdict.offset}: {verdict.reason}. "
        f"{trusted} trustworthy; restore the folder from a backup."
    )
