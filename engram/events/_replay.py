"""Read a whole log from its beginning, proving every frame, beside a process that may be appending to it. Formats §3.

Nothing is locked, nothing on the disk is changed. What stands half-written at the end is not there yet; whether it is
torn or damaged is judged when somebody asks, by the rules by which opening the log judges it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.errors import LogCorrupt
from engram.events import _checkpoint as checkpoints
from engram.events._log import BROKEN_PROMISE, DAMAGED, SOUND, TORN, LogStart, Verdict
from engram.events._reader import Entry, segment_name, segment_names
from engram.events._segments import size_of
from engram.events._vocabulary import LogCreated, decode
from engram.native import _core

if TYPE_CHECKING:
    from pathlib import Path

    from engram.events._checkpoint import Checkpoint
    from engram.ports import Disk

_WINDOW_BYTES = 1024 * 1024
_LARGEST_WINDOW_BYTES = 8 * 1024 * 1024
"""No frame is larger."""


class Replay:
    """Reads the log of a data folder. One thread uses it; any process may have the folder open."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._folder = path / "events"
        self._notes = path / "checkpoints"
        self._state = _core.LogState()
        self._start = LogStart()  # before the segment that is being read
        self._segment = segment_name(0)
        self._offset = 0
        self._checkpoint: Checkpoint | None = None
        self._checkpoint_fault: str | None = None
        self._kept = True
        self.bytes_read = 0
        """How many bytes of the log have been proved."""
        self.unfinished = False
        """Whether the last read ended at bytes that are no whole frame: not yet, no more, or not in this place."""

    @property
    def size(self) -> int:
        """How many events have been read and proved."""
        return self._state.size

    @property
    def root(self) -> bytes:
        """The RFC 6962 root over them."""
        return self._state.root

    def read(self) -> list[Entry]:
        """Give the next events; none where the log ends for now, or where `verdict` tells why it cannot go on.

        Raises `OSError` where the disk cannot read.
        """
        wanted = _WINDOW_BYTES
        while True:
            following = self._following()  # looked for first: once it is there, this segment is whole
            window = self._read(self._offset, wanted)
            frames, (_, used, _) = self._state.scan(window, last=True, covered=0)
            if frames:
                self._offset += used
                self.bytes_read += used
                return self._entries(window, frames)
            if not window and following == segment_name(self._state.size):
                self._start = LogStart(self._state.size, self._state.roots, self._state.time_unix_ns)
                self._segment, self._offset = following, 0
            elif len(window) < wanted or wanted == _LARGEST_WINDOW_BYTES or not any(window[:8]):
                self.unfinished = any(window[:8]) or following is not None
                return []
            else:
                wanted = _LARGEST_WINDOW_BYTES

    def verdict(self) -> Verdict:
        """Say whether the log is sound, ends in a torn write, or in damage, and where.

        It is judged to the end of the segment that the last read was in; a reader may stop before the log's end.
        """
        following = self._following()
        rest = self._read(self._offset, self._size() - self._offset)
        if rest.strip(b"\0") or (rest and following):
            status, offset, reason = self._judge(last=following is None)
        elif following and following != segment_name(self.size):
            name_is_wrong = f"the next event is {self.size}, so its name is wrong"
            return self._verdict(DAMAGED, following, 0, name_is_wrong)
        else:
            status, offset, reason = SOUND, self._offset, ""
        at_the_end = following is None and offset == self._offset
        promise = self._broken_promise(at_the_end=at_the_end) if status <= TORN else None
        return self._verdict(BROKEN_PROMISE if promise else status, self._segment, offset, promise or reason)

    def _broken_promise(self, *, at_the_end: bool) -> str | None:
        """Say what a checkpoint promises that the log does not hold, as far as it has been read."""
        if self.size == 0:
            names = checkpoints.names(self._disk, self._notes) if at_the_end else []
            return f"there is a checkpoint of size {int(names[-1])}, and the log has no event" if names else None
        if self._checkpoint_fault:
            return self._checkpoint_fault
        if self._checkpoint and not self._kept and (at_the_end or self.size >= self._checkpoint.size):
            return f"the checkpoint of size {self._checkpoint.size} does not hold: the log was rolled back or changed"
        return None

    def _judge(self, *, last: bool) -> tuple[int, int, str]:
        """Judge the whole segment: which bytes are torn depends on their place in it."""
        state = _core.LogState(self._start.size, self._start.roots, self._start.time_unix_ns)
        covered = self._checkpoint.size if self._checkpoint else 0
        return state.scan(self._read(0, self._size()), last, covered)[1]

    def _entries(self, window: bytes, frames: list[_core.LogFrame]) -> list[Entry]:
        entries: list[Entry] = []
        for offset, size, first, count, time_unix_ns, root in frames:
            found = _core.frame_events(window[offset : offset + size])
            if first == 0:
                self._find_checkpoint(found[0])
            if self._checkpoint and first + count == self._checkpoint.size:
                self._kept = root == self._checkpoint.root
            entries += [(position, time_unix_ns, event) for position, event in enumerate(found, first)]
        return entries

    def _find_checkpoint(self, first_event: bytes) -> None:
        """Read the largest checkpoint, whose size the log has had since before this: it must hold when all is read."""
        created = decode(first_event)
        if isinstance(created, LogCreated):
            try:
                self._checkpoint = checkpoints.largest(self._disk, self._notes, created.node_key)
            except LogCorrupt as error:
                self._checkpoint_fault = str(error)
            self._kept = self._checkpoint is None

    def _following(self) -> str | None:
        names = segment_names(self._disk, self._folder)
        return next((name for name in names if name > self._segment), None)

    def _read(self, offset: int, size: int) -> bytes:
        path = self._folder / self._segment
        if not self._disk.exists(path):
            return b""
        file = self._disk.open(path, writable=False)
        try:
            return file.read(offset, size)
        finally:
            file.close()

    def _size(self) -> int:
        path = self._folder / self._segment
        return size_of(self._disk, path) if self._disk.exists(path) else 0

    def _verdict(self, status: int, name: str, offset: int, reason: str) -> Verdict:
        return Verdict(status, self.size, name, offset, reason)
