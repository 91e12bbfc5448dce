"""The Disk and Tables ports in memory, for a memory that ends with its process: `engram.open(":memory:")`.

Nothing here is durable, so a sync does nothing. What the simulated disk adds to that (what a crash leaves, faults, a
count of calls) costs three copies of every byte, and it belongs to one thread; so these are ports of their own, and
`engram.testing` shares the bytes behind them. Any thread may call.
"""

from __future__ import annotations

import errno
import itertools
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from engram.runtime._buffer import Buffer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BUSY_S = 60.0
_numbers = itertools.count()


class MemoryDisk:
    """Files and folders that are nowhere but in this process."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, _Bytes]] = {"/": {}}
        self._lock = threading.Lock()

    def open(self, path: Path, *, create: bool = False, writable: bool = True, private: bool = False) -> MemoryFile:
        """Open a file; `private` means nothing here."""
        del private
        with self._lock:
            names = self._names(path)
            if path.name not in names:
                if not create:
                    raise _failure(errno.ENOENT, path)
                names[path.name] = _Bytes()
            return MemoryFile(names[path.name], path, writable=writable)

    def list(self, folder: Path) -> Sequence[str]:
        """List a folder, sorted."""
        inside = str(folder).rstrip("/") + "/"
        with self._lock:
            below = {path[len(inside) :] for path in self._folders if path.startswith(inside) and path != inside}
            return sorted([*self._folders.get(str(folder), ()), *(name for name in below if "/" not in name)])

    def exists(self, path: Path) -> bool:
        """Say whether `path` is there."""
        with self._lock:
            return str(path) in self._folders or path.name in self._folders.get(str(path.parent), ())

    def is_folder(self, path: Path) -> bool:
        """Say whether `path` is a folder."""
        return str(path) in self._folders

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents."""
        with self._lock:
            for each in (*reversed(path.parents), path):
                self._folders.setdefault(str(each), {})

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically."""
        with self._lock:
            names = self._names(source)
            if source.name not in names:
                raise _failure(errno.ENOENT, source)
            self._names(target)[target.name] = names.pop(source.name)

    def remove(self, path: Path) -> None:
        """Remove a file; who has it open keeps it."""
        with self._lock:
            if self._names(path).pop(path.name, None) is None:
                raise _failure(errno.ENOENT, path)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        if self.list(path):
            raise _failure(errno.ENOTEMPTY, path)
        with self._lock:
            if self._folders.pop(str(path), None) is None:
                raise _failure(errno.ENOENT, path)

    def sync_folder(self, path: Path) -> None:
        """Do nothing: names last as long as the process."""

    def _names(self, path: Path) -> dict[str, _Bytes]:
        names = self._folders.get(str(path.parent))
        if names is None:
            raise _failure(errno.ENOENT, path)
        return names


class _Bytes:
    def __init__(self) -> None:
        self.buffer = Buffer()
        self.lock = threading.Lock()
        self.holder: MemoryFile | None = None


class MemoryFile:
    """An open file of a `MemoryDisk`."""

    def __init__(self, held: _Bytes, path: Path, *, writable: bool) -> None:
        self._held = held
        self._path = path
        self._writable = writable

    def read(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes at `offset`."""
        with self._held.lock:
            return self._held.buffer.read(offset, size)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`."""
        if not self._writable:
            raise _failure(errno.EBADF, self._path)
        with self._held.lock:
            self._held.buffer.write(offset, data)

    def size(self) -> int:
        """Give the file's size."""
        return self._held.buffer.size

    def truncate(self, size: int) -> None:
        """Set the file's size."""
        with self._held.lock:
            self._held.buffer.truncate(size)

    def datasync(self) -> None:
        """Do nothing: there is nothing that outlives the process."""

    def sync(self) -> None:
        """Do nothing, as `datasync`."""

    def map(self) -> memoryview:
        """Give a view of the file as it is now."""
        with self._held.lock:
            return self._held.buffer.view()

    def lock(self) -> bool:
        """Take the lock without waiting."""
        with self._held.lock:
            if self._held.holder not in (None, self):
                return False
            self._held.holder = self
            return True

    def close(self) -> None:
        """Let go of the lock; the bytes stay, under their name."""
        with self._held.lock:
            if self._held.holder is self:
                self._held.holder = None


class MemoryTables:
    """SQLite in memory, one database a path, which lasts as long as this object.

    SQLite's databases in memory have no WAL: nobody can begin to read while a transaction writes. So who begins to read
    waits for its turn, which a writer has from `BEGIN` to its end, and not in SQLite's own way, by trying again later.
    """

    def __init__(self) -> None:
        self._databases: dict[str, _Database] = {}

    def connect(self, path: Path, *, readonly: bool = False) -> sqlite3.Connection:
        """Open the database at `path`, made if absent."""
        database = self._databases.get(str(path))
        if database is None:
            database = self._databases.setdefault(str(path), _Database())
        return database.connect(readonly=readonly)

    @property
    def is_busy(self) -> bool:
        """Whether somebody writes, so that who begins to read would wait."""
        return any(database.turn.locked() for database in self._databases.values())

    def close(self) -> None:
        """Let go of every database that nobody else has open."""
        for database in self._databases.values():
            database.close()


class _Database:
    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._name = f"file:/engram-memory-{os.getpid()}-{next(_numbers)}?vfs=memdb"
        self._anchor = self.connect(readonly=True)
        """An open connection: SQLite forgets a database that nobody has open."""

    def connect(self, *, readonly: bool) -> sqlite3.Connection:
        kind: type[_Connection] = _Reading if readonly else _Writing
        connection = sqlite3.connect(
            self._name,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_S,
            factory=kind,
        )
        connection.turn = self.turn
        return connection

    def close(self) -> None:
        self._anchor.close()


class _Connection(sqlite3.Connection):
    turn: threading.Lock


class _Reading(_Connection):
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if self.in_transaction:
            return super().execute(sql, parameters)
        with self.turn:
            return super().execute(sql, parameters)


class _Writing(_Connection):
    _has_turn = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "BEGIN" and not self._has_turn:
            self.turn.acquire()
            self._has_turn = True
        try:
            return super().execute(sql, parameters)
        finally:
            self._end_turn()

    def close(self) -> None:
        super().close()
        if self._has_turn:
            self._has_turn = False
            self.turn.release()

    def _end_turn(self) -> None:
        if self._has_turn and not self.in_transaction:
            self._has_turn = False
            self.turn.release()


def _failure(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
