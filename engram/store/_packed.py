"""A memory in one file: packed while it is closed, a data folder beside it, `<path>.d`, while it is open.

Theory of operation. One mark in the folder decides which of the two is the truth. `.whole` is there from when the
folder holds all that the file held, durably, until all that the folder holds stands in the file, durably, under its
name. With the mark the folder is the truth, however its last holder ended; without it the file is, and what else is in
the folder is the beginning or the rest of a copy. Each step is durable before the next, so that a crash at any of them
leaves one truth:

    open    lock the folder; if there is no mark: empty it, copy the file into it; mark it
    close   pack the folder into a temporary file; note its digest in the mark; rename it; take the mark away; empty the
            folder, and remove it

The mark names the file that the folder came from, and the one that it is about to become, by the digest of their
manifests. A file that is neither was put there by somebody else: then both are left as they are, and it is for its
owner to say which is right. The lock is a file of the folder, and goes with it; so who has locked one looks whether it
is still the one that stands there.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import DiskFull, EngramError, FolderInUse, FolderRefused, StorageFailed
from engram.store import _archive as archives

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engram.ports import Disk, File

_LOCK = ".lock"
_MARK = ".whole"
_NOT_PACKED = {"pid", "state.db-shm"}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_TRIES = 10


class Mark(msgspec.Struct, frozen=True):
    """Of which file the folder is a copy, and which it is to become, by their manifests' digests."""

    of: str | None = None
    becomes: str | None = None


