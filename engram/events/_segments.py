"""A folder of append-only segments, as the log and the bodies share it: allocation, rotation, torn tails. Formats §3.

A segment is preallocated in steps and zero-filled, so that a sync need not write the file's size. Only the last one may
end in zeros. A failed write or sync is final: the writer refuses everything after it, since the disk's state is
unknown until it is read again. A disk that is full before a byte of the data is written is not: nothing is unknown
then, so that write is refused as `DiskFull`, and the next one may find room.
"""

from __future__ import annotations

import errno
import itertools
import re
from typing import TYPE_CHECKING

from engram.errors import DiskFull, StorageFailed

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk, File

SEGMENT_BYTES = 64 * 1024 * 1024
_FIRST_STEP = 256 * 1024
_LARGEST_STEP = 8 * 1024 * 1024
_BLOCK = 512
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
"""The errors of a full disk. Of a sync they say that something is lost, and are as final as any other."""

_LEFTOVER = re.compile(r"\.[0-9]{20}\.[a-z]+\.(new|torn)")


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
        try:
            self._allocated = self._file.size()
        except OSError:
            self._file.close()
            raise

    @property
    def path(self) -> Path:
        """The segment's file."""
        return self._folder / self.name

    def fits(self, size: int) -> bool:
        """Say whether `size` more bytes fit this segment; an empty one takes whatever comes."""
        return self.end == 0 or self.end + size <= self._limit

    def write(self, data: bytes) -> int:
        """Write `data` at the end, not yet durably; give its offset. `DiskFull`: there is no room, nothing stands."""
        self._check()
        self._allocate(self.end + len(data))
        try:
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
        """Close this segment for good, durably, and begin the next. `DiskFull`: this one is still the last."""
        self._check()
        try:
            self._file.truncate(self.end)
            self._allocated = self.end
            self._file.sync()
            following = create(self._disk, self._folder, name)
        except OSError as error:
            raise self._fail("rotate", error) from error
        self._file.close()
        self._file = following
        self.name, self.end, self._allocated = name, 0, 0

    def close(self) -> None:
        """Close the file; what was synced is durable, what was not may be lost."""
        self._file.close()

    def _allocate(self, needed: int) -> None:
        while self._allocated < needed:
            step = min(max(self._allocated, _FIRST_STEP), _LARGEST_STEP)
            size = min(max(self._allocated + step, needed), max(self._limit, needed))
            try:
                self._file.write(self._allocated, bytes(size - self._allocated))
            except OSError as error:
                raise self._no_room(error) from error
            self._allocated = size

    def _no_room(self, error: OSError) -> DiskFull | StorageFailed:
        """Give back what the disk had left, for whoever else writes there, and refuse the write."""
        if error.errno not in NO_ROOM:
            return self._fail("write", error)
        try:
            self._file.truncate(self._allocated)
        except OSError as worse:
            return self._fail("write", worse)
        return no_room(self.path, error)

    def _check(self) -> None:
        if self._failed is not None:
            raise StorageFailed(self._failed)

    def _fail(self, what: str, error: OSError) -> StorageFailed:
        self._failed = (
            f"cannot {what} {self.path}: {error.strerror or error}. Nothing acknowledged is lost; "
            "mend the disk and open the folder again."
        )
        return StorageFailed(self._failed)


def no_room(path: Path, error: OSError) -> DiskFull:
    """Say that a write found no room, and that nothing of it stands."""
    return DiskFull(f"no room for {path}: {error.strerror or error}. Nothing was written; free some, and try again.")


def create(disk: Disk, folder: Path, name: str) -> File:
    """Make an empty segment durably and open it. Raises `DiskFull` where there is no room for it."""
    fresh = folder / f".{name}.new"
    try:
        file = disk.open(fresh, create=True)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(fresh, error) from error
        raise
    try:
        file.truncate(0)
        file.sync()
        disk.rename(fresh, folder / name)
        disk.sync_folder(folder)
    except BaseException:
        file.close()
        raise
    return file


def remove_leftovers(disk: Disk, folder: Path) -> None:
    """Remove what a crash left of a rotation or of cutting a torn tail: files that were not renamed yet."""
    for name in disk.list(folder):
        if _LEFTOVER.fullmatch(name):
            disk.remove(folder / name)


def make_durable(disk: Disk, path: Path, data: bytes, start: int, end: int) -> None:
    """Make durable what was read of a segment from `start` to `end`, and its name: reading proves nothing of the disk.

    Who wrote it may have been killed before its sync, or its sync may have failed; after that a kernel takes the pages
    for written, so that they must be written again, and may drop them, so that it is `data`, the segment as it was
    read and verified, that is written. `start`: to where somebody has seen it synced. Behind `end` stand zeros, which
    are no more durable than that where a torn tail was cut there.
    """
    if start < end or disk.exists(_kept(path, end)):
        file = disk.open(path)
        try:
            file.write(start, memoryview(data)[start:])
            file.datasync()
        finally:
            file.close()
    if start < end or not end:
        disk.sync_folder(path.parent)


def cut_torn_tail(disk: Disk, path: Path, offset: int) -> None:
    """Keep what stands from `offset` on as `<segment>.torn-<offset>`, then overwrite it with zeros, durably."""
    file = disk.open(path)
    try:
        tail = file.read(offset, file.size() - offset)
        _keep(disk, path, offset, tail.rstrip(b"\0"))
        file.write(offset, bytes(len(tail)))
        file.sync()
    finally:
        file.close()


def _keep(disk: Disk, path: Path, offset: int, tail: bytes) -> None:
    """Keep a torn tail durably beside those that were kept before it; one whose cutting was interrupted is kept."""
    for number in itertools.count(1):
        kept = _kept(path, offset, number)
        if not disk.exists(kept):
            break
        if _is_rest(tail, read_whole(disk, kept), offset):
            disk.sync_folder(path.parent)  # who kept it may have ended before its name was durable
            return
    fresh = path.with_name(f".{path.name}.torn")
    file = disk.open(fresh, create=True)
    try:
        file.truncate(0)
        file.write(0, tail)
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, kept)
    disk.sync_folder(path.parent)


def _kept(path: Path, offset: int, number: int = 1) -> Path:
    return path.with_name(f"{path.name}.torn-{offset}" + (f".{number}" if number > 1 else ""))


def _is_rest(tail: bytes, kept: bytes, offset: int) -> bool:
    """Say whether every block of `tail` is zero or as it was kept: what an interrupted overwriting left of it."""
    rest = tail.ljust(len(kept), b"\0")
    edges = [0, *range(_BLOCK - offset % _BLOCK, len(rest), _BLOCK), len(rest)]
    return len(rest) == len(kept) and all(
        rest[at:end] == kept[at:end] or not any(rest[at:end]) for at, end in itertools.pairwise(edges)
    )


def read_whole(disk: Disk, path: Path, most: int = SEGMENT_BYTES) -> bytes:
    """Read a whole file; of one over `most` bytes that many and one more, so that who reads it sees that it is."""
    file = disk.open(path, writable=False)
    try:
        return file.read(0, min(file.size(), most + 1))
    finally:
        file.close()


def size_of(disk: Disk, path: Path) -> int:
    """Give the size of a file."""
    file = disk.open(path, writable=False)
    try:
        return file.size()
    finally:
        file.close()
