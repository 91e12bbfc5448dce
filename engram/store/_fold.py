"""What events do to the tables: the fold, pure but for the rows it writes.

Memberships obey formats §8: per (namespace, CID, signer) the later operation wins; at a tie a delete beats a put, then
the higher CID. A record lives while a membership does.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram.documents import role_of
from engram.errors import BodiesCorrupt
from engram.events import AnyEvent, NamespaceCreated, RecallMeasured, RecordDeleted, RecordStored, Unknown
from engram.store import _tables as tables
from engram.store._digest import RowDigest, digest_of
from engram.store._tables import EVERYWHERE, FOLDED, Change, Progress, View

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from engram.events import LogStart


def wins(issued: int, digest: bytes, other_issued: int, other_digest: bytes, *, delete: bool, other: bool) -> bool:
    """Say whether an operation wins over another on the same membership; `delete` and `other` say which are deletes."""
    return (issued, delete, digest) > (other_issued, other, other_digest)


class Fold:
    """The one who writes the tables of `connection`, each group of events in a transaction of its caller's.

    `progress`: how far they have come. None: they are empty, and their digest is taken over all rows at the first
    `advance`, which costs less than following each.
    """

    def __init__(self, connection: sqlite3.Connection, progress: Progress | None) -> None:
        self.connection = connection
        self._digest = RowDigest(connection, FOLDED, progress.digest) if progress else None
        self._skipped = set(progress.skipped if progress else ())
        self._tallied: dict[bytes, tuple[int, int]] = {}
        self._placed: dict[bytes, int] = {}

    @property
    def digest(self) -> bytes:
        """The digest of the rows, as of the last `advance`."""
        assert self._digest is not None, "nothing was folded yet"
        return self._digest.value

    @property
    def skipped(self) -> frozenset[str]:
        """The types of events that this build does not know."""
        return frozenset(self._skipped)

    def add_body(self, body_id: bytes, kind: int, location: int) -> None:
        """Record where a body is; the first place of an id counts."""
        row = (body_id, kind, location)
        if self.connection.execute("INSERT OR IGNORE INTO bodies VALUES (?, ?, ?)", row).rowcount:
            self._placed[body_id] = location

    def location_of(self, body_id: bytes) -> int | None:
        """Give where a body is."""
        if (location := self._placed.get(body_id)) is not None:
            return location
        row = self.connection.execute("SELECT location FROM bodies WHERE id = ?", (body_id,)).fetchone()
        return row[0] if row else None

    def apply(self, position: int, event: AnyEvent | Unknown, read: Callable[[int], memoryview]) -> Change | None:
        """Fold one event into the tables. `read` gives a body by location."""
        match event:
            case RecordStored():
                return self._stored(position, event, read)
            case RecordDeleted():
                return self._deleted(position, event)
            case NamespaceCreated():
                self._namespace(position, event, read)
            case RecallMeasured():
                self._measured(event)
            case Unknown():
                self._skipped.add(event.type)
        return None

    def advance(self, position: int, root: bytes, body_tail: int, log_start: LogStart) -> None:
        """Record how far the tables have come, before the transaction of their rows is committed."""
        self._write_tallies()
        self._placed.clear()
        if self._digest is None:
            self._digest = RowDigest(self.connection, FOLDED, digest_of(self.connection, FOLDED))
        digest = self._digest.settle()
        progress = Progress(position, root, digest, self.skipped, body_tail, log_start)
        tables.advance(self.connection, progress)

    def forget(self) -> None:
        """Forget what was folded since the last `advance`: its transaction was rolled back."""
        self._tallied.clear()
        self._placed.clear()
        if self._digest is not None:
            self._digest.forget()

    def _namespace(self, position: int, event: NamespaceCreated, read: Callable[[int], memoryview]) -> None:
        location = self._body_named(event.name, position)
        name = msgspec.json.decode(bytes(read(location)))["name"]
        self.connection.execute(
            "INSERT OR IGNORE INTO namespaces VALUES (?, ?, ?, ?, ?, ?)",
            (event.ns, event.owner, name, event.model_version, event.dim, position),
        )

    def _measured(self, event: RecallMeasured) -> None:
        row = (event.ns, event.mode, event.queries, event.expected, event.found, event.widening)
        self.connection.execute("INSERT OR REPLACE INTO recalls VALUES (?, ?, ?, ?, ?, ?)", row)

    def _stored(self, position: int, event: RecordStored, read: Callable[[int], memoryview]) -> Change | None:
        digest = cids.digest_of(event.cid)
        before = tables.membership(self.connection, event.ns, digest, event.signer)
        if before is not None:
            if not wins(event.issued_unix_ms, digest, before.issued, digest, delete=False, other=not before.alive):
                return None
            if before.alive:
                self.connection.execute(
                    "UPDATE memberships SET issued = ? WHERE position = ?", (event.issued_unix_ms, before.position)
                )
                return None
            self.connection.execute("DELETE FROM memberships WHERE position = ?", (before.position,))
        location, indexed, chunk, lives = self._remember(position, digest, event.payload, read)
        self.connection.execute(
            "INSERT INTO memberships VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)",
            (position, event.ns, digest, event.signer, event.issued_unix_ms, location, indexed, chunk),
        )
        if lives > 1 and self._alive(event.ns, digest) > 1:
            return None
        self._tally(event.ns, 1, chunk)
        return Change(event.ns, digest, True, location, indexed)

    def _deleted(self, position: int, event: RecordDeleted) -> Change | None:
        digest = cids.digest_of(event.cid)
        before = tables.membership(self.connection, event.ns, digest, event.signer)
        if before is None:
            self.connection.execute(
                "INSERT INTO memberships VALUES (?, ?, ?, ?, 0, ?, 0, 0, 0)",
                (position, event.ns, digest, event.signer, event.issued_unix_ms),
            )
            return None
        if not wins(event.issued_unix_ms, digest, before.issued, digest, delete=True, other=not before.alive):
            return None
        location, indexed, chunk = self.connection.execute(
            "UPDATE memberships SET alive = 0, issued = ? WHERE position = ? RETURNING location, indexed, chunk",
            (event.issued_unix_ms, before.position),
        ).fetchone()
        if not before.alive:
            return None
        [lives] = self.connection.execute(
            "UPDATE records SET lives = lives - 1 WHERE digest = ? RETURNING lives", (digest,)
        ).fetchone()
        if lives == 0:
            self._tally(EVERYWHERE, -1, chunk)
        elif self._alive(event.ns, digest):
            return None
        self._tally(event.ns, -1, chunk)
        return Change(event.ns, digest, False, location, bool(indexed))

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
        location = self._body_named(digest, position)
        # Not `RETURNING parent IS NOT NULL`: SQLite 3.40 says 1 of a NULL there.
        row = self.connection.execute(
            "UPDATE records SET lives = lives + 1 WHERE digest = ? RETURNING indexed, parent, lives", (digest,)
        ).fetchone()
        indexed, parent, lives = row or (*self._make(digest, payload_hash, View(read(location))), 1)
        if lives == 1:
            self._tally(EVERYWHERE, 1, parent is not None)
        return location, bool(indexed), parent is not None, lives

    def _make(self, digest: bytes, payload_hash: bytes, view: View) -> tuple[bool, bytes | None]:
        metadata = bytes(view.metadata)
        role = role_of(metadata)
        indexed = view.dim > 0 and not role.document
        self.connection.execute(
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

    def _body_named(self, body_id: bytes, position: int) -> int:
        location = self.location_of(body_id)
        if location is None:
            raise BodiesCorrupt(
                f"event {position} names the body {body_id.hex()}, which no segment holds; restore bodies from a backup"
            )
        return location
