"""What events do to the tables: the fold, pure but for the rows it writes.

Memberships obey formats §8: per (namespace, CID, signer) the later operation wins; at a tie a delete beats a put, then
the higher CID. A record lives while a membership does.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

from engram import cid as cids
from engram import record
from engram.documents import role_of
from engram.errors import BodiesCorrupt
from engram.events import (
    AnyEvent,
    KeySet,
    NamespaceCreated,
    NamespaceDeleted,
    RecallMeasured,
    RecordDeleted,
    RecordStored,
    Unknown,
)
from engram.store import _tables as tables
from engram.store._digest import RowDigest, digest_of
from engram.store._frames import ERASED, Body
from engram.store._leaves import Leaves
from engram.store._rows import insert_rows, select_among
from engram.store._tables import EVERYWHERE, FOLDED, Change, Progress, View

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from typing import Any

    from engram.events import LogStart

_EXPECTED = 1024
"""Bodies that are looked up at once."""


def wins(issued: int, digest: bytes, other_issued: int, other_digest: bytes, *, delete: bool, other: bool) -> bool:
    """Say whether an operation wins over another on the same membership; `delete` and `other` say which are deletes."""
    return (issued, delete, digest) > (other_issued, other, other_digest)


class Fold:
    """The one who writes the tables of `connection`, each group of events in a transaction of its caller's.

    `progress`: how far they have come. None: they are empty, and their digest is taken over all rows at the first
    `advance`, which costs less than following each.

    What is new stands beside the tables until somebody looks at them, and goes into them many rows at once; `expect`
    finds out, many at once, what is new. Nothing of that is left after `advance`.
    """

    def __init__(self, connection: sqlite3.Connection, progress: Progress | None) -> None:
        self._connection = connection
        self._digest = RowDigest(connection, FOLDED, progress.digest) if progress else None
        self._skipped = set(progress.skipped if progress else ())
        self._tallied: dict[bytes, tuple[int, int]] = {}
        self._placed: dict[bytes, int] = {}
        self._no_bodies: set[bytes] = set()
        self._no_records: set[bytes] = set()
        self._no_memberships: set[tuple[bytes, bytes, bytes]] = set()
        self._new: dict[str, list[tuple[Any, ...]]] = {}
        self._erasing: set[bytes] = set()
        self._bodyless: dict[bytes, int] = {}
        self._found = False
        self.changes = 0
        """Grows with each change of a row."""
        self._leaves: Leaves | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The tables, with all that was folded."""
        if self._new:
            new, self._new = self._new, {}
            if self._digest is not None:
                self._digest.insert(new)
            else:
                for table, rows in new.items():
                    insert_rows(self._connection, table, rows)
        return self._connection

    @property
    def digest(self) -> bytes:
        """The digest of the rows, as of the last `advance`."""
        assert self._digest is not None, "nothing was folded yet"
        return self._digest.value

    @property
    def skipped(self) -> frozenset[str]:
        """The types of events that this build does not know."""
        return frozenset(self._skipped)

    def watch_leaves(self) -> None:
        """Note from here on what changes in the state tries."""
        self._leaves = Leaves()

    def take_leaves(self) -> Leaves | None:
        """Give what has changed in the state tries since this was asked last; None where nobody watches."""
        if self._leaves is None:
            return None
        taken, self._leaves = self._leaves, Leaves()
        return taken

    def expect(self, puts: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Look up at once what the next puts will ask for one by one: (namespace, digest, signer) of each."""
        wanted: dict[tuple[bytes, bytes], list[bytes]] = {}
        for ns, digest, signer in puts:
            wanted.setdefault((ns, signer), []).append(digest)
        digests = list(dict.fromkeys(digest for of_one in wanted.values() for digest in of_one))
        self._expect_bodies(digests)
        # A record has a body, or is on the way to the event that erased it.
        there = [digest for digest in digests if digest not in self._no_bodies or digest in self._bodyless]
        known = select_among(self.connection, "SELECT digest FROM records WHERE digest IN", there)
        self._no_records = set(digests).difference(digest for (digest,) in known)
        self._no_memberships = set()
        for (ns, signer), of_one in wanted.items():
            known = select_among(
                self.connection,
                """SELECT digest FROM memberships INDEXED BY memberships_by_record
                   WHERE ns = ? AND signer = ? AND digest IN""",
                of_one,
                (ns, signer),
            )
            absent = set(of_one).difference(digest for (digest,) in known)
            self._no_memberships.update((ns, digest, signer) for digest in absent)

    def _expect_bodies(self, ids: list[bytes]) -> None:
        unknown = [body_id for body_id in ids if body_id not in self._placed]
        self._placed.update(select_among(self.connection, "SELECT id, location FROM bodies WHERE id IN", unknown))
        self._no_bodies = {body_id for body_id in unknown if body_id not in self._placed}

    def add_bodies(self, bodies: Iterable[Body]) -> None:
        """Record where bodies are. The last place of an id counts: one is written again only where it was erased."""
        rest = (body for body in bodies if body.kind != ERASED)
        while some := list(itertools.islice(rest, _EXPECTED)):
            self._found = True
            self._expect_bodies([body.id for body in some])
            for body in some:
                self.add_body(body.id, body.kind, body.location)

    def add_body(self, body_id: bytes, kind: int, location: int) -> None:
        """Record where a body is."""
        row = (body_id, kind, location)
        if body_id in self._no_bodies:
            self._no_bodies.discard(body_id)
            self._insert("bodies", row)
            self._placed[body_id] = location
        elif self.location_of(body_id) != location:
            self._write("INSERT OR REPLACE INTO bodies VALUES (?, ?, ?)", row)
            self._placed[body_id] = location

    def location_of(self, body_id: bytes) -> int | None:
        """Give where a body is."""
        if (location := self._placed.get(body_id)) is not None:
            return location
        if body_id in self._no_bodies:
            return None
        row = self.connection.execute("SELECT location FROM bodies WHERE id = ?", (body_id,)).fetchone()
        return row[0] if row else None

    def membership(self, ns: bytes, digest: bytes, signer: bytes) -> tables.Membership | None:
        """Give a membership, alive or dead."""
        if (ns, digest, signer) in self._no_memberships:
            return None
        return tables.membership(self.connection, ns, digest, signer)

    def apply(self, position: int, event: AnyEvent | Unknown, read: Callable[[int], memoryview]) -> Change | None:
        """Fold one event into the tables. `read` gives a body by location."""
        match event:
            case RecordStored():
                return self._stored(position, event, read)
            case RecordDeleted():
                return self._deleted(position, event)
            case NamespaceCreated():
                self._namespace(position, event, read)
            case NamespaceDeleted():
                self._write("DELETE FROM namespaces WHERE ns = ?", (event.ns,))
                self._write("DELETE FROM recalls WHERE ns = ?", (event.ns,))
            case KeySet():
                self._key_set(position, event, read)
            case RecallMeasured():
                self._measured(event)
            case Unknown():
                self._skipped.add(event.type)
        return None

    @property
    def lacks_bodies(self) -> bool:
        """Whether records that were not erased, as far as was folded, have no body."""
        return bool(self._bodyless)

    def is_there(self, digest: bytes) -> bool:
        """Say whether a record was not erased, or lives again."""
        found = self.connection.execute("SELECT 1 FROM records WHERE digest = ?", (digest,)).fetchone()
        return found is not None

    def take_erased(self) -> list[Body]:
        """Give the bodies that were erased by what was folded, to be overwritten before its transaction is committed.

        Raises `BodiesCorrupt` where an event names a body that is erased, and no later one says so.
        """
        for body_id, position in self._bodyless.items():
            raise _no_body(body_id, position)
        if self._found:  # it may be of a put after an erasure, whose event was lost
            self._erasing.update(tables.standing_though_erased(self.connection))
            self._found = False
        erased = [
            Body(*row)
            for digest in sorted(self._erasing)
            for row in self._write("DELETE FROM bodies WHERE id = ? RETURNING id, kind, location", (digest,)).fetchall()
        ]
        self._erasing.clear()
        return erased

    def advance(self, position: int, root: bytes, body_tail: int, log_start: LogStart) -> None:
        """Record how far the tables have come, before the transaction of their rows is committed."""
        connection = self.connection
        self._write_tallies()
        self._forget_expected()
        if self._digest is None:
            self._digest = RowDigest(connection, FOLDED, digest_of(connection, FOLDED))
        digest = self._digest.settle()
        tables.advance(connection, Progress(position, root, digest, self.skipped, body_tail, log_start))

    def forget(self) -> None:
        """Forget what was folded since the last `advance`: its transaction was rolled back."""
        self._tallied.clear()
        self._new.clear()
        self.take_leaves()
        self._erasing.clear()
        self._bodyless.clear()
        self._found = False
        self._forget_expected()
        if self._digest is not None:
            self._digest.forget()

    def _forget_expected(self) -> None:
        self._placed.clear()
        self._no_bodies.clear()
        self._no_records.clear()
        self._no_memberships.clear()

    def _insert(self, table: str, row: tuple[Any, ...]) -> None:
        """Have a row that is not in the tables be in them by the next look."""
        self.changes += 1
        self._new.setdefault(table, []).append(row)

    def _write(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        self.changes += 1
        return self.connection.execute(statement, values)

    def _namespace(self, position: int, event: NamespaceCreated, read: Callable[[int], memoryview]) -> None:
        name = self._patch(event.name, "name", position, read)
        self._write(
            "INSERT OR IGNORE INTO namespaces VALUES (?, ?, ?, ?, ?, ?)",
            (event.ns, event.owner, name, event.model_version, event.dim, position),
        )

    def _key_set(self, position: int, event: KeySet, read: Callable[[int], memoryview]) -> None:
        digest = cids.digest_of(event.cid) if event.cid else b""
        before = tables.head(self.connection, event.k)
        if before is not None and not wins(
            event.issued_unix_ms,
            digest,
            before.issued,
            before.digest,
            delete=not digest,
            other=not before.digest,
        ):
            return
        key = before.key if before else self._patch(event.key, "key", position, read)
        issued = event.issued_unix_ms
        self._write(
            "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?, ?)",
            (event.k, event.ns, key, digest, position, issued),
        )
        self._write("INSERT INTO versions VALUES (?, ?, ?, ?, ?)", (position, event.k, digest, issued, event.signer))
        if self._leaves is not None:
            self._leaves.heads[event.k] = digest

    def _patch(self, body_id: bytes, name: str, position: int, read: Callable[[int], memoryview]) -> str:
        data = bytes(read(self._body_named(body_id, position)))
        if hashlib.sha256(data).digest() != body_id:
            raise BodiesCorrupt(
                f"the body {body_id.hex()}, which event {position} names, is not what was written; restore bodies from "
                "a backup"
            )
        text = record.text_in_patch(data, name)
        if text is None:
            raise BodiesCorrupt(f"the body {body_id.hex()}, which event {position} names, is no patch with a {name}")
        return text

    def _measured(self, event: RecallMeasured) -> None:
        row = (event.ns, event.mode, event.queries, event.expected, event.found, event.widening)
        self.connection.execute("INSERT OR REPLACE INTO recalls VALUES (?, ?, ?, ?, ?, ?)", row)

    def _stored(self, position: int, event: RecordStored, read: Callable[[int], memoryview]) -> Change | None:
        digest = cids.digest_of(event.cid)
        before = self.membership(event.ns, digest, event.signer)
        if before is not None:
            if not wins(event.issued_unix_ms, digest, before.issued, digest, delete=False, other=not before.alive):
                return None
            if before.alive:
                self._write(
                    "UPDATE memberships SET issued = ? WHERE position = ?", (event.issued_unix_ms, before.position)
                )
                return None
            self._write("DELETE FROM memberships WHERE position = ?", (before.position,))
            self._write(
                "DELETE FROM erasures WHERE digest = ? AND ns = ? AND signer = ?", (digest, event.ns, event.signer)
            )
        location, indexed, chunk, lives = self._remember(position, digest, event.payload, read)
        self._insert_membership(position, event, digest, (1, event.issued_unix_ms, location, int(indexed), int(chunk)))
        if lives > 1 and self._alive(event.ns, digest) > 1:
            return None
        self._tally(event.ns, 1, chunk)
        return Change(event.ns, digest, True, location, indexed)

    def _deleted(self, position: int, event: RecordDeleted) -> Change | None:
        digest = cids.digest_of(event.cid)
        before = self.membership(event.ns, digest, event.signer)
        if before is None:
            self._insert_membership(position, event, digest, (0, event.issued_unix_ms, 0, 0, 0))
            return None
        if not wins(event.issued_unix_ms, digest, before.issued, digest, delete=True, other=not before.alive):
            return None
        location, indexed, chunk = self._end_membership(before.position, event.issued_unix_ms)
        if event.erase:
            self._write(
                "INSERT OR REPLACE INTO erasures VALUES (?, ?, ?, ?)", (digest, event.ns, event.signer, position)
            )
        if not before.alive:
            self._erase_dead(digest)
            return None
        [lives] = self._write(
            "UPDATE records SET lives = lives - 1 WHERE digest = ? RETURNING lives", (digest,)
        ).fetchone()
        if lives == 0:
            self._tally(EVERYWHERE, -1, chunk)
            if self._leaves is not None:
                self._leaves.records[digest] = None
            self._erase_dead(digest)
        elif self._alive(event.ns, digest):
            return None
        self._tally(event.ns, -1, chunk)
        return Change(event.ns, digest, False, location, indexed)

    def _end_membership(self, position: int, issued: int) -> tuple[int, bool, bool]:
        """Have a membership be dead; give what it said of its record: location, indexed, chunk.

        It says that no more: a fold that comes after the record was erased would not know.
        """
        location, indexed, chunk = self.connection.execute(
            "SELECT location, indexed, chunk FROM memberships WHERE position = ?", (position,)
        ).fetchone()
        self._write(
            "UPDATE memberships SET alive = 0, issued = ?, location = 0, indexed = 0, chunk = 0 WHERE position = ?",
            (issued, position),
        )
        return location, bool(indexed), bool(chunk)

    def _erase_dead(self, digest: bytes) -> None:
        """Forget a record that lives nowhere, if one of those who held it wants it erased."""
        if tables.erasures(self.connection, digest):
            gone = self._write("DELETE FROM records WHERE digest = ? AND lives = 0", (digest,)).rowcount
            if gone:
                self._erasing.add(digest)
                self._bodyless.pop(digest, None)

    def _insert_membership(
        self, position: int, event: RecordStored | RecordDeleted, digest: bytes, rest: tuple[int, ...]
    ) -> None:
        self._no_memberships.discard((event.ns, digest, event.signer))
        self._insert("memberships", (position, event.ns, digest, event.signer, *rest))

    def _alive(self, ns: bytes, digest: bytes) -> int:
        count: int = self.connection.execute(
            "SELECT count(*) FROM memberships WHERE ns = ? AND digest = ? AND alive", (ns, digest)
        ).fetchone()[0]
        return count

    def _tally(self, ns: bytes, change: int, chunk: bool) -> None:  # noqa: FBT001 (a column)
        records, chunks = self._tallied.get(ns, (0, 0))
        self._tallied[ns] = records + change, chunks + change * chunk

    def _write_tallies(self) -> None:
        """Write what has changed in the group, a row a namespace and not one an event."""
        for ns, (records, chunks) in self._tallied.items():
            self.connection.execute(
                """INSERT INTO tallies VALUES (?1, ?2, ?3)
                   ON CONFLICT (ns) DO UPDATE SET records = records + ?2, chunks = chunks + ?3""",
                (ns, records, chunks),
            )
        self._tallied.clear()

    def _remember(
        self, position: int, digest: bytes, payload_hash: bytes, read: Callable[[int], memoryview]
    ) -> tuple[int, bool, bool, int]:
        """Count one more life of a record, whose row is made at the first.

        Give its location, whether it is indexed, whether it is a chunk, and its lives.
        """
        location = self._place_of(digest, position)
        self._erasing.discard(digest)  # put again before anybody overwrote it
        row = None
        if digest in self._no_records:
            self._no_records.discard(digest)
        else:  # not `RETURNING parent IS NOT NULL`: SQLite 3.40 says 1 of a NULL there
            row = self._write(
                "UPDATE records SET lives = lives + 1 WHERE digest = ? RETURNING indexed, parent, lives", (digest,)
            ).fetchone()
        indexed, parent, lives = row or (*self._make(digest, payload_hash, location, read), 1)
        if lives == 1:
            self._tally(EVERYWHERE, 1, parent is not None)
            if self._leaves is not None:
                self._leaves.records[digest] = (payload_hash, location)
        return location, bool(indexed), parent is not None, lives

    def _place_of(self, digest: bytes, position: int) -> int:
        """Give where a record's body is, or 0 where it must have been erased since: a later event is to say so."""
        location = self.location_of(digest)
        if location is None:
            self._bodyless.setdefault(digest, position)
        return location or 0

    def _make(
        self, digest: bytes, payload_hash: bytes, location: int, read: Callable[[int], memoryview]
    ) -> tuple[bool, bytes | None]:
        if digest in self._bodyless:
            self._insert("records", (digest, payload_hash, cids.NO_CONTENT, b"", "", 0, None, 1))
            return False, None
        view = View(read(location))
        metadata = bytes(view.metadata)
        role = role_of(metadata)
        indexed = view.dim > 0 and not role.document
        content, named = bytes(view.content), hashlib.sha256(metadata).digest()
        self._insert(
            "records", (digest, payload_hash, content, named, view.model_version, int(indexed), role.parent, 1)
        )
        return indexed, role.parent

    def _body_named(self, body_id: bytes, position: int) -> int:
        location = self.location_of(body_id)
        if location is None:
            raise _no_body(body_id, position)
        return location


def _no_body(body_id: bytes, position: int) -> BodiesCorrupt:
    return BodiesCorrupt(
        f"event {position} names the body {body_id.hex()}, which no segment holds; restore bodies from a backup"
    )
