"""The store's projection: SQLite tables as a fold of the log. Deleting the file costs a refold, never a fact.

Here is what the tables are, how far they say that they have come, and what is asked of them; `_fold` writes them.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from typing import TYPE_CHECKING

import msgspec

from engram import record
from engram.cid import NO_CONTENT
from engram.decoding import UNDECODABLE
from engram.events import LogStart, is_known
from engram.index import Measure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

NAME = "store"
"""The projection's name."""

FOLD_VERSION = 6
"""Raise it when the fold means something else, and every table is folded again."""

EVERYWHERE = b""
"""The key of the tally of all living records, whatever namespaces they are in."""

HAS_CONTENT = f"content != x'{NO_CONTENT.hex()}'"
"""What a query says of `records` that is to use their index by content: records without any are not in it."""

_SCHEMA = (
    """CREATE TABLE projection (
  name TEXT PRIMARY KEY, fold_version INTEGER NOT NULL, position INTEGER NOT NULL, root BLOB NOT NULL,
  digest BLOB NOT NULL, skipped BLOB NOT NULL, body_tail INTEGER NOT NULL, log_start BLOB NOT NULL
) WITHOUT ROWID""",
    "CREATE TABLE bodies (id BLOB PRIMARY KEY, kind INTEGER NOT NULL, location INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE namespaces (
  ns BLOB PRIMARY KEY, owner BLOB NOT NULL, name TEXT NOT NULL, model_version TEXT NOT NULL, dim INTEGER NOT NULL,
  position INTEGER NOT NULL
) WITHOUT ROWID""",
    """CREATE TABLE records (
  digest BLOB PRIMARY KEY, payload BLOB NOT NULL, content BLOB NOT NULL, metadata BLOB NOT NULL,
  model_version TEXT NOT NULL, indexed INTEGER NOT NULL, parent BLOB, lives INTEGER NOT NULL
) WITHOUT ROWID""",
    f"CREATE INDEX records_by_content ON records (content, metadata, model_version) WHERE {HAS_CONTENT}",
    "CREATE INDEX records_by_parent ON records (parent) WHERE parent IS NOT NULL",
    """CREATE TABLE memberships (
  position INTEGER PRIMARY KEY, ns BLOB NOT NULL, digest BLOB NOT NULL, signer BLOB NOT NULL,
  alive INTEGER NOT NULL, issued INTEGER NOT NULL, location INTEGER NOT NULL, indexed INTEGER NOT NULL,
  chunk INTEGER NOT NULL
)""",
    "CREATE UNIQUE INDEX memberships_by_record ON memberships (ns, digest, signer)",
    # By the last two nothing is looked up: at a start the locations of all that lives are read from the index alone.
    "CREATE INDEX memberships_by_position ON memberships (ns, position, location, indexed) WHERE alive",
    # Of the memberships that ended so that the record is to be erased. `position`: of the event that said so.
    """CREATE TABLE erasures (
  digest BLOB NOT NULL, ns BLOB NOT NULL, signer BLOB NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (digest, ns, signer)
) WITHOUT ROWID""",
    "CREATE TABLE tallies (ns BLOB PRIMARY KEY, records INTEGER NOT NULL, chunks INTEGER NOT NULL) WITHOUT ROWID",
    # `digest`: of the CID that the key names, empty where it names none any more.
    """CREATE TABLE heads (
  k BLOB PRIMARY KEY, ns BLOB NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, position INTEGER NOT NULL,
  issued INTEGER NOT NULL
) WITHOUT ROWID""",
    "CREATE INDEX heads_by_key ON heads (ns, key) WHERE digest != x''",
    """CREATE TABLE versions (
  position INTEGER PRIMARY KEY, k BLOB NOT NULL, digest BLOB NOT NULL, issued INTEGER NOT NULL, signer BLOB NOT NULL
)""",
    "CREATE INDEX versions_by_key ON versions (k, position)",
    """CREATE TABLE recalls (
  ns BLOB PRIMARY KEY, mode TEXT NOT NULL, queries INTEGER NOT NULL, expected INTEGER NOT NULL, found INTEGER NOT NULL,
  widening INTEGER NOT NULL
) WITHOUT ROWID""",
)
# `indexed`: it has a vector, and is no document, whose chunks are found in its place. A membership repeats it, and the
# record's location, and whether it has a parent: reading all of a namespace's looks at no other table for each. A dead
# one says 0 of all three, and what was erased has no row in `bodies` and `records`: a later fold would not know.
FOLDED = ("bodies", "namespaces", "records", "memberships", "erasures", "heads", "versions", "tallies", "recalls")
"""The tables whose rows the state digest is taken over.

