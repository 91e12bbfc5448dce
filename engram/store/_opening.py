"""Opening a data folder: key, checkpoints, log, bodies, and the tables folded up to the log.

What the tables say is trusted where it fits the log; where it does not, or they are damaged, or of another fold, they
are folded anew from what is the truth.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sqlite3
from typing import TYPE_CHECKING, TypeVar

import msgspec

from engram import cid as cids
from engram import events
from engram.errors import FolderRefused, LogCorrupt
from engram.events import Checkpoint, Log, checkpoints
from engram.identity import NodeKey, load_or_create
from engram.store import _tables as tables
from engram.store import _trie_file as trie_file
from engram.store._bodies import Bodies
from engram.store._fold import Fold
from engram.store._named import named_bodies
from engram.store._place import load as scrub_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engram.ports import Disk, Rng, Tables
    from engram.store._folder import DataFolder
    from engram.store._tables import Progress


T = TypeVar("T")

_EXPECTED = 1024
"""Events whose rows are looked up at once."""


class Opened(msgspec.Struct, frozen=True):
    """The parts of an open folder. `refolded`: the tables were folded from the log's beginning."""

    key: NodeKey
    checkpoint: Checkpoint | None
    log: Log
    bodies: Bodies
    fold: Fold
    refolded: bool

    def close(self) -> None:
        """Close the files."""
        with contextlib.ExitStack() as closing:
            closing.callback(self.log.close)
            closing.callback(self.bodies.close)
            closing.callback(self.fold.connection.close)


def mended(folder: DataFolder, open_it: Callable[[], T]) -> T:
    """Give what `open_it` gives; where it finds `state.db` damaged, make that anew, since the log has everything."""
    try:
        return open_it()
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
    _remove_tables(folder.disk, folder.path / "state.db")
    return open_it()


def open_parts(folder: DataFolder, port: Tables, rng: Rng, segment_bytes: int) -> Opened:
    """Open what is in the folder.

    Raises `FolderRefused`, `LogCorrupt`, `BodiesCorrupt`, `StorageFailed`, and what the disk and SQLite raise.
    """
    disk, path = folder.disk, folder.path
    key = _key_of(folder, rng)
    disk.make_folder(path / "checkpoints")
    disk.sync_folder(path / "checkpoints")  # who wrote the last one may have been killed before its name was durable
    checkpoint = checkpoints.largest(disk, path / "checkpoints", key.public)
    with contextlib.ExitStack() as opened:
        connection = port.connect(path / "state.db")
        opened.callback(connection.close)
        wrong = {finding.part for finding in scrub_place(disk, path).findings}
        known = None if "tables" in wrong else tables.prepare(connection)
        log, progress = _open_log(disk, path / "events", checkpoint, known, segment_bytes, prove_all="log" in wrong)
        opened.callback(log.close)
        bodies, found = Bodies.open(
            disk,
            path / "bodies",
            known_to=progress.body_tail if progress else 0,
            named=lambda: named_bodies(lambda: (events.decode(data) for _, data in log.read())),
            held=lambda: _held(connection) if progress else set(),
            segment_bytes=segment_bytes,
        )
        opened.callback(bodies.close)
        connection.execute("BEGIN")
        if progress is None:
            trie_file.remove(disk, path)
            tables.reset(connection)
            tables.expect_much(connection)
        fold = Fold(connection, progress)
        fold.add_bodies(found)
        fold_log(fold, log, bodies, progress.position if progress else 0)
        connection.execute("COMMIT")
        tables.expect_little(connection)
        opened.pop_all()
    return Opened(key, checkpoint, log, bodies, fold, progress is None and log.size > 0)


def _held(connection: sqlite3.Connection) -> set[bytes]:
    return {body_id for (body_id,) in connection.execute("SELECT id FROM bodies")}


def fold_log(fold: Fold, log: Log, bodies: Bodies, position: int) -> None:
    """Fold the log's events from `position` on, and overwrite what they erased: who wrote them may have been killed."""
    entries = log.read(position)
    while some := [(at, events.decode(data)) for at, data in itertools.islice(entries, _EXPECTED)]:
        puts = [event for _, event in some if isinstance(event, events.RecordStored)]
        fold.expect([(put.ns, cids.digest_of(put.cid), put.signer) for put in puts])
        for at, event in some:
            fold.apply(at, event, bodies.read)
    bodies.erase(fold.take_erased())
    if tables.erases(fold.connection):
        bodies.forget_torn()
    fold.advance(log.size, log.root, bodies.tail, log.segment_start)


def _key_of(folder: DataFolder, rng: Rng) -> NodeKey:
    key_file = folder.path / "keys" / "node.key"
    if folder.disk.list(folder.path / "events") and not folder.disk.exists(key_file):
        raise FolderRefused(f"{key_file} is missing, and the log is of that node key; restore it from its backup")
    return load_or_create(folder.disk, key_file, rng)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Say whether SQLite found its file damaged; it is made anew then, since the log has everything."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _remove_tables(disk: Disk, path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        stale = path.with_name(path.name + suffix)
        if disk.exists(stale):
            disk.remove(stale)
    disk.sync_folder(path.parent)  # or a crash might leave the new ones' WAL beside the old tables


def _open_log(
    disk: Disk,
    folder: Path,
    checkpoint: Checkpoint | None,
    progress: Progress | None,
    segment_bytes: int,
    *,
    prove_all: bool,
) -> tuple[Log, Progress | None]:
    """Open the log, trusting the tables where they fit it; without a progress given back, they must be folded anew.

    `prove_all`: not even what is before the last segment is trusted.
    """
    durable = progress.position if progress is not None else 0
    open_log = functools.partial(
        Log.open, disk, folder, checkpoint=checkpoint, durable=durable, segment_bytes=segment_bytes
    )
    if progress is not None:
        try:
            log = open_log(trusted=None if prove_all else progress.log_start)
        except LogCorrupt:
            pass  # the log itself, or what the tables say of it: reading all of it tells
        else:
            if _agrees(progress, log):
                return log, progress
            log.close()  # its beginning was not verified, and is folded now
    return open_log(), None


def _agrees(progress: Progress, log: Log) -> bool:
    """Say whether the tables are of this log: it had their root at their position."""
    return log.durable_root == progress.root
