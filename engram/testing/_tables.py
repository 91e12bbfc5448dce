"""The simulated Tables: SQLite in memory, whose image after a crash is that of some commit.

WAL with `synchronous=NORMAL` promises no more: what was committed since the last checkpoint of the WAL may be undone,
the last commits first. So the image of each commit is kept, back to a checkpoint that the seed chooses. A folder's
tables are a file of the simulated disk by name only, so that removing it there removes them.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from engram.testing._disk import SimDisk

TablesLoss = Literal["none", "some", "damaged", "missing"]
"""What a crash does to tables: nothing, undo some commits, damage the file, lose it."""

_IMAGES = 16
_CHECKPOINT = 1 / 16
_numbers = itertools.count()


class SimTables:
    """The Tables port in memory, beside a `SimDisk`, whose power it shares."""

    def __init__(self, disk: SimDisk, rng: Random, images: dict[object, bytes] | None = None) -> None:
        """`images`: the databases that an earlier life left."""
        self._disk = disk
        self._rng = rng
        self._databases: dict[object, _Database] = {}
        self._left = images or {}

    def connect(self, path: Path, *, readonly: bool = False) -> SimConnection:
        """Open the database at `path`, made if absent."""
        self._disk.power.check()
        identity = self._disk.place(path)
        database = self._databases.get(identity)
        if database is None:
            database = self._databases[identity] = _Database(self._left.get(identity), self._rng, self._disk)
        return database.connect(readonly=readonly)

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return sum(database.open for database in self._databases.values())

    def after(self, disk: SimDisk, loss: TablesLoss = "none") -> SimTables:
        """Give the tables of the next life, which is on `disk`, and close those of this one."""
        after = self.image(disk, loss)
        self.close()
        return after

    def image(self, disk: SimDisk, loss: TablesLoss = "none") -> SimTables:
        """Give the tables that a crash would leave now, on such a disk; these go on."""
        images = dict(self._left)
        for identity, database in self._databases.items():
            image = database.after(loss)
            images.pop(identity, None)
            if image is not None:
                images[identity] = image
        return SimTables(disk, self._rng, images)

    def close(self) -> None:
        """Close every connection."""
        for database in self._databases.values():
            database.close()

    def copy(self, disk: SimDisk, path: Path) -> SimTables:
        """Give other tables with what was committed here at `path`, for somebody who looks, on a copy of the disk."""
        identity = self._disk.identity(path)
        database = self._databases.get(identity)
        image = database.images[-1] if database and database.images else self._left.get(identity)
        return SimTables(disk, self._rng, {disk.place(path): image} if image else {})

    def rows(self, path: Path, query: str) -> list[tuple[Any, ...]]:
        """Give what a query finds in the tables at `path`; nothing where they are damaged, or are not there."""
        try:
            with contextlib.closing(self.connect(path, readonly=True)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.DatabaseError:
            return []


class SimConnection(sqlite3.Connection):
    """A connection that tells its database of each commit, and ends with the power."""

    database: _Database
    readonly = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute one statement."""
        self.database.check(sql)
        cursor = super().execute(sql, parameters)
        if not self.readonly and not self.in_transaction and not sql.lstrip().startswith(("SELECT", "PRAGMA")):
            self.database.committed()
        return cursor

    def executescript(self, sql: str, /) -> sqlite3.Cursor:
        """Execute a script."""
        self.database.check(sql)
        cursor = super().executescript(sql)
        if not self.in_transaction:
            self.database.committed()
        return cursor

    def close(self) -> None:
        """Close it; twice is allowed."""
        if self in self.database.connections:
            self.database.connections.remove(self)
        super().close()


class _Database:
    def __init__(self, image: bytes | None, rng: Random, disk: SimDisk) -> None:
        self.name = f"file:/engram-{next(_numbers)}?vfs=memdb"
        self.images: deque[bytes] = deque([image] if image else [], maxlen=_IMAGES)
        self.connections: list[SimConnection] = []
        self._rng = rng
        self._disk = disk
        self._damaged = bool(image and not image.startswith(b"SQLite format 3\0"))
        self._anchor = sqlite3.connect(self.name, uri=True, isolation_level=None, timeout=0)
        if image and not self._damaged:
            with contextlib.closing(sqlite3.connect(":memory:")) as loaded:
                loaded.deserialize(image)
                loaded.backup(self._anchor)

    @property
    def open(self) -> int:
        return len(self.connections)

    def connect(self, *, readonly: bool) -> SimConnection:
        name = ":memory:" if self._damaged else self.name
        connection = sqlite3.connect(
            name, uri=True, isolation_level=None, check_same_thread=False, timeout=0, factory=SimConnection
        )
        connection.database = self
        if self._damaged:
            connection.deserialize(self.images[-1])
        elif not readonly:
            connection.execute("PRAGMA secure_delete=ON")
        connection.readonly = readonly
        self.connections.append(connection)
        return connection

    def check(self, sql: str) -> None:
        self._disk.power.check()
        if sql.startswith("COMMIT"):
            try:
                self._disk.hook("commit", "state.db", 0, 0)
            except OSError as error:
                raise sqlite3.OperationalError(error.strerror) from error

    def committed(self) -> None:
        if self._rng.random() < _CHECKPOINT:
            self.images.clear()
        [pages] = self._anchor.execute("PRAGMA page_count").fetchone()
        self.images.append(self._anchor.serialize() if pages else b"")

    def after(self, loss: TablesLoss) -> bytes | None:
        if loss == "missing" or not self.images:
            return None
        if loss == "damaged":
            return self._rng.randbytes(64) + self.images[-1][64:]
        return self.images[-1 if loss == "none" else self._rng.randrange(len(self.images))]

    def close(self) -> None:
        for connection in tuple(self.connections):
            connection.close()
        self._anchor.close()