`bodies` is among them though it is a fold of the body segments, not of the log: the same segments give the same rows,
and a location that went wrong makes a record another one.
"""


class Progress(msgspec.Struct, frozen=True):
    """How far the tables have come: the log's size and root there, the digest of their rows, and what they passed over.

    `skipped`: the types of events that this build did not know. Beside it stand the bodies' tail, and the state before
    the log's last segment.
    """

    position: int
    root: bytes
    digest: bytes
    skipped: frozenset[str]
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


class Head(msgspec.Struct, frozen=True):
    """A key, and what it names: the digest of a CID, empty where that was removed. Since `position`."""

    key: str
    digest: bytes
    position: int
    issued: int


class Version(msgspec.Struct, frozen=True):
    """What a key has named from `position` on, empty where that was removed, and who said so."""

    position: int
    digest: bytes
    issued: int
    signer: bytes


def prepare(connection: sqlite3.Connection) -> Progress | None:
    """Give how far the tables have come, or None where they are to be reset and folded.

    So are those that are missing, or of another fold version, or lack events that they skipped and this build knows.
    """
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'projection'").fetchone()
    if not found or connection.execute("SELECT fold_version FROM projection").fetchone() != (FOLD_VERSION,):
        return None
    try:
        progress = progress_of(connection)
    except UNDECODABLE:  # damage, which folding again mends
        return None
    return progress if progress and not any(is_known(skipped) for skipped in progress.skipped) else None


def progress_of(connection: sqlite3.Connection) -> Progress | None:
    """Give what the tables say of themselves. `UNDECODABLE` where it cannot be read."""
    row = connection.execute(
        "SELECT position, root, digest, skipped, body_tail, log_start FROM projection WHERE name = ?", (NAME,)
    ).fetchone()
    if row is None:
        return None
    position, root, digest, skipped, body_tail, log_start = row
    return Progress(
        position,
        root,
        digest,
        msgspec.msgpack.decode(skipped, type=frozenset[str]),
        body_tail,
        msgspec.msgpack.decode(log_start, type=LogStart),
    )


def reset(connection: sqlite3.Connection) -> None:
    """Drop every table and make them empty."""
    for table in ("projection", *FOLDED):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA:
        connection.execute(statement)


def expect_much(connection: sqlite3.Connection) -> None:
    """Keep in memory what a fold of the whole log touches again and again: SQLite's 2 MB would go to disk and back."""
    connection.execute("PRAGMA cache_size=-131072")


def expect_little(connection: sqlite3.Connection) -> None:
    """Be as sparing with memory as before."""
    connection.execute("PRAGMA cache_size=-2000")
    connection.execute("PRAGMA shrink_memory")


def advance(connection: sqlite3.Connection, progress: Progress) -> None:
    """Record how far the tables have come, in the transaction of their rows."""
    connection.execute(
        "INSERT OR REPLACE INTO projection VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            NAME,
            FOLD_VERSION,
            progress.position,
            progress.root,
            progress.digest,
            msgspec.msgpack.encode(sorted(progress.skipped)),
            progress.body_tail,
            msgspec.msgpack.encode(progress.log_start),
        ),
    )


def membership(connection: sqlite3.Connection, ns: bytes, digest: bytes, signer: bytes) -> Membership | None:
    """Give a membership, alive or dead."""
    row = connection.execute(
        "SELECT position, alive, issued FROM memberships WHERE ns = ? AND digest = ? AND signer = ?",
        (ns, digest, signer),
    ).fetchone()
    return Membership(row[0], bool(row[1]), row[2]) if row else None


_LENGTHS = struct.Struct("<4xBxHIH")
_VECTOR_AT = 64


class View:
    """The parts of a payload, each as a slice of it. Formats §2. ValueError for what is too short to be one.

    Nothing else is looked at: where the payload is not known to be right, the slices may be short or empty.
    """

    __slots__ = ("_blob_at", "_data", "_metadata_at", "_version_at", "dim", "flags")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        try:
            self.flags, self.dim, metadata_bytes, version_bytes = _LENGTHS.unpack_from(data)
        except struct.error:
            raise ValueError(f"a payload has at least {_LENGTHS.size} bytes, not {len(data)}") from None
        self._metadata_at = _VECTOR_AT + 4 * self.dim
        self._version_at = self._metadata_at + metadata_bytes
        self._blob_at = self._version_at + version_bytes

    @property
    def size(self) -> int:
        """The payload's size in bytes."""
        return len(self._data)

    @property
    def content(self) -> bytes | memoryview:
        """The hash of the content."""
        return self._data[32:_VECTOR_AT]

    @property
    def embedding(self) -> bytes | memoryview:
        """Little-endian float32."""
        return self._data[_VECTOR_AT : self._metadata_at]

    @property
    def metadata(self) -> bytes | memoryview:
        """Canonical JSON."""
        return self._data[self._metadata_at : self._version_at]

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


