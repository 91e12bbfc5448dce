"""A folder of append-only segments, as the log and the bodies share it: allocation, rotation, torn tails. Formats §3.

A segment is preallocated in steps and zero-filled, so that a sync need not write the file's size. Only the last one may
end in zeros. A failed write or sync is final: the writer refuses everything after it, since the disk's state is
unknown until it is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.errors import StorageFailed

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk, File

SEGMENT_BYTES = 64 * 1024 * 1024
_FIRST_STEP = 256 * 1024
_LARGEST_STEP = 8 * 1024 * 1024


class SegmentWriter:
    """The last segment of a folder, open for appending. One thread uses it."""

    def __init__(self, disk: Disk, folder: Path, name: str, end: int, limit: int = SEGMENT_BYTES) -> None:
        self._disk = disk
        self._folder = folder
        self._limit = limit
        self._failed: str | None = None
        self.name = name
        self.end = end
        self._file = disk.open(folder / name)
        self._allocated = self._file.size()

    @property
    def path(self) -> Path:
        """The segment's file."""
        return self._folder / self.name

    def fits(self, size: int) -> bool:
        """Say whether `size` more bytes fit this segment."""
        return self.end + size <= self._limit

    def write(self, data: bytes) -> int:
        """Write `data` at the end, not yet durably; give its offset."""
        self._check()
        try:
            self._allocate(self.end + len(data))
            self._file.write(self.end, data)
        except OSError as error:
            raise self._fail("write", error) from error
        self.end += len(data)
        return self.end - len(data)

    def sync(self) -> None:
        """Make what was written durable."""
        self._check()
        try:
            self._file.datasync()
        except OSError as error:
            raise self._fail("sync", error) from error

    def rotate(self, name: str) -> None:
        """Close this segment for good, durably, and begin the next."""
        self._check()
        try:
            self._file.truncate(self.end)
            self._file.sync()
            self._file.close()
            self._file = create(self._disk, self._folder, name)
        except OSError as error:
            raise self._fail("rotate", error) from error
        self.name, self.end, self._allocated = name, 0, 0

    def close(self) -> None:
        """Close the file; what was synced is durable, what was not may be lost."""
        self._file.close()

    def _allocate(self, needed: int) -> None:
        while self._allocated < needed:
            step = min(max(self._allocated, _FIRST_STEP), _LARGEST_STEP)
            size = min(max(self._allocated + step, needed), max(self._limit, needed))
            self._file.write(self._allocated, bytes(size - self._allocated))
            self._allocated = size

    def _check(self) -> None:
        if self._failed is not None:
            raise StorageFailed(self._failed)

    def _fail(self, what: str, error: OSError) -> StorageFailed:
        self._failed = (
            f"cannot {what} {self.path}: {error.strerror or error}. Nothing acknowledged is lost; "
            "mend the disk and open the folder again."
        )
        return StorageFailed(self._failed)


def create(disk: Disk, folder: Path, name: str) -> File:
    """Make an empty segment durably and open it."""
    fresh = folder / f".{name}.new"
    file = disk.open(fresh, create=True)
    file.truncate(0)
    file.sync()
    disk.rename(fresh, folder / name)
    disk.sync_folder(folder)
    return file


def cut_torn_tail(disk: Disk, path: Path, offset: int) -> None:
    """Keep what stands from `offset` on as `<segment>.torn-<offset>`, then overwrite it with zeros, durably."""
    file = disk.open(path)
    try:
        tail = file.read(offset, file.size() - offset)
        kept = disk.open(path.with_name(f"{path.name}.torn-{offset}"), create=True)
        try:
            kept.truncate(0)
            kept.write(0, tail.rstrip(b"\0"))
            kept.sync()
        finally:
            kept.close()
        disk.sync_folder(path.parent)
        file.write(offset, bytes(len(tail)))
        file.sync()
    finally:
        file.close()
