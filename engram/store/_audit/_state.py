"""What an audit holds every event against: what stands before it, the body that it names, the tries that are committed.

The fold is the audit's own, and looks at no body: where bodies are damaged, what the log says and what its node signed
is judged all the same.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram.decoding import UNDECODABLE
from engram.errors import EngramError, LogCorrupt
from engram.events import (
    SEGMENT_BYTES,
    ChallengeJudged,
    KeySet,
    LogCreated,
    NamespaceCreated,
    NamespaceDeleted,
    RecallMeasured,
    RecordDeleted,
    RecordStored,
    StateCommitted,
    Unknown,
    decode,
)
from engram.identity import (
    PUBLIC_NAMESPACE,
    head_key,
    namespace_id,
    put_message,
    set_key_message,
    tombstone_message,
    verdict_message,
    verify,
)
from engram.limits import LIMITS
from engram.native import _core
from engram.store._audit._tries import Tries
from engram.store._frames import ERASED, PATCH, RECORD, segment_name
from engram.store._named import names
from engram.store._reading import PUBLIC

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from engram.events import AnyEvent, TrieRoot
    from engram.store._audit._bodies import BodyReader, BodyTable, Found
    from engram.store._audit._log import Frame
    from engram.store._audit._report import Ledger, PartName

_OWN_NETWORK = bytes(32)
_ANY = _REMOVED = bytes(32)
_DIGEST = 32
_TRIES = ("records", "edges", "heads")
_texts = msgspec.json.Decoder(dict[str, str])


digest_of = functools.lru_cache(8192)(cids.digest_of)
"""That of a CID, which is asked for several times an event."""


class _Wrong(Exception):
    """An event does not fit what stands before it, or its body."""


class EventsPass:
    """Takes the frames of a log in order.

    `proved`: sizes and names of checkpoints whose root is the log's; `key`: that of the node whose log it is.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        bodies: BodyTable,
        reader: BodyReader,
        ledger: Ledger,
        proved: dict[int, list[str]],
        key: bytes,
    ) -> None:
        self._key = key
        self._connection = connection
        self._bodies = bodies
        self._reader = reader
        self._ledger = ledger
        self._proved = proved
        self._tries = Tries()
        self._bindings: dict[bytes, tuple[str, int] | None] = {PUBLIC_NAMESPACE: None}
        self._inside: dict[bytes, int] = {}
        self._found: dict[bytes, Found] = {}
        self._unknown = False
        self._committed: int | None = None
        """The position of the last commitment that is right."""
        self.holds: int | None = None
        """The size of the largest checkpoint that holds, with what it commits to."""
        self.tries_at: dict[int, dict[str, TrieRoot] | None] = {}
        """The tries at sizes that somebody wants to know of, where a frame ends there."""
        self.complete = True
        """Whether every body that an event names was found, if only erased."""
        connection.execute(
            """CREATE TABLE gone (id BLOB PRIMARY KEY, position INTEGER NOT NULL, file TEXT NOT NULL,
               offset INTEGER NOT NULL, erased INTEGER NOT NULL, asked INTEGER NOT NULL) WITHOUT ROWID"""
        )

    def frames(self, frames: Sequence[Frame]) -> list[tuple[int, AnyEvent | Unknown]]:
        """Take frames in; give their events, decoded, but for those that cannot be."""
        decoded = [(frame, self._decoded(frame)) for frame in frames]
        named = (body_id for _, found in decoded for _, event in found for body_id in names(event))
        self._found = self._bodies.among(named)
        for frame, found in decoded:
            sound = 0
            for position, event in found:
                try:
                    self._take(frame, position, event)
                except _Wrong as wrong:
                    self._tell("events", frame, position, str(wrong))
                except EngramError as error:
                    self._tell("events", frame, position, error.message)
                else:
                    sound += 1
            self._ledger.count("events", len(found), sound)
            self._checkpoints(frame, found)
            if frame.end in self.tries_at:
                self.tries_at[frame.end] = self._tries.roots()
        return [one for _, found in decoded for one in found]

    def end(self) -> None:
        """Tell of bodies that are gone and should not be."""
        for digest, position, file, offset, erased, asked in self._connection.execute("SELECT * FROM gone"):
            said = f"event {position}: the body of {cids.from_digest(digest)}"
            if self._tries.fold.lives(digest):
                reason = f"{said}, which lives, {'was erased' if erased else 'is in no body segment, or damaged there'}"
            elif erased and not asked:
                reason = f"{said} was erased, and no deletion in the log asked for that"
            else:
                continue
            self._ledger.found("bodies", file, offset, reason, position=position)
        bound = self._bindings[PUBLIC_NAMESPACE]
        if bound and bound[0] != PUBLIC.model_version:
            self._ledger.note(
                "events",
                f"public records are of the model {bound[0]}, and this build's is {PUBLIC.model_version}: only the "
                "build that wrote this folder opens it",
            )

    # -- one event ----------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame, position: int, event: AnyEvent | Unknown) -> None:
        match event:
            case RecordStored():
                self._stored(frame, position, event)
            case RecordDeleted():
                self._deleted(event)
            case KeySet():
                self._key_set(event)
            case NamespaceCreated():
                self._created(event)
            case NamespaceDeleted():
                self._dropped(event)
            case StateCommitted():
                self._commitment(frame, position, event)
            case RecallMeasured():
                self._namespace(event.ns)
            case ChallengeJudged():
                message = verdict_message(event.chal_id, event.verdict, event.a_ms, event.b_ms, event.evidence)
                self._verify(self._key, message, event.signature)
            case LogCreated():
                if position:
                    raise _Wrong("a log is created once, at position 0")
            case Unknown():
                self._unknown = True

    def _stored(self, frame: Frame, position: int, event: RecordStored) -> None:
        digest = digest_of(event.cid)
        self._inside[event.ns] = self._inside.get(event.ns, 0) + self._tries.fold.stored(
            event.ns, digest, event.signer, event.issued_unix_ms, event.payload
        )
        bound = self._namespace(event.ns)
        if event.signature is not None:
            message = put_message(_OWN_NETWORK, event.ns, digest, event.issued_unix_ms)
            self._verify(event.signer, message, event.signature)
        body = self._found.get(digest)
        if body is None or body.kind == ERASED:
            row = (digest, position, frame.file, frame.offset, body is not None)
            self._connection.execute("INSERT OR IGNORE INTO gone VALUES (?, ?, ?, ?, ?, 0)", row)
            self.complete &= body is not None
        elif body.kind != RECORD:
            raise _Wrong(f"{event.cid} names a body that is no record: {_place(body)}")
        elif body.payload != event.payload:
            raise _Wrong(f"its payload hash is not that of the body of {event.cid}: {_place(body)}")
        elif body.dim:
            if bound is None:
                bound = self._bindings[event.ns] = (body.model_version, body.dim)
            if bound != (body.model_version, body.dim):
                raise _Wrong(
                    f"a record of {body.model_version} with {body.dim} numbers, in a namespace of {bound[0]} with "
                    f"{bound[1]}: {_place(body)}"
                )

    def _deleted(self, event: RecordDeleted) -> None:
        digest = digest_of(event.cid)
        self._inside[event.ns] = self._inside.get(event.ns, 0) + self._tries.fold.deleted(
            event.ns, digest, event.signer, event.issued_unix_ms
        )
        if event.erase:
            self._connection.execute("UPDATE gone SET asked = 1 WHERE id = ?", (digest,))
        self._namespace(event.ns)
        if event.signature is not None:
            message = tombstone_message(_OWN_NETWORK, event.ns, digest, event.issued_unix_ms)
            self._verify(event.signer, message, event.signature)

    def _key_set(self, event: KeySet) -> None:
        digest = digest_of(event.cid) if event.cid else None
        self._inside[event.ns] = self._inside.get(event.ns, 0) + self._tries.fold.key_set(
            event.k, digest, event.issued_unix_ms
        )
        self._namespace(event.ns)
        if event.signature is not None:
            message = set_key_message(
                _OWN_NETWORK, event.ns, event.k, digest or _REMOVED, event.expect or _ANY, event.issued_unix_ms
            )
            self._verify(event.signer, message, event.signature)
        text = self._patch(event.key, "key")
        if text is not None and head_key(event.ns, text) != event.k:
            raise _Wrong("the key's K is not that of its namespace and text")

    def _created(self, event: NamespaceCreated) -> None:
        if not 1 <= event.dim <= LIMITS.dim or {len(event.ns), len(event.owner)} != {_DIGEST}:
            raise _Wrong("a namespace whose id, owner or dim can be none")
        self._bindings.setdefault(event.ns, (event.model_version, event.dim))
        text = self._patch(event.name, "name")
        if text is not None and namespace_id(event.owner, text) != event.ns:
            raise _Wrong("the namespace's id is not that of its owner and name")

    def _dropped(self, event: NamespaceDeleted) -> None:
        self._namespace(event.ns)
        if event.ns == PUBLIC_NAMESPACE:
            raise _Wrong("the public namespace cannot be deleted")
        del self._bindings[event.ns]
        if self._inside.pop(event.ns, 0):
            raise _Wrong("a namespace was deleted with something in it")

    def _namespace(self, ns: bytes) -> tuple[str, int] | None:
        if ns not in self._bindings:
            raise _Wrong(f"no namespace {ns.hex()} was there at that time")
        return self._bindings[ns]

    def _patch(self, body_id: bytes, name: str) -> str | None:
        """Give the text of a patch; None where it was erased."""
        body = self._found.get(body_id)
        if body is None:
            self.complete = False
            raise _Wrong(f"the patch {body_id.hex()} that it names is in no body segment, or damaged there")
        if body.kind == ERASED:
            return None
        try:
            content = _texts.decode(self._reader.read(body.location)) if body.kind == PATCH else {}
        except (OSError, *UNDECODABLE):
            content = {}
        if content.keys() != {name}:
            raise _Wrong(f'the body {body_id.hex()} is not the patch {{"{name}": text}}: {_place(body)}')
        return content[name]

    def _verify(self, signer: bytes, message: bytes, signature: bytes) -> None:
        self._ledger.count("signatures")
        if not verify(signer, message, signature):
            raise _Wrong("its signature does not verify under the key of who is to have signed it")
        self._ledger.count("signatures", 0, 1)

    # -- commitments --------------------------------------------------------------------------------------------------

    def _commitment(self, frame: Frame, position: int, event: StateCommitted) -> None:
        self._ledger.count("commitments")
        found = self._tries.roots()
        for name in _TRIES:
            said: TrieRoot = getattr(event, name)
            if said != found[name] and not (name == "edges" and self._unknown):
                reason = (
                    f"it commits to {said.count} {name} under {said.root.hex()}; the log folds to "
                    f"{found[name].count} under {found[name].root.hex()}"
                )
                self._tell("commitments", frame, position, reason)
                return
        self._committed = position
        self._ledger.count("commitments", 0, 1)

    def _checkpoints(self, frame: Frame, found: Sequence[tuple[int, AnyEvent | Unknown]]) -> None:
        """Look what the checkpoints at the end of a frame speak for."""
        names = self._proved.get(frame.end)
        if names is None:
            return
        if self._committed == frame.end - 1:
            self._ledger.count("checkpoints", 0, len(names))
            self.holds = frame.end
            return
        committed = bool(found) and found[-1][0] == frame.end - 1 and isinstance(found[-1][1], StateCommitted)
        what = "commits to other state tries than the log's" if committed else "is not state_committed"
        for name in names:
            self._ledger.found("checkpoints", name, 0, f"event {frame.end - 1}, for which it speaks, {what}")

    # -- telling ------------------------------------------------------------------------------------------------------

    def _decoded(self, frame: Frame) -> list[tuple[int, AnyEvent | Unknown]]:
        found = []
        for position, data in enumerate(_core.frame_events(frame.data), frame.first):
            try:
                found.append((position, decode(data)))
            except (LogCorrupt, *UNDECODABLE) as error:
                self._ledger.count("events")
                self._tell("events", frame, position, str(error))
        return found

    def _tell(self, part: PartName, frame: Frame, position: int, reason: str) -> None:
        self._ledger.found(part, frame.file, frame.offset, f"event {position}: {reason}", position=position)


def _place(body: Found) -> str:
    number, offset = divmod(body.location, SEGMENT_BYTES)
    return f"bodies/{segment_name(number)}, offset {offset}"