def chunks_of(
    connection: sqlite3.Connection, ns: bytes, signer: bytes, document: bytes, *, dead: bool = False
) -> list[bytes]:
    """Give the chunks of a document, in the order in which they came, whose membership of this signer is alive.

    `dead`: those too whose membership has ended, and whose erasure this signer has not asked for.
    """
    # CROSS JOIN: from the document's chunks to their memberships, and not from all of the namespace's.
    rows = connection.execute(
        """SELECT m.digest FROM records r CROSS JOIN memberships m ON m.digest = r.digest
           WHERE r.parent = ? AND m.ns = ? AND m.signer = ? AND m.alive >= ? ORDER BY m.position""",
        (document, ns, signer, not dead),
    )
    found = [digest for (digest,) in rows]
    return [chunk for chunk in found if asked_to_erase(connection, ns, chunk, signer) is None] if dead else found


def chunk_locations(connection: sqlite3.Connection, ns: bytes, document: bytes) -> list[int]:
    """Give where the bodies of a document's living chunks are."""
    rows = connection.execute(
        """SELECT m.location FROM records r CROSS JOIN memberships m ON m.digest = r.digest
           WHERE r.parent = ? AND m.ns = ? AND m.alive""",
        (document, ns),
    )
    return [location for (location,) in rows]


def asked_to_erase(connection: sqlite3.Connection, ns: bytes, digest: bytes, signer: bytes | None) -> int | None:
    """Give the position of the last event by which a signer, or anybody, ended a membership to have it erased."""
    row = connection.execute(
        "SELECT max(position) FROM erasures WHERE digest = ?1 AND ns = ?2 AND (signer = ?3 OR ?3 IS NULL)",
        (digest, ns, signer),
    ).fetchone()
    position: int | None = row[0]
    return position


def ended_by(connection: sqlite3.Connection, ns: bytes, digest: bytes, limit: int) -> list[bytes]:
    """Give whose memberships of a record have ended without its erasure, at most `limit` of them."""
    rows = connection.execute(
        """SELECT m.signer FROM memberships m INDEXED BY memberships_by_record
           WHERE m.ns = ? AND m.digest = ? AND NOT m.alive AND NOT EXISTS (
             SELECT 1 FROM erasures e WHERE e.digest = m.digest AND e.ns = m.ns AND e.signer = m.signer)
           ORDER BY m.signer LIMIT ?""",
        (ns, digest, limit),
    )
    return [signer for (signer,) in rows]


def ended(connection: sqlite3.Connection, ns: bytes, after: bytes, limit: int) -> list[bytes]:
    """Give the records behind `after` of which memberships in a namespace have ended, and whose bodies are kept."""
    rows = connection.execute(
        """SELECT DISTINCT m.digest FROM memberships m INDEXED BY memberships_by_record
           WHERE m.ns = ? AND m.digest > ? AND NOT m.alive
             AND EXISTS (SELECT 1 FROM records r WHERE r.digest = m.digest AND r.parent IS NULL)
             AND NOT EXISTS (
               SELECT 1 FROM erasures e WHERE e.digest = m.digest AND e.ns = m.ns AND e.signer = m.signer)
           ORDER BY m.digest LIMIT ?""",
        (ns, after, limit),
    )
    return [digest for (digest,) in rows]


def lives_in(connection: sqlite3.Connection, digest: bytes, namespaces: Iterable[bytes]) -> bool:
    """Say whether a record lives in one of these namespaces."""
    return any(signers_of(connection, ns, digest, 1) for ns in namespaces)


def signers_of(connection: sqlite3.Connection, ns: bytes, digest: bytes, limit: int = -1) -> list[bytes]:
    """Give whose memberships of a record are alive in a namespace, at most `limit` of them."""
    # Without the index named, SQLite walks the whole namespace by the one that has the order.
    rows = connection.execute(
        """SELECT signer FROM memberships INDEXED BY memberships_by_record
           WHERE ns = ? AND digest = ? AND alive ORDER BY signer LIMIT ?""",
        (ns, digest, limit),
    )
    return [signer for (signer,) in rows]


def members(connection: sqlite3.Connection, ns: bytes, most: int) -> list[tuple[bytes, bytes]]:
    """Give (digest, signer) of some memberships that are alive in a namespace, but for those of chunks.

    With the chunks of long texts, which go with them, they are not more than `most`, or one of them is.
    """
    rows = connection.execute(
        """SELECT m.digest, m.signer, m.indexed FROM memberships m INDEXED BY memberships_by_position
           WHERE m.ns = ? AND m.alive AND NOT m.chunk ORDER BY m.position LIMIT ?""",
        (ns, most),
    )
    found: list[tuple[bytes, bytes]] = []
    size = 0
    for digest, signer, indexed in rows:
        size += 1 if indexed else 1 + len(chunks_of(connection, ns, signer, digest))  # a document is in no index
        if found and size > most:
            break
        found.append((digest, signer))
    return found


