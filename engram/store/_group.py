"""One group of operations on the way to the disk: what is checked, staged, and made an event of.

Each operation is checked against the tables as those before it left them, inside one transaction; the store then makes
bodies and events durable and commits it, or rolls it back.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from engram import cid as cids
from engram import events, record
from engram.errors import Conflict, EngramError, Forbidden, NotFound, Unprocessable
from engram.identity import head_key, namespace_id
from engram.store import _tables as tables
from engram.store._frames import PATCH, RECORD
from engram.store._receipts import Frame, Receipt, RecentFrames, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from engram.identity import NodeKey
    from engram.native._core import LogState
    from engram.store._bodies import Bodies
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


class KeyOperation(msgspec.Struct, frozen=True):
    """Have a key name the record of a digest that lives in its namespace; None: nothing more.

    `expect`: the digest that it must name until now, None for nothing; UNSET for whatever it is.
    """

    ns: bytes
    key: str
    digest: bytes | None
    signer: bytes
    expect: bytes | UnsetType | None = UNSET


class PutOperation(msgspec.Struct, frozen=True):
    """Make `signer`'s membership of a record live. `payload` certifies the record that `digest` names.

    `chunks`: (digest, payload) of each chunk, where the record is a long text's document; they come and go with it.
    `key`: has a key name the record; where that cannot be, nothing is kept. `born`: the position of the namespace's
    creation, as whoever made the payload saw it; None: whatever it is.
    """

    ns: bytes
    digest: bytes
    payload: bytes
    signer: bytes
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    key: KeyOperation | None = None
    born: int | None = None


class DeleteOperation(msgspec.Struct, frozen=True):
    """End `signer`'s membership of a record; of a document, those of its chunks too.

    None for everybody's; where a frame has no room for so many, it is not done with the `whole`. `erase`: have their
    bodies overwritten as soon as nobody holds them; so too where the membership has ended already.
    """

    ns: bytes
    digest: bytes
    signer: bytes | None
    erase: bool = False


class CreateOperation(msgspec.Struct, frozen=True):
    """Create a namespace."""

    owner: bytes
    name: str
    model_version: str
    dim: int


class DropOperation(msgspec.Struct, frozen=True):
    """Delete a namespace in which nothing lives any more. `Conflict` where something does."""

    ns: bytes
    signer: bytes


class MeasureOperation(msgspec.Struct, frozen=True):
    """Keep what was measured of a namespace's recall."""

    measured: events.RecallMeasured


class JudgeOperation(msgspec.Struct, frozen=True):
    """Keep how this node's challenge of another has ended."""

    judged: events.ChallengeJudged


Operation = (
    PutOperation | KeyOperation | DeleteOperation | CreateOperation | DropOperation | MeasureOperation | JudgeOperation
)


