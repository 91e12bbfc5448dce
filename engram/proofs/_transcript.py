"""Transcripts: the validator's signature under a verdict, and how anyone comes to it again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram.identity import ask_message, verdict_message, verify
from engram.proofs._chal_id import draw_nonce
from engram.proofs._committed import check_commitment
from engram.proofs._documents import Judgement, Transcript
from engram.proofs._errors import DoesNotHold
from engram.proofs._judge import Judged, id_of, judge
from engram.proofs._read import write_canonical

if TYPE_CHECKING:
    from engram.identity import NodeKey

NOTHING_KEPT = bytes(32)


def evidence_hash(transcript: Transcript) -> bytes:
    """Give the hash under which a transcript is evidence: without its judgement, as canonical JSON."""
    return hashlib.sha256(write_canonical(msgspec.structs.replace(transcript, judgement=None))).digest()


def sign_judgement(transcript: Transcript, chal_id: bytes, judged: Judged, key: NodeKey, *, keep: bool) -> Judgement:
    """Sign a verdict; where the transcript is kept, over its hash."""
    evidence = evidence_hash(transcript) if keep else NOTHING_KEPT
    message = verdict_message(chal_id, judged.outcome, transcript.a_ms, transcript.b_ms, evidence)
    return Judgement(verdict=judged.outcome, reason=judged.reason, evidence=evidence, signature=key.sign(message))


def check_transcript(transcript: Transcript, node: bytes | None = None) -> Judged:
    """Come to a transcript's verdict again, from nothing but itself; of the miner `node`, where one is given.

    `DoesNotHold`: it is not about what it says, or its validator has signed another verdict.
    """
    challenge = transcript.challenge
    if node is not None and challenge.miner != node:
        raise DoesNotHold("the challenge was of another node", field="challenge.miner")
    committed = check_commitment(transcript.commitment, challenge.miner)
    if challenge.log_size != committed.size:
        raise DoesNotHold("the commitment is not the one that was challenged", field="challenge.log_size")
    chal_id = id_of(transcript, committed)
    if not verify(challenge.validator, ask_message(chal_id), challenge.signature):
        raise DoesNotHold("the challenge is not signed by its validator", field="challenge.signature")
    _check_nonce(transcript)
    judged = judge(transcript, committed)
    _check_judgement(transcript, chal_id, judged)
    return judged


def _check_nonce(transcript: Transcript) -> None:
    block_hash, secret = transcript.block_hash, transcript.secret
    if block_hash is None and secret is None:
        return
    if block_hash is None or secret is None or len(block_hash) != 32 or len(secret) != 32:
        raise DoesNotHold("a nonce is made of a block hash and a secret of 32 bytes each", field="secret")
    if draw_nonce(block_hash, secret).nonce != transcript.challenge.nonce:
        raise DoesNotHold("the nonce is not made of this block hash and secret", field="challenge.nonce")


def _check_judgement(transcript: Transcript, chal_id: bytes, judged: Judged) -> None:
    judgement = transcript.judgement
    if judgement is None:
        raise DoesNotHold("it has no verdict", field="judgement")
    if judgement.verdict != judged.outcome:
        raise DoesNotHold(
            f"its validator says {judgement.verdict}, and what stands in it is {judged.outcome} {judged.outcome.name}: "
            f"{judged.reason}",
            field="judgement.verdict",
        )
    if judgement.reason != judged.reason:
        raise DoesNotHold("the reason is not the one that follows", field="judgement.reason")
    if judgement.evidence not in (evidence_hash(transcript), NOTHING_KEPT):
        raise DoesNotHold("the verdict is over another transcript", field="judgement.evidence")
    message = verdict_message(chal_id, judgement.verdict, transcript.a_ms, transcript.b_ms, judgement.evidence)
    if not verify(transcript.challenge.validator, message, judgement.signature):
        raise DoesNotHold("the verdict is not signed by the validator", field="judgement.signature")
