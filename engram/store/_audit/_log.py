"""An audit's way through the log: every frame of the segments that were there when it began, proved in order."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from engram.events import SEGMENT_BYTES, segment_name, size_of
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from engram.ports import Disk

_WINDOW_BYTES = 1 << 20
_LARGEST_WINDOW_BYTES = 8 << 20
"""No frame is larger."""
_LOOKS = 3
"""How often an unfinished write at the end is looked at: a node may be writing there this moment."""
_DAMAGED = 2


class Frame(NamedTuple):
    """A frame that was proved, and where it stands."""

    file: str
    offset: int
    first: int
    events: int
    time_unix_ns: int
    root: bytes
    data: bytes

    @property
    def end(self) -> int:
        """The size of the log with it."""
        return self.first + self.events


class Stop(msgspec.Struct, frozen=True):
    """Why reading a log ended before its end. `status`: 1 torn, 2 damaged."""

    status: int
    file: str
    offset: int
    reason: str


class LogPass:
    """Goes through a log once. `names`: its segments; `covered`: the size of the largest checkpoint."""

    def __init__(self, disk: Disk, path: Path, names: list[str], covered: int, pause: Callable[[], object]) -> None:
        self._disk = disk
        self._folder = path / "events"
        self._names = names
        self._covered = covered
        self._pause = pause
        self._state = _core.LogState()
        self.stop: Stop | None = None
        """Where and why it ended early."""
        self.bytes_read = 0

    @property
    def size(self) -> int:
        """How many events were proved."""
        return self._state.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self._state.root

    @property
    def time_unix_ns(self) -> int:
        """The time of the last frame."""
        return self._state.time_unix_ns

    def frames(self) -> Iterator[list[Frame]]:
        """Give the frames, some at a time."""
        for name in self._names:
            if name != segment_name(self.size):
                reason = f"the next event is {self.size}, so its name is wrong"
                self.stop = Stop(_DAMAGED, f"events/{name}", 0, reason)
            else:
                yield from self._segment(name, last=name == self._names[-1])
            if self.stop is not None:
                return

    def _segment(self, name: str, *, last: bool) -> Iterator[list[Frame]]:
        before = self._state.copy()
        offset, looks, wanted = 0, 0, _WINDOW_BYTES
        try:
            while True:
                window, size = self._read(name, offset, wanted)
                frames, (_, used, _) = self._state.scan(window, last=False, covered=0)
                if frames:
                    self.stop = None
                    yield [
                        Frame(f"events/{name}", offset + at, first, count, time, root, window[at : at + extent])
                        for at, extent, first, count, time, root in frames
                    ]
                    if looks:  # it was being written, and what comes behind it came after the audit began
                        return
                    offset += used
                    self.bytes_read += used
                    wanted = _WINDOW_BYTES
                elif len(window) == wanted < _LARGEST_WINDOW_BYTES and any(window[:8]):
                    wanted = _LARGEST_WINDOW_BYTES
                else:
                    self.stop = self._judge(name, before, offset, size, last=last)
                    looks += 1
                    if self.stop is None or not last or looks == _LOOKS:
                        return
                    self._pause()
        except OSError as error:
            self.stop = Stop(_DAMAGED, f"events/{name}", offset, f"it cannot be read: {error.strerror or error}")

    def _judge(self, name: str, before: _core.LogState, offset: int, size: int, *, last: bool) -> Stop | None:
        """Judge the whole segment where no further frame is: what is torn depends on its place in it."""
        if offset == size and (offset or last):
            return None
        data, _ = self._read(name, 0, SEGMENT_BYTES + 1)
        _, (status, at, reason) = before.copy().scan(data, last, self._covered)
        return Stop(status, f"events/{name}", at, reason) if status else None

    def _read(self, name: str, offset: int, size: int) -> tuple[bytes, int]:
        file = self._disk.open(self._folder / name, writable=False)
        try:
            return file.read(offset, size), file.size()
        finally:
            file.close()


def folder_bytes(disk: Disk, path: Path) -> int:
    """Give about how many bytes of log and bodies a folder has, however large a file claims to be."""
    total = 0
    for folder in (path / "events", path / "bodies"):
        with contextlib.suppress(OSError):
            total += _bytes_of(disk, folder, disk.list(folder))
    return total


def log_bytes(disk: Disk, path: Path, names: list[str]) -> int:
    """Give about how many bytes a pass reads."""
    return _bytes_of(disk, path / "events", names)


def _bytes_of(disk: Disk, folder: Path, names: Sequence[str]) -> int:
    total = 0
    for name in names:
        with contextlib.suppress(OSError):
            total += min(size_of(disk, folder / name), SEGMENT_BYTES)
    return total
