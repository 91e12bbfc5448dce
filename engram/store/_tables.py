"""The store's projection: SQLite tables as a fold of the log. Deleting the file costs a refold, never a fact.

Memberships obey formats §8: per (namespace, CID, signer) the later operation wins; at a tie a delete beats a put, then
the higher CID. A record lives while a membership does.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram import record
from engram.documents import role_of
from engram.errors import BodiesCorrupt
from engram.events import AnyEvent, LogStart, NamespaceCreated, RecordDeleted, RecordStored, Unknown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

FOLD_VERSION = 2
"""Raise it when `fold` means something else, and every table is folded again."""

EVERYWHERE = b""
"""The key of the tally of all living records, whatever namespaces they are in."""

_SCHEMA = """
CREATE TABLE projection (
  one INTEGER PRIMARY KEY CHECK (one = 1), fold_version INTEGER NOT NULL, position INTEGER NOT NULL,
  root BLOB NOT NULL, body_tail INTEGER NOT NULL, log_start BLOB NOT NULL
);
CREATE TABLE bodies (id BLOB PRIMARY KEY, kind INTEGER NOT NULL, location INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE namespaces (
  ns BLOB PRIMARY KEY, owner BLOB NOT NULL, name TEXT NOT NULL, model_version TEXT NOT NULL, dim INTEGER NOT NULL,
  position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE records (
  digest BLOB PRIMARY KEY, payload BLOB NOT NULL, content BLOB NOT NULL, metadata BLOB NOT NULL,
  model_version TEXT NOT NULL, indexed INTEGER NOT NULL, parent BLOB, lives INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX records_by_content ON records (content, metadata, model_version);
CREATE INDEX records_by_parent ON records (parent) WHERE parent IS NOT NULL;
CREATE TABLE memberships (
  position INTEGER PRIMARY KEY, ns BLOB NOT NULL, digest BLOB NOT NULL, signer BLOB NOT NULL,
  alive INTEGER NOT NULL, issued INTEGER NOT NULL, location INTEGER NOT NULL, indexed INTEGER NOT NULL,
  chunk INTEGER NOT NULL
);
CREATE UNIQUE INDEX memberships_by_record ON memberships (ns, digest, signer);
CREATE INDEX memberships_by_position ON memberships (ns, position) WHERE alive;
CREATE TABLE tallies (ns BLOB PRIMARY KEY, records INTEGER NOT NULL, chunks INTEGER NOT NULL) WITHOUT ROWID;
"""
# `indexed`: it has a vector, and is no document, whose chunks are found in its place. A membership repeats it, and the
# record's location, and whether it has a parent: reading all of a namespace's looks at no other table for each.
_TABLES = ("projection", "bodies", "namespaces", "records", "memberships", "tallies")


class Progress(msgspec.Struct, frozen=True):
    """How far the tables have come: the log's size and root there, the bodies' tail, and the log's last segment."""

    position: int
    root: bytes
    body_tail: int
    log_start: LogStart


class Change(msgspec.Struct, frozen=True):
    """A record became visible in a namespace, or stopped being so. `indexed`: a query may find it."""

    ns: bytes
    digest: bytes
    visible: bool
    location: int
    indexed: bool


class Count(msgspec.Struct, frozen=True):
    """Living records, and how many of them are chunks of long texts."""

    records: int = 0
    chunks: int = 0


class Membership(msgspec.Struct, frozen=True):
    """What a signer has said last of a record in a namespace."""

    position: int
    alive: bool
    issued: int


def wins(issued: int, digest: bytes, other_issued: int, other_digest: bytes, *, delete: bool, other: bool) -> bool:
    """Say whether an operation wins over another on the same membership; `delete` and `other` say which are deletes."""
    return (issued, delete, digest) > (other_issued, other, other_digest)


def prepare(connection: sqlite3.Connection) -> Progress | None:
    """Make the tables, anew where another fold version wrote them; give how far they have come."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'projection'").fetchone()
    if found:
        row = connection.execute("SELECT fold_version, position, root, body_tail, log_start FROM projection").fetchone()
        if row and row[0] == FOLD_VERSION:
            with contextlib.suppress(msgspec.DecodeError):  # damage, which folding again mends
                return Progress(row[1], row[2], row[3], msgspec.msgpack.decode(row[4], type=LogStart))
    reset(connection)
    return None


def reset(connection: sqlite3.Connection) -> None:
    """Drop every table and make them empty."""
    for table in _TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.executescript(_SCHEMA)


def advance(connection: sqlite3.Connection, progress: Progress) -> None:
    """Record how far the tables have come, in the transaction of their rows."""
    connection.execute(
        "INSERT OR REPLACE INTO projection VALUES (1, ?, ?, ?, ?, ?)",
        (
            FOLD_VERSION,
            progress.position,
            progress.root,
            progress.body_tail,
            msgspec.msgpack.encode(progress.log_start),
        ),
    )


def add_body(connection: sqlite3.Connection, body_id: bytes, kind: int, location: int) -> None:
    """Record where a body is; the first place of an id counts."""
    connection.execute("INSERT OR IGNORE INTO bodies VALUES (?, ?, ?)", (body_id, kind, location))


def body_location(connection: sqlite3.Connection, body_id: bytes) -> int | None:
    """Give where a body is."""
    row = connection.execute("SELECT location FROM bodies WHERE id = ?", (body_id,)).fetchone()
    return row[0] if row else None


def _body_named(connection: sqlite3.Connection, body_id: bytes, position: int) -> int:
    location = body_location(connection, body_id)
    if location is None:
        raise BodiesCorrupt(
            f"event {position} names the body {body_id.hex()}, which no segment holds; restore bodies from a backup"
        )
    return location


def membership(connection: sqlite3.Connection, ns: bytes, digest: bytes, signer: bytes) -> Membership | None:
    """Give a membership, alive or dead."""
    row = connection.execute(
        "SELECT position, alive, issued FROM memberships WHERE ns = ? AND digest = ? AND signer = ?",
        (ns, digest, signer),
    ).fetchone()
    return Membership(row[0], bool(row[1]), row[2]) if row else None


def fold(
    connection: sqlite3.Connection, position: int, event: AnyEvent | Unknown, read: Callable[[int], memoryview]
) -> Change | None:
    """Fold one event into the tables. `read` gives a body by location."""
    match event:
        case RecordStored():
            return _stored(connection, position, event, read)
        case RecordDeleted():
            return _deleted(connection, position, event)
        case NamespaceCreated():
            _namespace(connection, position, event, read)
    return None


def _namespace(
    connection: sqlite3.Connection, position: int, event: NamespaceCreated, read: Callable[[int], memoryview]
) -> None:
    location = _body_named(connection, event.name, position)
    name = msgspec.json.decode(bytes(read(location)))["name"]
    connection.execute(
        "INSERT OR IGNORE INTO namespaces VALUES (?, ?, ?, ?, ?, ?)",
        (event.ns, event.owner, name, event.model_version, event.dim, position),
    )


def _stored(
    connection: sqlite3.Connection, position: int, event: RecordStored, read: Callable[[int], memoryview]
) -> Change | None:
    digest = cids.digest_of(event.cid)
    before = membership(connection, event.ns, digest, event.signer)
    if before is not None:
        if not wins(event.issued_unix_ms, digest, before.issued, digest, delete=False, other=not before.alive):
            return None
        if before.alive:
            connection.execute(
                "UPDATE memberships SET issued = ? WHERE position = ?", (event.issued_unix_ms, before.position)
            )
            return None
        connection.execute("DELETE FROM memberships WHERE position = ?", (before.position,))
    location, indexed, chunk = _remember(connection, position, digest, event.payload, read)
    connection.execute(
        "INSERT INTO memberships VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)",
        (position, event.ns, digest, event.signer, event.issued_unix_ms, location, indexed, chunk),
    )
    if _alive(connection, event.ns, digest) > 1:
        return None
    _tally(connection, event.ns, 1, chunk)
    return Change(event.ns, digest, True, location, indexed)


def _deleted(connection: sqlite3.Connection, position: int, event: RecordDeleted) -> Change | None:
    digest = cids.digest_of(event.cid)
    before = membership(connection, event.ns, digest, event.signer)
    if before is None:
        connection.execute(
            "INSERT INTO memberships VALUES (?, ?, ?, ?, 0, ?, 0, 0, 0)",
            (position, event.ns, digest, event.signer, event.issued_unix_ms),
        )
        return None
    if not wins(event.issued_unix_ms, digest, before.issued, digest, delete=True, other=not before.alive):
        return None
    location, indexed, chunk = connection.execute(
        "UPDATE memberships SET alive = 0, issued = ? WHERE position = ? RETURNING location, indexed, chunk",
        (event.issued_unix_ms, before.position),
    ).fetchone()
    if not before.alive:
        return None
    [lives] = connection.execute(
        "UPDATE records SET lives = lives - 1 WHERE digest = ? RETURNING lives", (digest,)
    ).fetchone()
    if lives == 0:
        _tally(connection, EVERYWHERE, -1, chunk)
    if _alive(connection, event.ns, digest):
        return None
    _tally(connection, event.ns, -1, chunk)
    return Change(event.ns, digest, False, location, bool(indexed))


def _alive(connection: sqlite3.Connection, ns: bytes, digest: bytes) -> int:
    count: int = connection.execute(
        "SELECT count(*) FROM memberships WHERE ns = ? AND digest = ? AND alive", (ns, digest)
    ).fetchone()[0]
    return count


def _tally(connection: sqlite3.Connection, ns: bytes, change: int, chunk: bool) -> None:  # noqa: FBT001 (a column)
    connection.execute(
        """INSERT INTO tallies VALUES (?1, ?2, ?3)
           ON CONFLICT (ns) DO UPDATE SET records = records + ?2, chunks = chunks + ?3""",
        (ns, change, change * chunk),
    )


def _remember(
    connection: sqlite3.Connection, position: int, digest: bytes, payload_hash: bytes, read: Callable[[int], memoryview]
) -> tuple[int, bool, bool]:
    """Count one more life of a record, its row made at the first; give its location, and if it is indexed, a chunk."""
    location = _body_named(connection, digest, position)
    # Not `RETURNING parent IS NOT NULL`: SQLite 3.40 says 1 of a NULL there.
    row = connection.execute(
        "UPDATE records SET lives = lives + 1 WHERE digest = ? RETURNING indexed, parent, lives", (digest,)
    ).fetchone()
    indexed, parent, lives = row or (*_make(connection, digest, payload_hash, View(read(location))), 1)
    if lives == 1:
        _tally(connection, EVERYWHERE, 1, parent is not None)
    return location, bool(indexed), parent is not None


def _make(connection: sqlite3.Connection, digest: bytes, payload_hash: bytes, view: View) -> tuple[bool, bytes | None]:
    metadata = bytes(view.metadata)
    role = role_of(metadata)
    indexed = view.dim > 0 and not role.document
    connection.execute(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        (
            digest,
            payload_hash,
            bytes(view.content),
            hashlib.sha256(metadata).digest(),
            view.model_version,
            indexed,
            role.parent,
        ),
    )
    return indexed, role.parent


class View:
    """The parts of a payload that is known to be right, without copying it. Formats §2."""

    __slots__ = ("_data", "_metadata_at", "_version_at", "dim")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.dim = int.from_bytes(data[6:8], "little")
        self._metadata_at = 64 + 4 * self.dim
        self._version_at = self._metadata_at + int.from_bytes(data[8:12], "little")

    @property
    def size(self) -> int:
        """The payload's size in bytes."""
        return len(self._data)

    @property
    def flags(self) -> int:
        """The payload's flags."""
        return self._data[4]

    @property
    def content(self) -> memoryview:
        """The hash of the content."""
        return self._data[32:64]

    @property
    def embedding(self) -> memoryview:
        """Little-endian float32."""
        return self._data[64 : self._metadata_at]

    @property
    def metadata(self) -> memoryview:
        """Canonical JSON."""
        return self._data[self._metadata_at : self._version_at]

    @property
    def _blob_at(self) -> int:
        return self._version_at + int.from_bytes(self._data[12:14], "little")

    @property
    def model_version(self) -> str:
        """The model version."""
        return str(self._data[self._version_at : self._blob_at], "ascii")

    @property
    def text(self) -> str | None:
        """The text, where there is one."""
        return record.text_of(self.flags, self._data[self._blob_at :])


def parent_of(connection: sqlite3.Connection, digest: bytes) -> bytes | None:
    """Give the document that a record is a chunk of; None where it is none."""
    row = connection.execute("SELECT parent FROM records WHERE digest = ?", (digest,)).fetchone()
    return row[0] if row else None


def chunks_of(connection: sqlite3.Connection, ns: bytes, signer: bytes, document: bytes) -> list[bytes]:
    """Give the chunks of a document, in the order in which they came, whose membership of this signer is alive."""
    # CROSS JOIN: from the document's chunks to their memberships, and not from all of the namespace's.
    rows = connection.execute(
        """SELECT m.digest FROM records r CROSS JOIN memberships m ON m.digest = r.digest
           WHERE r.parent = ? AND m.ns = ? AND m.signer = ? AND m.alive ORDER BY m.position""",
        (document, ns, signer),
    )
    return [digest for (digest,) in rows]


def visible_records(
    connection: sqlite3.Connection, ns: bytes, *, chunks: bool = True, after: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Give (digest, location, position) of a namespace's records, with chunks or without, in the order they came in.

    `after`: only those of later positions; the index goes there at once.
    """
    # Without the index named, SQLite looks for the other memberships among all that came earlier: quadratic.
    yield from connection.execute(
        """SELECT m.digest, m.location, m.position FROM memberships m INDEXED BY memberships_by_position
           WHERE m.ns = ? AND m.alive AND m.position > ? AND m.chunk <= ? AND NOT EXISTS (
             SELECT 1 FROM memberships o INDEXED BY memberships_by_record
             WHERE o.ns = m.ns AND o.digest = m.digest AND o.alive AND o.position < m.position)
           ORDER BY m.position""",
        (ns, after, chunks),
    )


def rows_to_index(connection: sqlite3.Connection, ns: bytes) -> list[tuple[bytes, int]]:
    """Give (digest, location) of a namespace's records that a query may find."""
    rows = connection.execute(
        "SELECT digest, location FROM memberships WHERE ns = ? AND alive AND indexed ORDER BY position", (ns,)
    ).fetchall()
    return list(dict(rows).items())  # once, however many signers put it
