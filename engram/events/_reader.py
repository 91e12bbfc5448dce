"""Read on in a log: events from a position, verified, at no cost for what was read before. Formats §3.

A reader keeps its place (segment, offset, position). It reads what is committed and nothing behind it, so it may follow
a log that another thread appends to. Each frame is held against its CRC and position; opening has proved the roots.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from engram.errors import LogCorrupt, StorageFailed
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engram.ports import Disk

Entry: TypeAlias = tuple[int, int, bytes]
"""An event as it stands in the log: its position, the time of its frame (unix, ns), its bytes. A tuple, since a log has
millions."""

BATCH_EVENTS = 512
BATCH_BYTES = 1024 * 1024
_CHUNK_BYTES = 128 * 1024
_UNSOUND = -1
_SEGMENT_NAME = re.compile(r"[0-9]{20}\.log")


def segment_name(first_position: int) -> str:
    """Give the file name of the segment that starts at a position."""
    return f"{first_position:020}.log"


def segment_names(disk: Disk, folder: Path) -> list[str]:
    """List the segments of a log, first to last."""
    return [name for name in disk.list(folder) if _SEGMENT_NAME.fullmatch(name)]


class LogReader:
    """A place in a log. One thread at a time uses it; the log may grow meanwhile.

    `committed` says how many events the log has, durably. `position` is that of the next event.
    """

    def __init__(self, disk: Disk, folder: Path, committed: Callable[[], int], position: int = 0) -> None:
        self.position = position
        self._disk = disk
        self._folder = folder
        self._committed = committed
        self._segment: str | None = None
        self._offset = 0
        self._frame = 0  # the first position of the frame at the offset
        self._root: bytes | None = _core.LogState().root if position == 0 else None

    @property
    def proved(self) -> tuple[int, bytes] | None:
        """The size and root of the log at the end of the last frame before `position`.

        None until a frame has been passed, for one that did not start at 0.
        """
        return None if self._root is None else (self._frame, self._root)

    def read(self, limit_events: int = BATCH_EVENTS, limit_bytes: int = BATCH_BYTES) -> list[Entry]:
        """Give the next events that are committed, at most about so many; none where the log ends for now.

        What comes before damage is given. Raises `LogCorrupt` where a frame is unsound or missing, `StorageFailed`
        where the disk cannot read.
        """
        end = self._committed()
        while self.position < end:
            if found := self._advance(end, max(limit_events, 1), max(limit_bytes, 1)):
                return found
        return []

    def _advance(self, end: int, limit_events: int, limit_bytes: int) -> list[Entry]:
        """Read one chunk, the whole of a frame at least, or step into the next segment."""
        segment = self._segment or self._seek()
        wanted = _CHUNK_BYTES
        while True:
            chunk = self._read(segment, wanted)
            found, used, frame, root, halt = _core.walk_log(
                chunk, self._frame, self.position, end, limit_events, limit_bytes
            )
            if halt == 0 or used > 0:
                break
            if not chunk and segment != segment_name(self._frame):
                self._enter(segment_name(self._frame))
                return []
            if halt == _UNSOUND or len(chunk) < wanted:
                raise self._corrupt(segment)
            wanted = halt
        self._offset += used
        self._frame = frame
        self._root = root or self._root
        self.position = found[-1][0] + 1 if found else max(self.position, frame)
        return found

    def _seek(self) -> str:
        """Go to the beginning of the segment that holds the position."""
        names = [name for name in segment_names(self._disk, self._folder) if name <= segment_name(self.position)]
        if not names:
            raise LogCorrupt(f"{self._folder}: no segment holds event {self.position}")
        self._segment = names[-1]
        self._frame = int(names[-1][:20])
        return names[-1]

    def _enter(self, segment: str) -> None:
        if not self._disk.exists(self._folder / segment):
            raise LogCorrupt(
                f"{self._folder / segment} is missing: the segment before it ends with event {self._frame - 1}"
            )
        self._segment, self._offset = segment, 0

    def _read(self, segment: str, size: int) -> bytes:
        try:
            file = self._disk.open(self._folder / segment, writable=False)
            try:
                return file.read(self._offset, size)
            finally:
                file.close()
        except FileNotFoundError:
            raise LogCorrupt(f"{self._folder / segment} is missing") from None
        except OSError as error:
            raise StorageFailed(f"cannot read {self._folder / segment}: {error.strerror or error}") from error

    def _corrupt(self, segment: str) -> LogCorrupt:
        return LogCorrupt(
            f"{self._folder / segment}, offset {self._offset}: no sound frame with event {self._frame}. "
            "Restore the folder from a backup."
        )
