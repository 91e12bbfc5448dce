"""The documents that prove something away from the node that made them: what stands in each. Docs: `docs/proofs.md`.

A proof and a receipt are what the wire has (`engram.wire`); a transcript is a challenge with all that was answered; an
evidence is what no node that keeps to the rules can have signed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from engram.wire import Challenge, Commitment, Fast, Proof, Receipt, Slow

FORMATS = {"engram/proof/1", "engram/receipt/1", "engram/transcript/1", "engram/evidence/1"}

ANY_NETWORK = bytes(32)
"""The network that signatures name on a node of its own: `formats.md` §9."""

Ms = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what a document is made of."""


class Failure(_Part, frozen=True, kw_only=True):
    """What came in place of an answer: an error of the miner's or of the way to it, or `malformed` for an answer.

    `phase`: a, before the fast answer, or b. Nobody has signed it: it is the validator's word.
    """

    phase: Literal["a", "b"]
    code: str
    message: str


class Judgement(_Part, frozen=True, kw_only=True):
    """A validator's signed word on a challenge: `formats.md` §9, `verdict`.

    `evidence`: the SHA-256 of the transcript without this, as canonical JSON (RFC 8785); zeros: none is kept.
    """

    verdict: Annotated[int, msgspec.Meta(ge=0, le=6)]
    reason: str
    evidence: bytes
    signature: bytes


class Transcript(_Part, frozen=True, kw_only=True, tag_field="format", tag="engram/transcript/1"):
    """A challenge as it went, whole: whoever has it comes to the verdict again. It shows users' records.

    `a_ms`, `b_ms`: how long phases A and B took, by the validator's clock. `slow`: with all payloads, however many
    parts they came in. `block_hash` and `secret`: what the nonce was made of; absent: it was random. `network`: as
    signatures name it (`formats.md` §9).
    """

    challenge: Challenge
    commitment: Commitment
    a_ms: Ms = 0
    b_ms: Ms = 0
    fast: Fast | None = None
    slow: Slow | None = None
    failure: Failure | None = None
    network: bytes = ANY_NETWORK
    block_hash: bytes | None = None
    secret: bytes | None = None
    judgement: Judgement | None = None


class Said(_Part, frozen=True, kw_only=True):
    """What a node has signed of its log: a checkpoint, or a receipt, which says size and root just so.

    `event` and `path`: what stands at the evidence's position, under that root; absent where the roots alone differ,
    and where a receipt has its own.
    """

    checkpoint: bytes | None = None
    receipt: Receipt | None = None
    event: bytes | None = None
    path: list[bytes] | None = None


class Evidence(_Part, frozen=True, kw_only=True, tag_field="format", tag="engram/evidence/1"):
    """What a node that keeps to the rules never signs; anyone can verify it.

    `invalid`: a `transcript` whose verdict is INVALID. `equivocation`: `first` and `second` are of one log and cannot
    both be true: one size and two roots, or two events at one `position`.
    """

    kind: Literal["invalid", "equivocation"]
    node: bytes
    transcript: Transcript | None = None
    first: Said | None = None
    second: Said | None = None
    position: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Note(_Part, frozen=True, kw_only=True):
    """A bare checkpoint: the signed note of `checkpoints/`, or of a tlog."""

    note: bytes


Document = Proof | Receipt | Transcript | Evidence | Note