class Done(msgspec.Struct, frozen=True):
    """What an operation did: the position of the event that stands for it; `created`: False where it stood already.

    `whole`: False where a frame had no room for all of it, and the rest is to be sent again. `erased`: whether the
    record's body is overwritten; False where others hold it. `frame`: the one that the event is in, where it was
    written just now.
    """

    position: int
    created: bool
    whole: bool = True
    erased: bool = False
    frame: Frame | None = None

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of the event; None where it stands since long ago."""
        return None if self.frame is None else self.frame.receipt(self.position)


class Group:
    """One group of operations on the way to the disk, each checked against the tables as those before it left them."""

    def __init__(
        self,
        fold: Fold,
        bodies: Bodies,
        namespaces: Mapping[bytes, Namespace],
        position: int,
        now_ns: int,
        is_damaged: Callable[[int], bool],
        recent: RecentFrames,
    ) -> None:
        self._is_damaged = is_damaged
        self._recent = recent
        self._fold = fold
        self._bodies = bodies
        self._namespaces = namespaces
        self._position = position
        self._now_ms = now_ns // 1_000_000
        self._staged: dict[int, bytes] = {}
        self._staged_bytes = 0
        self.frame = Frame()
        self.events: list[bytes] = []
        self.changes: list[Change] = []
        self.created: dict[bytes, Namespace] = {}
        self.dropped: set[bytes] = set()
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

    def sign(
        self, key: NodeKey, before: LogState, committed: events.Committed, outcomes: Sequence[Done | EngramError]
    ) -> None:
        """Make the receipts of what was carried out, once it is durable. `before`: the log's state before the frame."""
        done = (outcome for outcome in outcomes if isinstance(outcome, Done))
        positions = {outcome.position for outcome in done if outcome.frame is self.frame}
        written = Written(before, self.events, committed)
        self.frame.sign(key, written, positions)
        self._recent.note(written, self.frame.signature)

    @property
    def _full(self) -> bool:
        """Whether the next operation is another group's."""
        # Behind the end of a namespace too: one of its name would be indexed with it.
        return len(self.events) >= FRAME_EVENTS or self._staged_bytes >= FRAME_BODY_BYTES or bool(self.dropped)

    def _expect(self, operations: Sequence[Operation]) -> None:
        puts = [operation for operation in operations if isinstance(operation, PutOperation)]
        self._fold.expect([(put.ns, digest, put.signer) for put in puts for digest in _digests(put)])

    def _carry_out(self, operation: Operation) -> Done | EngramError:
        before = self._fold.changes
        try:
            match operation:
                case PutOperation():
                    return self._put(operation)
                case KeyOperation():
                    return self._key(operation)
                case DeleteOperation():
                    return self._delete(operation)
                case CreateOperation():
                    return self._create(operation)
                case DropOperation():
                    return self._drop(operation)
                case MeasureOperation():
                    self._there(operation.measured.ns)
                    self.measured[operation.measured.ns] = operation.measured
                    return self._emit(operation.measured)
                case JudgeOperation():
                    return self._emit(operation.judged)
        except EngramError as error:
            if self._fold.changes != before:
                # Half of it is in the tables, and would be committed with what comes after it.
                raise RuntimeError(f"a {type(operation).__name__} was refused after it had begun") from error
            return error

    def _put(self, operation: PutOperation) -> Done:
        ns, signer = operation.ns, operation.signer
        space = self._there(ns)
        if operation.born not in (None, space.position):
            raise Conflict(f"the namespace {space.name!r} was deleted and made anew meanwhile; send it again")
        head = None if operation.key is None else self._expected(operation.key)
        done = self._put_record(ns, operation.digest, operation.payload, signer)
        for digest, payload in operation.chunks:
            if done.created:  # of one that lives the chunks do: others would be the same text again, in other bits
                self._put_record(ns, digest, payload, signer)
            else:
                self._mend(digest, payload)
        if operation.key is None:
            return done
        named = self._name(operation.key, head)
        later = max(done, named, key=lambda one: one.position)
        return msgspec.structs.replace(later, created=done.created or named.created)

    def _put_record(self, ns: bytes, digest: bytes, payload: bytes, signer: bytes) -> Done:
        before = self._fold.membership(ns, digest, signer)
        if before is not None and before.alive:
            self._mend(digest, payload)
            return self._stands(before.position)
        self._stage(RECORD, digest, payload)
        event = events.RecordStored(
            ns=ns,
            cid=cids.from_digest(digest),
            payload=hashlib.sha256(payload).digest(),
            signer=signer,
            issued_unix_ms=self._issued(before),
        )
        return self._emit(event)

    def _key(self, operation: KeyOperation) -> Done:
        self._there(operation.ns)
        head = self._expected(operation)
        if operation.digest is None:
            if head is None or not head.digest:
                raise NotFound(f"no key {operation.key!r:.80} in this namespace", field="key")
        elif not tables.signers_of(self._fold.connection, operation.ns, operation.digest, 1):
            raise NotFound(f"no record {cids.from_digest(operation.digest)} in this namespace", field="cid")
        return self._name(operation, head)

    def _expected(self, operation: KeyOperation) -> tables.Head | None:
        """Give what a key names, or has named last; `Conflict` where it was to be something else."""
        head = tables.head(self._fold.connection, head_key(operation.ns, operation.key))
        digest = head.digest if head is not None else b""
        if operation.expect is not UNSET and (operation.expect or b"") != digest:
            current = cids.from_digest(digest) if digest else None
            raise Conflict(
                f"expect: the key {operation.key!r:.80} names {current or 'nothing'}, not what was expected",
                field="expect",
                current=current,
            )
        return head

    def _name(self, operation: KeyOperation, before: tables.Head | None) -> Done:
        digest = operation.digest or b""
        if before is not None and before.digest == digest:
            return self._stands(before.position)
        patch = record.patch({"key": operation.key})
        named = hashlib.sha256(patch).digest()
        self._stage(PATCH, named, patch)
        event = events.KeySet(
            ns=operation.ns,
            k=head_key(operation.ns, operation.key),
            cid=cids.from_digest(digest) if digest else "",
            key=named,
            signer=operation.signer,
            issued_unix_ms=self._issued(before),
        )
        return self._emit(event)

    def _drop(self, operation: DropOperation) -> Done:
        space = self._there(operation.ns)
        if not tables.is_empty(self._fold.connection, operation.ns):
            raise Conflict(
                f"the namespace {space.name!r} is not empty: something came into it meanwhile; send it again"
            )
        event = events.NamespaceDeleted(ns=operation.ns, signer=operation.signer, issued_unix_ms=self._now_ms)
        done = self._emit(event)
        self.dropped.add(operation.ns)
        return done

    def _there(self, ns: bytes) -> Namespace:
        found = self._namespaces.get(ns) or self.created.get(ns)
        if found is None:
            raise NotFound("the namespace was deleted meanwhile", field="namespace")
        return found

    def _delete(self, operation: DeleteOperation) -> Done:
        ns, digest, erase = operation.ns, operation.digest, operation.erase
        ending = self._ending(operation)
        if (parent := tables.parent_of(self._fold.connection, digest)) is not None:
            cid, whole = cids.from_digest(digest), cids.from_digest(parent)
            raise Unprocessable(
                f"cid: {cid} is a chunk of the long text {whole}; delete that, and its chunks go with it", field="cid"
            )
        if not ending:
            asked = tables.asked_to_erase(self._fold.connection, ns, digest, operation.signer)
            assert asked is not None
            return msgspec.structs.replace(self._stands(asked), erased=self._is_erased(digest))
        for at, signer in enumerate(ending, 1):
            done = self._end(ns, digest, signer, erase=erase)
            for chunk in tables.chunks_of(self._fold.connection, ns, signer, digest, dead=erase):
                self._end(ns, chunk, signer, erase=erase)
            if self._full and (at < len(ending) or at == FRAME_EVENTS):
                return msgspec.structs.replace(done, whole=False)
        return msgspec.structs.replace(done, erased=erase and self._is_erased(digest))

    def _ending(self, operation: DeleteOperation) -> list[bytes]:
        """Give whose memberships a delete is to end; none where their erasure was asked for before."""
        ns, digest, signer = operation.ns, operation.digest, operation.signer
        if signer is not None:
            before = self._fold.membership(ns, digest, signer)
            if before is not None and (before.alive or operation.erase):
                return [] if tables.asked_to_erase(self._fold.connection, ns, digest, signer) else [signer]
        alive = tables.signers_of(self._fold.connection, ns, digest, FRAME_EVENTS)
        cid = cids.from_digest(digest)
        if signer is not None and alive:
            raise Forbidden(
                f"cid: {cid} was put by another key, and who put it, or the node's operator, deletes it", field="cid"
            )
        if operation.erase and signer is None:
            alive += tables.ended_by(self._fold.connection, ns, digest, FRAME_EVENTS)
            if tables.asked_to_erase(self._fold.connection, ns, digest, None):
                return alive
        if not alive:
            raise NotFound(f"no record {cid} in this namespace", field="cid")
        return alive

    def _is_erased(self, digest: bytes) -> bool:
        return not self._fold.is_there(digest)

    def _end(self, ns: bytes, digest: bytes, signer: bytes, *, erase: bool) -> Done:
        issued = self._issued(self._fold.membership(ns, digest, signer))
        event = events.RecordDeleted(
            ns=ns, cid=cids.from_digest(digest), signer=signer, issued_unix_ms=issued, erase=erase
        )
        return self._emit(event)

    def _create(self, operation: CreateOperation) -> Done:
        ns = namespace_id(operation.owner, operation.name)
        known = self._namespaces.get(ns) or self.created.get(ns)
        if known is not None:
            if (known.model_version, known.dim) == (operation.model_version, operation.dim):
                return self._stands(known.position)
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

    def _issued(self, before: tables.Membership | tables.Head | None) -> int:
        return max(self._now_ms, before.issued + 1) if before else self._now_ms

    def _stage(self, kind: int, body_id: bytes, data: bytes) -> None:
        """Have a body be where its event can name it; what is asked about it here is read from these bytes."""
        location = self._fold.location_of(body_id)
        if location is None or not (
            self._is_right(location, body_id) or self._bodies.stage_again(kind, body_id, data, location)
        ):
            location = self._bodies.stage(kind, body_id, data)
            self._fold.add_body(body_id, kind, location)
            self._staged_bytes += len(data)
        self._staged[location] = data

    def _mend(self, digest: bytes, payload: bytes) -> None:
        """Have the body of a record that lives be written again, where it is known to be damaged."""
        location = self._fold.location_of(digest)
        if location is None or location in self._staged or not self._is_damaged(location):
            return
        if self._bodies.stage_again(RECORD, digest, payload, location):
            self._staged[location] = payload

    def _is_right(self, location: int, body_id: bytes) -> bool:
        """Say whether a body that was written before is what it was: nobody may have looked at it for long."""
        if location in self._staged:
            return True
        return not self._is_damaged(location) and self._bodies.proved(location, body_id) is not None

    def _emit(self, event: events.AnyEvent) -> Done:
        position = self._position + len(self.events)
        change = self._fold.apply(position, event, self._read)
        self.events.append(events.encode(event))
        if change is not None:
            self.changes.append(change)
        return Done(position, True, frame=self.frame)

    def _stands(self, position: int) -> Done:
        """Say that what an operation asks for stands already, since an event of this frame or of an earlier one."""
        frame = self.frame if position >= self._position else self._recent.frame_of(position)
        return Done(position, False, frame=frame)

    def _read(self, location: int) -> memoryview:
        staged = self._staged.get(location)
        return memoryview(staged) if staged is not None else self._bodies.read(location)


def _digests(put: PutOperation) -> Iterator[bytes]:
    yield put.digest
    for digest, _ in put.chunks:
        yield digest
