"""An audit's look at `state.db`: a copy of it, off the folder, against a fold of the log into fresh tables.

The copy is taken before the log is read, so that all that it knows is in the log. A node may be writing: the database
is copied first and its WAL behind it, and where the WAL has not begun anew meanwhile, what a checkpoint of SQLite's has
moved into the database while that was read stands in the WAL too, and goes over it. The file may be anybody's: its
schema must be ours to the letter before a row is read.
"""

from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING

from engram import cid as cids
from engram.decoding import UNDECODABLE
from engram.errors import EngramError, StorageFailed
from engram.events import SEGMENT_BYTES, LogStart, RecordStored
from engram.store import _tables as tables
from engram.store._audit._log import folder_bytes
from engram.store._audit._state import digest_of as digest_of_cid
from engram.store._digest import digest_of
from engram.store._fold import Fold
from engram.store._frames import segment_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from engram.events import AnyEvent, Unknown
    from engram.ports import Disk, File
    from engram.store._audit._bodies import BodyReader, BodyTable
    from engram.store._audit._report import Ledger
    from engram.store._tables import Progress

FILE = "state.db"
_WAL = "state.db-wal"
_WAL_HEADER = 32
_BLOCK = 1 << 20
_LEAST_BYTES = 64 << 20
_TIMES = 16
"""No fold is larger than this, or so many times what the log and the bodies have."""
_TRIES = 5
_VALUE_BYTES = 1 << 20
_FAILURES = (EngramError, OSError, sqlite3.Error, *UNDECODABLE, ValueError, KeyError, TypeError, OverflowError)
"""What a fold of bodies that are not what they should be may raise."""