def erasures(connection: sqlite3.Connection, digest: bytes) -> list[int]:
    """Give the positions of the deletions that asked for a record's erasure, and still hold, lowest first."""
    rows = connection.execute("SELECT position FROM erasures WHERE digest = ? ORDER BY position", (digest,))
    return [position for (position,) in rows]


def erases(connection: sqlite3.Connection) -> bool:
    """Say whether anybody wants anything erased."""
    return connection.execute("SELECT 1 FROM erasures LIMIT 1").fetchone() is not None


def standing_though_erased(connection: sqlite3.Connection) -> list[bytes]:
    """Give the records that are erased, and whose body stands somewhere all the same."""
    rows = connection.execute(
        """SELECT DISTINCT e.digest FROM erasures e CROSS JOIN bodies b ON b.id = e.digest
           WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.digest = e.digest)"""
    )
    return [digest for (digest,) in rows]


def erased_by(connection: sqlite3.Connection, digest: bytes) -> list[int]:
    """Give the positions of the deletions for which a record is erased, lowest first; none while it is not."""
    kept = connection.execute("SELECT 1 FROM records WHERE digest = ?", (digest,)).fetchone()
    return [] if kept else erasures(connection, digest)


def is_empty(connection: sqlite3.Connection, ns: bytes) -> bool:
    """Say whether no membership and no key of a namespace is alive."""
    found = connection.execute(
        """SELECT EXISTS (SELECT 1 FROM memberships INDEXED BY memberships_by_position WHERE ns = ?1 AND alive)
               OR EXISTS (SELECT 1 FROM heads WHERE ns = ?1 AND digest != x'')""",
        (ns,),
    ).fetchone()
    return not found[0]


def head(connection: sqlite3.Connection, k: bytes) -> Head | None:
    """Give what a key names, or named until it was removed."""
    row = connection.execute("SELECT key, digest, position, issued FROM heads WHERE k = ?", (k,)).fetchone()
    return Head(*row) if row else None


def heads(connection: sqlite3.Connection, ns: bytes, prefix: str, after: str | None, limit: int) -> list[Head]:
    """Give the first keys of a namespace behind `after` that begin with `prefix`, in the order of their bytes."""
    # Two bounds from below would be one too many for SQLite, which walks from the first of them.
    behind = after is not None and after.encode() >= prefix.encode()
    rows = connection.execute(
        f"""SELECT key, digest, position, issued FROM heads INDEXED BY heads_by_key
            WHERE ns = ? AND digest != x'' AND key {">" if behind else ">="} ? ORDER BY key LIMIT ?""",  # noqa: S608
        (ns, after if behind else prefix, limit),
    )
    return [Head(*row) for row in itertools.takewhile(lambda row: row[0].startswith(prefix), rows)]


def versions(connection: sqlite3.Connection, k: bytes, after: int, limit: int) -> list[Version]:
    """Give the first versions of a key behind position `after`, oldest first."""
    rows = connection.execute(
        """SELECT position, digest, issued, signer FROM versions INDEXED BY versions_by_key
           WHERE k = ? AND position > ? ORDER BY position LIMIT ?""",
        (k, after, limit),
    )
    return [Version(*row) for row in rows]


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


def measures(connection: sqlite3.Connection) -> Iterator[tuple[bytes, Measure]]:
    """Give what was last measured of each namespace's recall."""
    for ns, *measured in connection.execute("SELECT ns, mode, queries, expected, found, widening FROM recalls"):
        yield ns, Measure(*measured)


def locations_to_index(connection: sqlite3.Connection) -> dict[bytes, array[int]]:
    """Give, of each namespace, the locations of the records that a query may find; of some twice, for two signers."""
    # As text, put together by SQLite: a row a record would take three times as long.
    rows = connection.execute(
        """SELECT ns, group_concat(location) FROM memberships INDEXED BY memberships_by_position
           WHERE alive AND indexed GROUP BY ns"""
    )
    return {ns: array("Q", msgspec.json.decode(f"[{locations}]", type=list[int])) for ns, locations in rows}


def rows_to_index(
    connection: sqlite3.Connection, ns: bytes, *, least: int = 0, limit: int = -1
) -> list[tuple[bytes, int]]:
    """Give (digest, location) of a namespace's records that a query may find, where the location is `least` or more.

    `limit`: of so many memberships only.
    """
    # By the index, which has the location: the digest is looked up for those alone that are wanted.
    rows = connection.execute(
        """SELECT digest, location FROM memberships INDEXED BY memberships_by_position
           WHERE ns = ? AND alive AND indexed AND location >= ? ORDER BY position LIMIT ?""",
        (ns, least, limit),
    ).fetchall()
    return list(dict(rows).items())  # once, however many signers put it
