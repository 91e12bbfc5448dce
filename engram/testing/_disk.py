"""A simulated disk: what is written is seen at once, and durable only when it was synced.

Theory of operation. A file is a `Content`; a name is durable only after its folder's sync; a crash keeps the durable
and of the rest what a `Loss` says, and gives the disk of the next life. Each call is counted and told to a hook, which
makes it fail or cuts the power. Everything is in memory, and belongs to one thread at a time.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

from engram.testing._content import SECTOR_BYTES, Content
from engram.testing._losses import CountUnits, LoseAll
from engram.testing._power import Power

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from engram.testing._losses import Loss


class DiskHook(Protocol):
    """Is told of each call before it happens; raises `OSError` to have it fail, `Crashed` to have it be the last."""

    def __call__(self, call: str, path: str, offset: int, size: int) -> None:
        """Let the call happen, or raise."""
        ...


def _let(call: str, path: str, offset: int, size: int) -> None:
    """Let every call happen."""


def failure(number: int, path: str) -> OSError:
    """Give the error that a system call would raise."""
    return OSError(number, os.strerror(number), path)


class SimDisk:
    """The Disk port in memory. `crash` ends its life, and gives the disk as the next one finds it.

    `hook` hears (call, path, offset, size) of each call that changes something. `capacity_bytes`: where writes that
    make files grow begin to fail with ENOSPC, after a part of them was written.
    """

    def __init__(self, power: Power | None = None, hook: DiskHook = _let, capacity_bytes: int | None = None) -> None:
        self.power = power or Power()
        self.hook = hook
        self.capacity_bytes = capacity_bytes
        self.calls = 0
        self.open_files = 0
        self._folders: dict[str, dict[str, _Inode]] = {"/": {}}
        self._durable: dict[str, dict[str, _Inode]] = {"/": {}}
        self._unsynced_names: dict[str, list[Callable[[dict[str, _Inode]], None]]] = {}

    # -- the port -----------------------------------------------------------------------------------------------------

    def open(self, path: Path, *, create: bool = False, writable: bool = True, private: bool = False) -> SimFile:
        """Open a file; `private` and `writable` are accepted and mean nothing here."""
        del private
        self.power.check()
        folder, name = _parted(path)
        names = self._folder(folder, str(path))
        inode = names.get(name)
        if inode is None:
            if not create:
                raise failure(errno.ENOENT, str(path))
            self._told("create", str(path))
            inode = names[name] = _Inode()
            self._unsynced_names.setdefault(folder, []).append(_link(name, inode))
        self.open_files += 1
        inode.path = str(path)
        return SimFile(self, inode, writable=writable)

    def list(self, folder: Path) -> Sequence[str]:
        """List a folder, sorted."""
        self.power.check()
        inside = str(folder).rstrip("/") + "/"
        below = [path[len(inside) :] for path in self._folders if path.startswith(inside) and path != inside]
        return sorted([*self._folders.get(str(folder), ()), *(name for name in below if "/" not in name)])

    def exists(self, path: Path) -> bool:
        """Say whether `path` is there."""
        self.power.check()
        folder, name = _parted(path)
        return str(path) in self._folders or name in self._folders.get(folder, ())

    def is_folder(self, path: Path) -> bool:
        """Say whether `path` is a folder."""
        self.power.check()
        return str(path) in self._folders

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents; they are durable at once."""
        self.power.check()
        if str(path) in self._folders:
            return
        self.make_folder(path.parent)
        self._told("make_folder", str(path))
        self._folders[str(path)] = {}
        self._durable[str(path)] = {}

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically; undone by a crash before the folder is synced. Both are in one folder."""
        self.power.check()
        (folder, old), (other, new) = _parted(source), _parted(target)
        assert folder == other, f"{source} and {target} are in two folders"
        names = self._folder(folder, str(source))
        if old not in names:
            raise failure(errno.ENOENT, str(source))
        self._told("rename", str(target))
        names[old].path = str(target)
        rename = _rename(old, new, names[old])
        rename(names)
        self._unsynced_names.setdefault(folder, []).append(rename)

    def remove(self, path: Path) -> None:
        """Remove a file; undone by a crash before the folder is synced."""
        self.power.check()
        folder, name = _parted(path)
        names = self._folder(folder, str(path))
        if name not in names:
            raise failure(errno.ENOENT, str(path))
        self._told("remove", str(path))
        unlink = _unlink(name)
        unlink(names)
        self._unsynced_names.setdefault(folder, []).append(unlink)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder, durably at once, as it was made."""
        self.power.check()
        self._folder(str(path), str(path))
        if self.list(path):
            raise failure(errno.ENOTEMPTY, str(path))
        self._told("remove_folder", str(path))
        for folders in (self._folders, self._durable):
            del folders[str(path)]
        self._unsynced_names.pop(str(path), None)

    def sync_folder(self, path: Path) -> None:
        """Make the folder's names durable."""
        self.power.check()
        self._folder(str(path), str(path))
        self._told("sync_folder", str(path))
        for change in self._unsynced_names.pop(str(path), ()):
            change(self._durable[str(path)])

    # -- the world's side ---------------------------------------------------------------------------------------------

    def crash(self, loss: Loss | None = None, power: Power | None = None) -> SimDisk:
        """Cut the power; give the disk as the next life finds it: the durable, and what `loss` keeps of the rest."""
        self.power.cut()
        return self.image(loss or LoseAll(), power)

    def image(self, loss: Loss, power: Power | None = None) -> SimDisk:
        """Give the disk that a crash would leave now; this one goes on."""
        after = SimDisk(power, self.hook, self.capacity_bytes)
        settled: dict[int, _Inode] = {}
        for folder in self._folders:
            names = dict(self._durable[folder])
            for change in self._unsynced_names.get(folder, ()):
                if loss.keeps():
                    change(names)
            left = {name: _after_crash(inode, loss, settled) for name, inode in names.items()}
            after._folders[folder] = left
            after._durable[folder] = dict(left)
        return after

    def restarted(self, power: Power | None = None) -> SimDisk:
        """Give the disk as another process finds it after this one has ended or was killed: the machine ran on.

        All that was written is seen, and what was not synced still is not durable.
        """
        self.power.cut()
        after = SimDisk(power, self.hook, self.capacity_bytes)
        after._folders, after._durable, after._unsynced_names = self._folders, self._durable, self._unsynced_names
        for inode in after._inodes():
            inode.locked = False
        return after

    def copy(self) -> SimDisk:
        """Give another disk with what is seen here, for somebody who looks and changes nothing of this one."""
        other = SimDisk()
        for folder, names in self._folders.items():
            copied = {name: _Inode(Content(inode.content.read(0, inode.content.size))) for name, inode in names.items()}
            other._folders[folder] = copied
            other._durable[folder] = dict(copied)
        return other

    def unsynced_units(self) -> int:
        """Count what a crash could keep or lose now, one by one."""
        counted = CountUnits()
        self.image(counted)
        return counted.units

    def files(self) -> dict[str, bytes]:
        """Give every file's path and bytes, as they are seen."""
        return {
            f"{folder.rstrip('/')}/{name}": inode.content.read(0, inode.content.size)
            for folder, names in sorted(self._folders.items())
            for name, inode in sorted(names.items())
        }

    def flip(self, path: Path | str, offset: int, bit: int) -> None:
        """Flip a bit of a file, durably."""
        folder, name = _parted(path)
        self._folders[folder][name].content.flip(offset, bit)

    def evict(self) -> None:
        """Drop from memory what is not waiting to be written: what a failed sync took for clean is seen no more."""
        for inode in self._inodes():
            inode.content.evict()

    def fill(self) -> None:
        """Leave no room for any file to grow."""
        self.capacity_bytes = sum(inode.content.size for inode in self._inodes())

    def place(self, path: Path) -> object:
        """Give what stands for the file at `path` and outlives crashes, made durably if it is not there."""
        folder, name = _parted(path)
        names = self._folder(folder, str(path))
        if name not in names:
            names[name] = self._durable[folder][name] = _Inode()
        return names[name].identity

    def identity(self, path: Path) -> object | None:
        """Give what `place` gives, without making anything; None where no such file is there."""
        folder, name = _parted(path)
        inode = self._folders.get(folder, {}).get(name)
        return inode.identity if inode else None

    def locks(self) -> Sequence[str]:
        """Give the paths of the files that somebody has locked."""
        return sorted(
            f"{folder}/{name}"
            for folder, names in self._folders.items()
            for name, inode in names.items()
            if inode.locked
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _told(self, call: str, path: str, offset: int = 0, size: int = 0) -> None:
        self.calls += 1
        self.hook(call, path, offset, size)

    def _folder(self, folder: str, path: str) -> dict[str, _Inode]:
        names = self._folders.get(folder)
        if names is None:
            raise failure(errno.ENOENT, path)
        return names

    def _inodes(self) -> Sequence[_Inode]:
        return [inode for names in self._folders.values() for inode in names.values()]

    def _room(self) -> int:
        assert self.capacity_bytes is not None
        return self.capacity_bytes - sum(inode.content.size for inode in self._inodes())


class SimFile:
    """An open file of a `SimDisk`."""

    def __init__(self, disk: SimDisk, inode: _Inode, *, writable: bool) -> None:
        self._disk = disk
        self._inode = inode
        self._writable = writable
        self._closed = False
        self._holds = False

    def read(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes at `offset`."""
        self._check()
        self._disk.hook("read", self._inode.path, offset, size)
        return self._inode.content.read(offset, size)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`; where the hook raises `ShortWrite`, only its first part."""
        self._check()
        if not self._writable:
            raise failure(errno.EBADF, self._inode.path)
        data = bytes(data)
        try:
            self._disk._told("write", self._inode.path, offset, len(data))  # noqa: SLF001 (two halves of one port)
        except ShortWrite as short:
            self._inode.content.write(offset, data[: short.written])
            raise
        finally:
            # What a power cut interrupts may be on the disk, in whole or in part: it was under way.
            if not self._disk.power.on:
                self._inode.content.write(offset, data)
        self._require_room(offset, data)
        self._inode.content.write(offset, data)

    def size(self) -> int:
        """Give the file's size."""
        self._check()
        return self._inode.content.size

    def truncate(self, size: int) -> None:
        """Set the file's size."""
        self._check()
        try:
            self._disk._told("truncate", self._inode.path, size)  # noqa: SLF001 (two halves of one port)
        finally:
            if not self._disk.power.on:
                self._inode.content.truncate(size)
        self._inode.content.truncate(size)

    def datasync(self) -> None:
        """Make the data durable."""
        self._sync("datasync")

    def sync(self) -> None:
        """Make data and size durable; not the name."""
        self._sync("sync")

    def map(self) -> memoryview:
        """Map the file as it is now."""
        self._check()
        return self._inode.content.map()

    def lock(self) -> bool:
        """Take the lock; a crash releases it."""
        self._check()
        if self._inode.locked and not self._holds:
            return False
        self._inode.locked = self._holds = True
        return True

    def close(self) -> None:
        """Close it, once."""
        if not self._closed:
            self._closed = True
            self._disk.open_files -= 1
            if self._holds:
                self._inode.locked = False

    def _check(self) -> None:
        self._disk.power.check()
        if self._closed:
            raise failure(errno.EBADF, self._inode.path)

    def _sync(self, call: str) -> None:
        self._check()
        try:
            self._disk._told(call, self._inode.path)  # noqa: SLF001 (two halves of one port)
        except OSError:
            self._inode.content.forget()
            raise
        self._inode.content.settle()

    def _require_room(self, offset: int, data: bytes) -> None:
        if self._disk.capacity_bytes is None:
            return
        content = self._inode.content
        room = self._disk._room()  # noqa: SLF001 (two halves of one port)
        if offset + len(data) - content.size > max(0, room):
            fits = max(0, (content.size + room) // SECTOR_BYTES * SECTOR_BYTES - offset)
            content.write(offset, data[:fits])
            raise failure(errno.ENOSPC, self._inode.path)


class ShortWrite(OSError):
    """A write that failed after its first `written` bytes; raised by a hook."""

    written = 0


class _Inode:
    def __init__(self, content: Content | None = None, identity: object | None = None) -> None:
        self.content = content or Content()
        self.identity = identity or object()
        self.locked = False
        self.path = ""
        """The name under which it was seen last."""


def _after_crash(inode: _Inode, loss: Loss, settled: dict[int, _Inode]) -> _Inode:
    """Settle what has several names once."""
    if id(inode) not in settled:
        settled[id(inode)] = _Inode(inode.content.after_crash(loss), inode.identity)
    return settled[id(inode)]


def _parted(path: Path | str) -> tuple[str, str]:
    folder, _, name = str(path).rpartition("/")
    return folder or "/", name


def _link(name: str, inode: _Inode) -> Callable[[dict[str, _Inode]], None]:
    return lambda names: names.__setitem__(name, inode)


def _rename(old: str, new: str, inode: _Inode) -> Callable[[dict[str, _Inode]], None]:
    def rename(names: dict[str, _Inode]) -> None:
        if names.get(old) is inode:
            del names[old]
        names[new] = inode

    return rename


def _unlink(name: str) -> Callable[[dict[str, _Inode]], None]:
    def unlink(names: dict[str, _Inode]) -> None:
        names.pop(name, None)

    return unlink
