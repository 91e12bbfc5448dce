"""The events: facts, past tense, one MessagePack map each, `type` first. Source: formats §3 and §8.

A breaking change is a new `type` beside the old one and a pure upcast. No event carries users' text or values: those
stand in bodies, hashed here. A type that this build does not know is kept in the log and skipped by its folds.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import LogCorrupt

FORMAT = 1
"""The format of the log and of the folder."""


Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A time or a number: what SQLite can hold of a u64, which is all that there can be."""

Byte = Annotated[int, msgspec.Meta(ge=0, le=2**8 - 1)]
U16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of every event."""


class LogCreated(Event, frozen=True, kw_only=True, tag="log_created.1"):
    """Position 0 of every log: whose it is."""

    format: Count
    node_key: Hash


class NamespaceCreated(Event, frozen=True, kw_only=True, tag="namespace_created.1"):
    """A namespace exists, bound to one model and dimension. `name` is the hash of its patch."""

    ns: Hash
    owner: Hash
    model_version: str
    dim: Count
    name: Hash


class RecordStored(Event, frozen=True, kw_only=True, omit_defaults=True, tag="record_stored.1"):
    """A membership lives: `signer` put the record into the namespace. `payload` is the hash of its body."""

    ns: Hash
    cid: str
    payload: Hash
    signer: Hash
    issued_unix_ms: Count
    signature: bytes | None = None


class RecordDeleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="record_deleted.1"):
    """A membership ended."""

    ns: Hash
    cid: str
    signer: Hash
    issued_unix_ms: Count
    erase: bool
    signature: bytes | None = None


class KeySet(Event, frozen=True, kw_only=True, omit_defaults=True, tag="key_set.1"):
    """A key names a record of its namespace from here on; `cid` empty: nothing more. `key` is the hash of its patch.

    `expect`: what it had to name until now, where `signer` said so: 32 bytes of a CID's digest, 0xff each for nothing.
    """

    ns: Hash
    k: Hash = msgspec.field(name="K")
    cid: str
    key: Hash
    signer: Hash
    issued_unix_ms: Count
    expect: Hash | None = None
    signature: bytes | None = None


class NamespaceDeleted(Event, frozen=True, kw_only=True, tag="namespace_deleted.1"):
    """A namespace is no more: every membership and key in it had ended before. It may be created again."""

    ns: Hash
    signer: Hash
    issued_unix_ms: Count


class TrieRoot(msgspec.Struct, frozen=True):
    """The root and number of leaves of one state trie."""

    root: Hash
    count: Count


class StateCommitted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="state_committed.1"):
    """What the tries are over all events before this one; a checkpoint of the size after it speaks for them."""

    records: TrieRoot
    edges: TrieRoot
    heads: TrieRoot
    block: Count | None = None
    block_hash: Hash | None = None


class RecallMeasured(Event, frozen=True, kw_only=True, tag="recall_measured.1"):
    """What replaying `queries` of a namespace's queries exactly has shown: `found` of the `expected` nearest rows.

    `mode` is that in which they were answered first. From here on `widening` times as many rows are looked at in it.
    """

    ns: Hash
    mode: str
    queries: Count
    expected: Count
    found: Count
    widening: Count


class ChallengeJudged(Event, frozen=True, kw_only=True, tag="challenge_judged.1"):
    """This node challenged another, and says how it went: a verdict of formats §5, signed as §9 has it.

    `miner`: the node key that was challenged. `secret`: what its nonce was made of, zeros where that was random.
    `evidence`: the hash of the transcript that is kept, zeros where none is.
    """

    chal_id: Hash
    miner: Hash
    netuid: U16
    epoch: Count
    mode: Byte
    m: U16
    verdict: Byte
    a_ms: U32
    b_ms: U32
    secret: Hash
    evidence: Hash
    signature: bytes


class Unknown(msgspec.Struct, frozen=True):
    """An event of a type that this build does not know."""

    type: str


AnyEvent = (
    LogCreated
    | NamespaceCreated
    | NamespaceDeleted
    | RecordStored
    | RecordDeleted
    | KeySet
    | StateCommitted
    | RecallMeasured
    | ChallengeJudged
)

_KNOWN = {
    "log_created.1",
    "namespace_created.1",
    "namespace_deleted.1",
    "record_stored.1",
    "record_deleted.1",
    "key_set.1",
    "state_committed.1",
    "recall_measured.1",
    "challenge_judged.1",
}
_decoder = msgspec.msgpack.Decoder(AnyEvent)
_type_decoder = msgspec.msgpack.Decoder(Unknown)


def known_types() -> frozenset[str]:
    """Give the types that this build decodes."""
    return frozenset(_KNOWN)


def is_known(event_type: str) -> bool:
    """Say whether this build decodes events of this type."""
    return event_type in _KNOWN


def encode(event: Event) -> bytes:
    """Encode an event as it stands in the log."""
    return msgspec.msgpack.encode(event)


def decode(data: bytes) -> AnyEvent | Unknown:
    """Decode an event, which may be a stranger's.

    `LogCorrupt` where it is no map with a `type`, or a known type lacks a field or has one of another kind.
    """
    try:
        event: AnyEvent = _decoder.decode(data)
    except UNDECODABLE as error:
        unknown = _of_any_type(data)
        if unknown.type not in _KNOWN:
            return unknown
        raise LogCorrupt(f"an event of type {unknown.type} is malformed: {error}") from None
    return event


def _of_any_type(data: bytes) -> Unknown:
    try:
        return _type_decoder.decode(data)
    except UNDECODABLE as error:
        raise LogCorrupt(f"an event is not msgpack of a map with a type: {error}") from None


def plain(value: Any) -> Any:
    """Give what stands in an event as JSON has it, bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value
