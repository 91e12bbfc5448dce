"""One group of operations on the way to the disk: what is checked, staged, and made an event of.

Each operation is checked against the tables as those before it left them, inside one transaction; the store then makes
bodies and events durable and commits it, or rolls it back.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram import events, record
from engram.errors import Conflict, EngramError, NotFound
from engram.identity import namespace_id
from engram.store import _tables as tables
from engram.store._bodies import PATCH, RECORD, Bodies

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from engram.store._tables import Change


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace and what it is bound to. `position` is that of its creation."""

    ns: bytes
    name: str
    owner: bytes | None
    model_version: str
    dim: int
    position: int = 0


class PutOperation(msgspec.Struct, frozen=True):
    """Make `signer`'s membership of a record live. `payload` certifies the record that `digest` names."""

    ns: bytes
    digest: bytes
    payload: bytes
    signer: bytes


class DeleteOperation(msgspec.Struct, frozen=True):
    """End `signer`'s membership of a record."""

    ns: bytes
    digest: bytes
    signer: bytes


class CreateOperation(msgspec.Struct, frozen=True):
    """Create a namespace."""

    owner: bytes
    name: str
    model_version: str
    dim: int


Operation = PutOperation | DeleteOperation | CreateOperation


class Done(msgspec.Struct, frozen=True):
    """What an operation did: the position of the event that stands for it; False where it stood already."""

    position: int
    created: bool


class Group:
    """One group of operations on the way to the disk, each checked against the tables as those before it left them."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        bodies: Bodies,
        namespaces: Mapping[bytes, Namespace],
        position: int,
        now_ns: int,
    ) -> None:
        self._connection = connection
        self._bodies = bodies
        self._namespaces = namespaces
        self._position = position
        self._now_ms = now_ns // 1_000_000
        self._staged: dict[int, bytes] = {}
        self.events: list[bytes] = []
        self.changes: list[Change] = []
        self.created: dict[bytes, Namespace] = {}

    def carry_out(self, operation: Operation) -> Done | EngramError:
        try:
            match operation:
                case PutOperation():
                    return self._put(operation)
                case DeleteOperation():
                    return self._delete(operation)
                case CreateOperation():
                    return self._create(operation)
        except EngramError as error:
            return error

    def _put(self, operation: PutOperation) -> Done:
        ns, digest, signer = operation.ns, operation.digest, operation.signer
        before = tables.membership(self._connection, ns, digest, signer)
        if before is not None and before.alive:
            return Done(before.position, False)
        self._stage(RECORD, digest, operation.payload)
        event = events.RecordStored(
            ns=ns,
            cid=cids.from_digest(digest),
            payload=hashlib.sha256(operation.payload).digest(),
            signer=signer,
            issued_unix_ms=self._issued(before),
        )
        return self._emit(event)

    def _delete(self, operation: DeleteOperation) -> Done:
        before = tables.membership(self._connection, operation.ns, operation.digest, operation.signer)
        cid = cids.from_digest(operation.digest)
        if before is None or not before.alive:
            raise NotFound(f"no record {cid} in this namespace", field="cid")
        event = events.RecordDeleted(
            ns=operation.ns, cid=cid, signer=operation.signer, issued_unix_ms=self._issued(before), erase=False
        )
        return self._emit(event)

    def _create(self, operation: CreateOperation) -> Done:
        ns = namespace_id(operation.owner, operation.name)
        known = self._namespaces.get(ns) or self.created.get(ns)
        if known is not None:
            if (known.model_version, known.dim) == (operation.model_version, operation.dim):
                return Done(known.position, False)
            raise Conflict(
                f"the namespace {operation.name!r} is there already, bound to {known.model_version}, dim {known.dim}",
                field="name",
            )
        patch = record.patch({"name": operation.name})
        name = hashlib.sha256(patch).digest()
        self._stage(PATCH, name, patch)
        event = events.NamespaceCreated(
            ns=ns, owner=operation.owner, model_version=operation.model_version, dim=operation.dim, name=name
        )
        done = self._emit(event)
        self.created[ns] = Namespace(
            ns=ns,
            name=operation.name,
            owner=operation.owner,
            model_version=operation.model_version,
            dim=operation.dim,
            position=done.position,
        )
        return done

    def _issued(self, before: tables.Membership | None) -> int:
        return max(self._now_ms, before.issued + 1) if before else self._now_ms

    def _stage(self, kind: int, body_id: bytes, data: bytes) -> None:
        if tables.body_location(self._connection, body_id) is None:
            location = self._bodies.stage(kind, body_id, data)
            tables.add_body(self._connection, body_id, kind, location)
            self._staged[location] = data

    def _emit(self, event: events.AnyEvent) -> Done:
        position = self._position + len(self.events)
        change = tables.fold(self._connection, position, event, self._read)
        self.events.append(events.encode(event))
        if change is not None:
            self.changes.append(change)
        return Done(position, True)

    def _read(self, location: int) -> memoryview:
        staged = self._staged.get(location)
        return memoryview(staged) if staged is not None else self._bodies.read(location)
