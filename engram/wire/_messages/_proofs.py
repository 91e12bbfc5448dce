"""Proofs and challenges: what a node holds, shown to who holds nothing. `formats.md` §4 and §5.

A challenge is refused unless `validator` is the node's own key, or one of the `challengers` that its operator has
named; and who sends it has proved that very key, or is the operator, since phase B gives what others keep.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from engram.limits import LIMITS
from engram.wire._messages._base import Answer, Index, Request
from engram.wire._messages._receipts import Commitment, Path

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""32 bytes: a hash, a key of Ed25519, a nonce."""

U16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
U53 = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A number that JSON has everywhere."""


class Proof(Answer, frozen=True, kw_only=True, tag_field="format", tag="engram/proof/1"):
    """Whether something stands in a trie that a node has committed to; checked without it, `engram verify` does so.

    Of a record: `cid`. Of a key: `ns`, the namespace's id, and `key`; the leaf says what it names. `leaves`: the one
    leaf (K, value: 64 bytes) that stands on the way of its K, or none; `multiproof`: the rest of the trie, folded.
    `present`: whether that leaf is its own. What it says is what its reader recomputes, and this is checked too.
    """

    trie: Literal["records", "heads"]
    present: bool
    commitment: Commitment
    leaves: Annotated[list[bytes], msgspec.Meta(max_length=1)]
    multiproof: bytes
    cid: str | None = None
    ns: bytes | None = None
    key: str | None = None


class GetProof(Request[Proof], frozen=True, kw_only=True):
    """Prove that a memory is held, or that none is; or what a key names, or that it names nothing.

    It is proved against a signed checkpoint of at least `min_position` events: where the last one is older, and the
    caller has a key, one is signed for it. That a memory is not held is proved to the operator and its challengers
    alone: to anyone else it would tell what other namespaces hold.
    """

    method: ClassVar[str] = "proof"
    cid: str | None = None
    key: str | None = None
    namespace: str | None = None
    min_position: Index = 0


class GetCommitment(Request[Commitment], frozen=True, kw_only=True):
    """Give the commitment that a challenge is to be held against: it can be challenged for some minutes more."""

    method: ClassVar[str] = "commitment"


class Consistency(Answer, frozen=True, kw_only=True):
    """The consistency proof of RFC 6962 §2.1.2: with both roots it shows that the one log begins with the other."""

    path: Path


class GetConsistency(Request[Consistency], frozen=True, kw_only=True):
    """Prove that the log of `second` events begins with all that it held when it had `first`.

    Who has the checkpoints of these sizes sees by it that nothing was rolled back or changed in between.
    """

    method: ClassVar[str] = "consistency"
    first: Index
    second: Index


class Fast(Answer, frozen=True, kw_only=True):
    """Phase A of a challenge: the seed after the last record, signed by the node key (`formats.md` §9, `fast`)."""

    chal_id: bytes
    seed: bytes
    signature: bytes


class Challenge(Request[Fast], frozen=True, kw_only=True):
    """Have a node show that it holds records which it cannot know beforehand: `formats.md` §5.

    `mode` 0: `m` records by rank; 3: the `keys` (K, 32 bytes each, ascending, distinct). `validator`, `miner`: node
    keys. `log_size`: of the commitment. `signature`: the validator's, over the `chal_id` that all this gives (`ask`).
    The caller has proved the validator's key (`hello`, `prove`), or is the operator; so for what follows it.
    """

    method: ClassVar[str] = "challenge"
    netuid: U16 = 0
    epoch: U53
    mode: Annotated[int, msgspec.Meta(ge=0, le=255)]
    m: Annotated[int, msgspec.Meta(ge=1, le=LIMITS.challenge_records)]
    validator: Hash
    miner: Hash
    log_size: U53
    nonce: Hash
    keys: Annotated[list[Hash], msgspec.Meta(max_length=LIMITS.challenge_records)] = []
    issued_unix_ms: U53
    t1_ms: U32
    t2_ms: U32
    signature: bytes


class Slow(Answer, frozen=True, kw_only=True):
    """Phase B of a challenge: leaves and payloads, and the proof that they stand under the committed root.

    `leaves`: K and H(payload), 64 bytes each, in the trie's order. `payloads`: each distinct one once, by first
    appearance, the first of `total`; what exceeds 4 MiB is fetched with `challenge_payloads`. `tombstone`: the
    `record_deleted.1` event of a record that was erased, at which the chain ends. `signature`: the node key's (`slow`).
    """

    chal_id: bytes
    leaves: Annotated[list[bytes], msgspec.Meta(max_length=LIMITS.challenge_records)]
    multiproof: bytes
    payloads: Annotated[list[bytes], msgspec.Meta(max_length=LIMITS.challenge_records)]
    total: int
    tombstone: bytes | None = None
    signature: bytes


class ChallengeAnswer(Request[Slow], frozen=True, kw_only=True):
    """Ask for phase B of a challenge that was answered with phase A."""

    method: ClassVar[str] = "challenge_answer"
    chal_id: bytes


class Payloads(Answer, frozen=True, kw_only=True):
    """Further payloads of a challenge, in order, as many as one message takes."""

    chal_id: bytes
    payloads: Annotated[list[bytes], msgspec.Meta(max_length=LIMITS.challenge_records)]


class ChallengePayloads(Request[Payloads], frozen=True, kw_only=True):
    """Ask for the payloads of a challenge from the one of this number on, counted from 0."""

    method: ClassVar[str] = "challenge_payloads"
    chal_id: bytes
    start: int = msgspec.field(name="from")


class ProofV1(Answer, frozen=True, kw_only=True):
    """The first Engram's proof: an HMAC of 64 letters. It shows that 32 bytes are held, and no more."""

    embedding_hash: str
    proof: str


class ChallengeV1Result(Answer, frozen=True, kw_only=True):
    """One proof a CID, in order; nil where it is not held."""

    proofs: list[ProofV1 | None]


class ChallengeV1(Request[ChallengeV1Result], frozen=True, kw_only=True):
    """Challenge as the first Engram did (`formats.md` §5, version 1), for its clients.

    `nonce`: 32 bytes. `validator`: 32 bytes, absent: zeros. `batch`: whether each message is prefixed by its index.
    """

    method: ClassVar[str] = "challenge_v1"
    cids: Annotated[list[str], msgspec.Meta(max_length=LIMITS.batch_items)]
    nonce: bytes
    validator: bytes | None = None
    batch: bool = False