class PackedFile:
    """A memory's file, and its folder while it is open: `unpack`, then use the folder, then `pack`, then `release`."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self.path = path
        self.folder = path.with_name(path.name + ".d")
        self._disk = disk
        self._fresh = path.with_name(f".{path.name}.new")
        self._lock: File | None = None
        self._mark = Mark()
        self._as_it_was = False

    def unpack(self) -> None:
        """Make the folder hold the memory: the file's, or what whoever had it open last has left there.

        Raises `FolderInUse`, `FolderRefused`, `DiskFull`, `StorageFailed`; then the folder is as it was, or not there.
        """
        try:
            self._hold()
            if self._disk.exists(self.folder / _MARK):
                self._take_up()
            else:
                self._copy_out()
        except OSError as error:
            self._give_up()
            raise _failure(
                error, f"cannot unpack {self.path}: {error.strerror or error}. It stands as it was"
            ) from error
        except BaseException:
            self._give_up()
            raise

    def pack(self, *, changed: bool = True) -> None:
        """Make the file hold what the folder does, and remove that. `changed`: whether it is worth it.

        Raises `DiskFull`, `StorageFailed`; the folder stays, whole, for whoever opens the file next.
        """
        try:
            if changed or not self._as_it_was:
                self._copy_in()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._disk.remove(self._fresh)
            raise _failure(
                error,
                f"cannot pack {self.path}: {error.strerror or error}. Nothing is lost: all of it stands in "
                f"{self.folder}, which the next open of {self.path.name} takes up.",
            ) from error
        with contextlib.suppress(OSError):  # what is left of it is taken for what it is, and removed by the next open
            self._remove()

    def release(self) -> None:
        """Let others open it; twice is allowed."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    # -- opening ------------------------------------------------------------------------------------------------------

    def _hold(self) -> None:
        for _ in range(_TRIES):
            self._make_folder()
            with contextlib.suppress(FileNotFoundError):  # its last holder is removing it just now
                lock = self._disk.open(self.folder / _LOCK, create=True, private=True)
                if not lock.lock():
                    lock.close()
                    break
                self._lock = lock
                if self._stands(lock):
                    self._disk.sync_folder(self.folder)  # or what comes after it might be all that a crash leaves
                    return
                self.release()
        raise FolderInUse(
            f"{self.path} is in use by {self._holder()}. One process at a time has a memory open: close it there, or "
            "run a node (engram-node) and let both talk to it."
        )

    def _make_folder(self) -> None:
        try:
            names = self._disk.list(self.folder)
            if names and _LOCK not in names:
                raise FolderRefused(
                    f"{self.folder} is where {self.path.name} would be unpacked, and holds {names[0]!r}, which is not "
                    "ours. Move it away, or give another path."
                )
            self._disk.make_folder(self.folder)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FolderRefused(f"cannot make {self.folder}, to unpack {self.path.name} into: {reason}") from error

    def _stands(self, lock: File) -> bool:
        """Say whether the lock that was taken is the file that stands in the folder, and not one that was removed."""
        said = f"{os.getpid()} {os.urandom(8).hex()}\n"
        lock.truncate(0)
        lock.write(0, said.encode())
        return self._read(_LOCK) == said

    def _holder(self) -> str:
        pid = self._read(_LOCK).partition(" ")[0]
        return f"process {pid}" if pid.isdigit() else "another process"

    def _read(self, name: str) -> str:
        try:
            file = self._disk.open(self.folder / name, writable=False)
        except FileNotFoundError:
            return ""
        try:
            return file.read(0, 4096).decode("ascii", "replace")
        finally:
            file.close()

    def _take_up(self) -> None:
        """Go on with a folder that nobody has packed."""
        try:
            self._mark = msgspec.json.decode(self._read(_MARK), type=Mark)
        except UNDECODABLE:
            raise FolderRefused(f"{self.folder / _MARK} is damaged; remove it if {self.path} is the newer") from None
        if not self._disk.exists(self.path):
            return
        with contextlib.closing(archives.Archive(self._disk, self.path)) as archive:
            if archive.digest not in (self._mark.of, self._mark.becomes):
                raise FolderRefused(
                    f"{self.path} is not the file that {self.folder} was unpacked from, and that was never packed "
                    "again. Both are left as they are: move away the one that you do not want."
                )

    def _copy_out(self) -> None:
        self._empty()
        if self._disk.exists(self._fresh):
            self._disk.remove(self._fresh)
        if self._disk.exists(self.path):
            with contextlib.closing(archives.Archive(self._disk, self.path)) as archive:
                archive.unpack(self.folder)
                self._mark = Mark(of=archive.digest)
                self._as_it_was = True
        self._write_mark()

    def _write_mark(self) -> None:
        """Say, durably, that the folder is the truth."""
        fresh = self.folder / f"{_MARK}.new"
        file = self._disk.open(fresh, create=True)
        try:
            file.truncate(0)
            file.write(0, msgspec.json.encode(self._mark))
            file.sync()
        finally:
            file.close()
        self._disk.rename(fresh, self.folder / _MARK)
        self._disk.sync_folder(self.folder)

    def _give_up(self) -> None:
        """Leave what is whole, and remove what is not."""
        with contextlib.suppress(OSError, EngramError):
            if self._lock is not None and not self._disk.exists(self.folder / _MARK):
                self._remove()
        self.release()

    # -- closing ------------------------------------------------------------------------------------------------------

    def _copy_in(self) -> None:
        digest = archives.write(self._disk, self.folder, sorted(self._files(self.folder)), self._fresh)
        self._mark = Mark(self._mark.of, digest)
        self._write_mark()
        self._disk.rename(self._fresh, self.path)
        self._disk.sync_folder(self.path.parent)

    def _files(self, folder: Path) -> Iterator[str]:
        for name in self._disk.list(folder):
            if name.startswith(".") or name in _NOT_PACKED:
                continue
            if self._disk.is_folder(folder / name):
                yield from (f"{name}/{below}" for below in self._files(folder / name))
            else:
                yield name

    def _remove(self) -> None:
        if self._disk.exists(self.folder / _MARK):
            self._disk.remove(self.folder / _MARK)
            self._disk.sync_folder(self.folder)
        self._empty()
        self._disk.sync_folder(self.folder)  # the lock says that the folder is ours: it goes last
        self._disk.remove(self.folder / _LOCK)
        self._disk.remove_folder(self.folder)
        self._disk.sync_folder(self.folder.parent)

    def _empty(self) -> None:
        for name in self._disk.list(self.folder):
            if name != _LOCK:
                self._remove_all(self.folder / name)

    def _remove_all(self, path: Path) -> None:
        if not self._disk.is_folder(path):
            self._disk.remove(path)
            return
        for name in self._disk.list(path):
            self._remove_all(path / name)
        self._disk.remove_folder(path)


def _failure(error: OSError, message: str) -> DiskFull | StorageFailed:
    return DiskFull(message) if error.errno in _NO_ROOM else StorageFailed(message)
