"""The real Disk port: POSIX files by descriptor, synced as each platform means it."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class RealFile:
    """A file descriptor behind `engram.ports.File`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._locked_by = 0

    def read(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes at `offset`."""
        parts = []
        while size > 0:
            part = os.pread(self._descriptor, min(size, 1 << 30), offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            offset += written
            view = view[written:]

    def size(self) -> int:
        """Give the file's size."""
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        """Set the file's size."""
        os.ftruncate(self._descriptor, size)

    def datasync(self) -> None:
        """Make the data durable."""
        if sys.platform == "darwin":
            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self._descriptor)

    def sync(self) -> None:
        """Make data and metadata durable."""
        if sys.platform == "darwin":
            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(self._descriptor)

    def map(self) -> memoryview:
        """Map the file as it is now, read-only and shared."""
        if self.size() == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(self._descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ))

    def lock(self) -> bool:
        """Take the exclusive lock without waiting."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._locked_by = os.getpid()
        return True

    def close(self) -> None:
        """Close the descriptor, once."""
        if self._descriptor >= 0:
            if self._locked_by == os.getpid():
                # Spelled out, since a forked child's copy of the descriptor would hold the lock on.
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1


OPEN = os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever."""


def regular(descriptor: int, path: Path) -> int:
    """Give the descriptor of a regular file; any other is closed, and refused with `OSError`."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


class RealDisk:
    """The file system behind `engram.ports.Disk`."""

    def open(self, path: Path, *, create: bool = False, writable: bool = True, private: bool = False) -> RealFile:
        """Open a regular file, close-on-exec; `OSError` for what is none, without waiting for it."""
        flags = (os.O_RDWR if writable else os.O_RDONLY) | (os.O_CREAT if create else 0) | OPEN
        return RealFile(regular(os.open(path, flags, 0o600 if private else 0o644), path))

    def list(self, folder: Path) -> list[str]:
        """List a folder, sorted."""
        try:
            return sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return []

    def exists(self, path: Path) -> bool:
        """Say whether `path` is there."""
        return path.exists()

    def is_folder(self, path: Path) -> bool:
        """Say whether `path` is a folder."""
        return path.is_dir()

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents, each durably in the one above."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_folder(path.parent)

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def sync_folder(self, path: Path) -> None:
        """Make the folder's names durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