class Tables:
    """The copy of a folder's tables, and what they say of themselves; `progress` None: nothing that can be compared."""

    def __init__(self, disk: Disk, path: Path, scratch: Path, ledger: Ledger, pause: Callable[[], object]) -> None:
        self._ledger = ledger
        self.progress: Progress | None = None
        self.connection: sqlite3.Connection | None = None
        try:
            size = _copied(disk, path, scratch, pause)
        except FileNotFoundError:
            ledger.note("tables", "not there: the next start folds them from the log")
            return
        except OSError as error:
            ledger.found("tables", FILE, None, f"it cannot be read: {error.strerror or error}")
            return
        ledger.count("tables", 0, size_bytes=size)
        self.connection = _opened(scratch / FILE)
        try:
            self.progress = self._progress(self.connection)
        except (sqlite3.Error, *UNDECODABLE, TypeError, ValueError) as error:
            self._wrong(str(error))

    def close(self) -> None:
        """Close the copy."""
        if self.connection is not None:
            self.connection.close()

    def _progress(self, connection: sqlite3.Connection) -> Progress | None:
        found, ours = _schema(connection), _our_schema()
        if found.get("projection") != ours["projection"]:
            self._wrong("it has no table `projection` as this build makes it")
            return None
        version = connection.execute("SELECT fold_version FROM projection WHERE name = ?", (tables.NAME,)).fetchone()
        if version != (tables.FOLD_VERSION,):
            self._ledger.note("tables", "of another build's fold: the next start folds them anew")
        elif found != ours:
            self._wrong(f"its schema is not this build's, in {', '.join(sorted(_different(found, ours)))}")
        elif (progress := tables.progress_of(connection)) is None:
            self._wrong("it does not say how far it has come")
        elif not _is_whole(progress):
            self._wrong("what it says of itself is nothing that a fold says")
        elif digest_of(connection, tables.FOLDED) != progress.digest:
            self._wrong("its rows are not those of its digest")
        elif (flaw := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            self._wrong(f"SQLite finds it damaged: {' '.join(str(flaw).split())}")  # an index, which holds no row
        else:
            return progress
        return None

    def _wrong(self, reason: str) -> None:
        self._ledger.count("tables")
        self._ledger.found("tables", FILE, None, reason)

    def hold(self, size: int, root: bytes | None, bodies_end: int, *, whole: bool) -> bool:
        """Hold what they say of themselves against the log, and say whether comparing rows is worth it.

        `root`: the log's at their position; `whole`: nothing ended the log early.
        """
        said = self.progress
        if said is None:
            return False
        if said.position > size and whole:
            self._wrong(f"it knows {said.position} events, and the log has {size}: the log was rolled back")
        elif said.position > size:
            self._ledger.note("tables", "not compared: the log is damaged before their position")
        elif root != said.root:
            self._wrong(f"the log has another root at its position, {said.position}: it is of another log")
        elif said.body_tail <= bodies_end:
            return True
        else:
            self._wrong(f"it knows bodies to location {said.body_tail}, and they end before it")
        return False


class Refold:
    """Fresh tables, folded from the log up to where the folder's own have come."""

    def __init__(self, scratch: Path, said: Progress, bodies: BodyTable, reader: BodyReader) -> None:
        self._said = said
        self._reader = reader
        self._connection = _scratch(scratch / "refold.db")
        tables.reset(self._connection)
        self._connection.execute("BEGIN")
        self._fold = Fold(self._connection, None)
        self._fold.add_bodies(bodies.before(said.body_tail))
        self.failed: str | None = None

    def take(self, entries: Sequence[tuple[int, AnyEvent | Unknown]]) -> None:
        """Fold the next events, as far as the folder's tables know them."""
        if self.failed is not None:
            return
        known = [(position, event) for position, event in entries if position < self._said.position]
        try:
            puts = [event for _, event in known if isinstance(event, RecordStored)]
            self._fold.expect([(put.ns, digest_of_cid(put.cid), put.signer) for put in puts])
            for position, event in known:
                self._fold.apply(position, event, self._reader.read)
        except _FAILURES as error:
            _refuse_full(error)
            self.failed = str(error) or type(error).__name__

    def compare(self, told: sqlite3.Connection, ledger: Ledger) -> None:
        """Compare the digests, and name the tables whose rows are others."""
        if self.failed is None:
            if self._fold.lacks_bodies:
                ledger.note("tables", "not compared: bodies that they know were erased since")
                return
            try:
                self._tell_of_erased(ledger)
                self._fold.advance(self._said.position, self._said.root, self._said.body_tail, LogStart())
            except _FAILURES as error:
                _refuse_full(error)
                self.failed = str(error) or type(error).__name__
        if self.failed is not None:
            ledger.found("tables", FILE, None, f"the log cannot be folded into tables: {self.failed}")
            return
        same = self._fold.digest == self._said.digest
        ledger.count("tables", 1, int(same))
        if not same:
            others = [one for one in tables.FOLDED if digest_of(told, [one]) != digest_of(self._connection, [one])]
            ledger.found(
                "tables", FILE, None, f"its rows are not those that the log folds to, in {', '.join(others) or 'none'}"
            )

    def _tell_of_erased(self, ledger: Ledger) -> None:
        """Tell of bodies that were erased and stand there again, as where a segment was restored from a backup."""
        for body in self._fold.take_erased():
            number, offset = divmod(body.location, SEGMENT_BYTES)
            reason = f"the log has {cids.from_digest(body.id)} erased, and its bytes are here"
            ledger.found("bodies", f"bodies/{segment_name(number)}", offset, reason)

    def close(self) -> None:
        """Close the fresh tables."""
        self._connection.close()


def scratch_tables(scratch: Path) -> sqlite3.Connection:
    """Open the audit's own database."""
    return _scratch(scratch / "audit.db")


def _scratch(path: Path) -> sqlite3.Connection:
    """Open a database that nobody needs after a crash."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-131072"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _refuse_full(error: BaseException) -> None:
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        raise StorageFailed(
            "no room to fold the log into: it needs about as much as state.db. Free some, or name another place in "
            "TMPDIR."
        ) from error


def _copied(disk: Disk, path: Path, scratch: Path, pause: Callable[[], object]) -> int:
    """Copy database and WAL as one commit left them; give their size. Raises `OSError`."""
    most = _LEAST_BYTES + _TIMES * folder_bytes(disk, path)
    for _ in range(_TRIES):
        before = _wal_header(disk, path)
        size = _copy(disk, path / FILE, scratch / FILE, most)
        (scratch / _WAL).unlink(missing_ok=True)
        if disk.exists(path / _WAL):
            size += _copy(disk, path / _WAL, scratch / _WAL, most)
            after = (scratch / _WAL).read_bytes()[:_WAL_HEADER] if size else b""
        else:
            after = b""
        if after == before == _wal_header(disk, path):
            return size
        pause()
    raise OSError(0, "it changes faster than it can be read; stop the node, or try again")


def _wal_header(disk: Disk, path: Path) -> bytes:
    if not disk.exists(path / _WAL):
        return b""
    file = disk.open(path / _WAL, writable=False)
    try:
        return file.read(0, _WAL_HEADER)
    finally:
        file.close()


def _copy(disk: Disk, source: Path, target: Path, most: int) -> int:
    file: File = disk.open(source, writable=False)
    try:
        with target.open("wb") as out:
            at, size = 0, file.size()
            if size > most:
                raise OSError(errno.EFBIG, f"its {size} bytes are more than any fold of this log has")
            while at < size and (block := file.read(at, min(_BLOCK, size - at))):
                out.write(block)
                at += len(block)
    finally:
        file.close()
    return at


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES)
    return connection


def _schema(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, type || ' ' || sql FROM sqlite_master WHERE sql IS NOT NULL"))


def _our_schema() -> dict[str, str]:
    connection = sqlite3.connect(":memory:")
    try:
        tables.reset(connection)
        return _schema(connection)
    finally:
        connection.close()


def _is_whole(progress: Progress) -> bool:
    """Say whether every column has a value of its kind: SQLite keeps any in any."""
    numbers = (progress.position, progress.body_tail)
    return all(isinstance(one, int) and one >= 0 for one in numbers) and all(
        isinstance(one, bytes) for one in (progress.root, progress.digest)
    )


def _different(found: dict[str, str], ours: dict[str, str]) -> set[str]:
    """Give the names of our tables that are others; those that are not ours are not named, being anybody's text."""
    return {name for name in ours if found.get(name) != ours[name]} or {"what else is in it"}
