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
from engram.errors import Conflict, EngramError, NotFound, Unprocessable
from engram.identity import namespace_id
from engram.store import _tables as tables
from engram.store._bodies import PATCH, RECORD, Bodies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engram.store._fold import Fold
    from engram.store._tables import Change


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace and what it is bound to. `position` is that of its creation."""

    ns: bytes
    name: str
    owner: bytes | None
    model_version: str
    dim: int
    position: int = 0


FRAME_EVENTS = 8192
"""Events after which a group takes no further operation: with those of one more long text they still fit a frame."""

FRAME_BODY_BYTES = 64 * 1024 * 1024
"""Bytes of bodies after which it takes none either, so that what waits for the disk stays small."""

_EXPECTED = 256
"""Operations whose rows are looked up at once."""


class PutOperation(msgspec.Struct, frozen=True):
    """Make `signer`'s membership of a record live. `payload` certifies the record that `digest` names.

    `chunks`: (digest, payload) of each chunk, where the record is a long text's document; they come and go with it.
    """

    ns: bytes
    digest: bytes
    payload: bytes
    signer: bytes
    chunks: tuple[tuple[bytes, bytes], ...] = ()


class DeleteOperation(msgspec.Struct, frozen=True):
    """End `signer`'s membership of a record; of a document, those of its chunks too."""

    ns: bytes
    digest: bytes
    signer: bytes


class CreateOperation(msgspec.Struct, frozen=True):
    """Create a namespace."""

    owner: bytes
    name: str
    model_version: str
    dim: int


class MeasureOperation(msgspec.Struct, frozen=True):
    """Keep what was measured of a namespace's recall."""

    measured: events.RecallMeasured


Operation = PutOperation | DeleteOperation | CreateOperation | MeasureOperation


class Done(msgspec.Struct, frozen=True):
    """What an operation did: the position of the event that stands for it; False where it stood already."""

    position: int
    created: bool


class Group:
    """One group of operations on the way to the disk, each checked against the tables as those before it left them."""

    def __init__(
        self,
        fold: Fold,
        bodies: Bodies,
        namespaces: Mapping[bytes, Namespace],
        position: int,
        now_ns: int,
    ) -> None:
        self._fold = fold
        self._bodies = bodies
        self._namespaces = namespaces
        self._position = position
        self._now_ms = now_ns // 1_000_000
        self._staged: dict[int, bytes] = {}
        self._staged_bytes = 0
        self.events: list[bytes] = []
        self.changes: list[Change] = []
        self.created: dict[bytes, Namespace] = {}
        self.measured: dict[bytes, events.RecallMeasured] = {}

    def carry_out(self, operations: Sequence[Operation]) -> list[Done | EngramError]:
        """Carry out operations in order; an outcome each, of as many as one frame takes."""
        outcomes: list[Done | EngramError] = []
        while len(outcomes) < len(operations) and not self._full:
            some = operations[len(outcomes) : len(outcomes) + _EXPECTED]
            self._expect(some)
            for operation in some:
                outcomes.append(self._carry_out(operation))
                if self._full:
                    break
        return outcomes

    @property
    def _full(self) -> bool:
        """Whether the next operation is another group's."""
        return len(self.events) >= FRAME_EVENTS or self._staged_bytes >= FRAME_BODY_BYTES

    def _expect(self, operations: Sequence[Operation]) -> None:
        puts = [operation for operation in operations if isinstance(operation, PutOperation)]
        self._fold.expect([(put.ns, digest, put.signer) for put in puts for digest in _digests(put)])

    def _carry_out(self, operation: Operation) -> Done | EngramError:
        before = self._fold.changes
        try:
            match operation:
                case PutOperation():
                    return self._put(operation)
                case DeleteOperation():
                    return self._delete(operation)
                case CreateOperation():
                    return self._create(operation)
                case MeasureOperation():
                    self.measured[operation.measured.ns] = operation.measured
                    return self._emit(operation.measured)
        except EngramError as error:
            if self._fold.changes != before:
                # Half of it is in the tables, and would be committed with what comes after it.
                raise RuntimeError(f"a {type(operation).__name__} was refused after it had begun") from error
            return error

    def _put(self, operation: PutOperation) -> Done:
        ns, signer = operation.ns, operation.signer
        done = self._put_record(ns, operation.digest, operation.payload, signer)
        if done.created:  # of one that lives the chunks do: others would be the same text again, in other bits
            for digest, payload in operation.chunks:
                self._put_record(ns, digest, payload, signer)
        return done

    def _put_record(self, ns: bytes, digest: bytes, payload: bytes, signer: bytes) -> Done:
        before = self._fold.membership(ns, digest, signer)
        if before is not None and before.alive:
            return Done(before.position, False)
        self._stage(RECORD, digest, payload)
        event = events.RecordStored(
            ns=ns,
            cid=cids.from_digest(digest),
            payload=hashlib.sha256(payload).digest(),
            signer=signer,
            issued_unix_ms=self._issued(before),
        )
        return self._emit(event)

    def _delete(self, operation: DeleteOperation) -> Done:
        ns, digest, signer = operation.ns, operation.digest, operation.signer
        before = self._fold.membership(ns, digest, signer)
        cid = cids.from_digest(digest)
        if before is None or not before.alive:
            raise NotFound(f"no record {cid} in this namespace", field="cid")
        if (parent := tables.parent_of(self._fold.connection, digest)) is not None:
            whole = cids.from_digest(parent)
            raise Unprocessable(
                f"cid: {cid} is a chunk of the long text {whole}; delete that, and its chunks go with it", field="cid"
            )
        done = self._end(ns, digest, signer, before)
        for chunk in tables.chunks_of(self._fold.connection, ns, signer, digest):
            self._end(ns, chunk, signer, self._fold.membership(ns, chunk, signer))
        return done

    def _end(self, ns: bytes, digest: bytes, signer: bytes, before: tables.Membership | None) -> Done:
        event = events.RecordDeleted(
            ns=ns, cid=cids.from_digest(digest), signer=signer, issued_unix_ms=self._issued(before), erase=False
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
        if self._fold.location_of(body_id) is None:
            location = self._bodies.stage(kind, body_id, data)
            self._fold.add_body(body_id, kind, location)
            self._staged[location] = data
            self._staged_bytes += len(data)

    def _emit(self, event: events.AnyEvent) -> Done:
        position = self._position + len(self.events)
        change = self._fold.apply(position, event, self._read)
        self.events.append(events.encode(event))
        if change is not None:
            self.changes.append(change)
        return Done(position, True)

    def _read(self, location: int) -> memoryview:
        staged = self._staged.get(location)
        return memoryview(staged) if staged is not None else self._bodies.read(location)


def _digests(put: PutOperation) -> Iterator[bytes]:
    yield put.digest
    for digest, _ in put.chunks:
        yield digest
