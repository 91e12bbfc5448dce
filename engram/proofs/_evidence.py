"""Evidence: what no node that keeps to the rules has signed, in a form that anyone can verify. Docs: `docs/proofs.md`.

A consistency proof that fails is no evidence: nobody has signed it. What a node has signed twice, and cannot both be
true, is: two roots of one size, or two events at one position, each with its path to a root that the node has signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram import events
from engram.errors import LogCorrupt
from engram.events import checkpoints
from engram.identity import receipt_message, verify
from engram.proofs._documents import Evidence, Said, Transcript
from engram.proofs._errors import DoesNotHold, Unreadable
from engram.proofs._judge import Outcome
from engram.proofs._transcript import check_transcript

if TYPE_CHECKING:
    from engram.wire import Commitment, Receipt


def evidence_of(transcript: Transcript) -> Evidence:
    """Give the evidence that a transcript with the verdict INVALID is."""
    return _checked(Evidence(kind="invalid", node=transcript.challenge.miner, transcript=transcript))


def equivocation(node: bytes, first: Said, second: Said, position: int | None = None) -> Evidence:
    """Give the evidence that two things which a node has signed are; `DoesNotHold` where both may be true."""
    return _checked(Evidence(kind="equivocation", node=node, first=first, second=second, position=position))


def said_in_commitment(commitment: Commitment) -> Said:
    """Give what a commitment says of its last position."""
    return Said(checkpoint=commitment.checkpoint, event=commitment.event, path=commitment.path)


def said_in_receipt(receipt: Receipt) -> Said:
    """Give what a receipt says of its position."""
    return Said(receipt=receipt)


def _checked(evidence: Evidence) -> Evidence:
    check_evidence(evidence)
    return evidence


def check_evidence(evidence: Evidence, node: bytes | None = None) -> str:
    """Verify evidence, against this node where one is given, and say what it shows; `DoesNotHold`: nothing."""
    if node is not None and evidence.node != node:
        raise DoesNotHold("it is about another node", field="node")
    if evidence.kind == "invalid":
        return _check_invalid(evidence)
    return _check_equivocation(evidence)


def _check_invalid(evidence: Evidence) -> str:
    if evidence.transcript is None or evidence.first or evidence.second or evidence.position is not None:
        raise Unreadable("an `invalid` has a transcript and nothing else", field="transcript")
    judged = check_transcript(evidence.transcript, evidence.node)
    if judged.outcome != Outcome.INVALID:
        raise DoesNotHold(f"the challenge ended in {judged.outcome.name}, not INVALID: {judged.reason}")
    return f"it signed an answer to a challenge that no honest node can have: {judged.reason}"


def _check_equivocation(evidence: Evidence) -> str:
    first, second, position = evidence.first, evidence.second, evidence.position
    if first is None or second is None or evidence.transcript is not None:
        raise Unreadable("an `equivocation` has a first and a second, and no transcript", field="first")
    one, other = _signed(first, evidence.node, "first"), _signed(second, evidence.node, "second")
    if position is None:
        if one.size != other.size or one.root == other.root:
            raise DoesNotHold(f"sizes {one.size} and {other.size}: only two roots of one size exclude each other")
        return f"it signed two roots of its log of {one.size:,} events"
    if _standing(first, one, position, "first") == _standing(second, other, position, "second"):
        raise DoesNotHold(f"both have the same event at position {position}", field="second.event")
    return f"it signed two histories: another event at position {position:,} of {one.size:,} than of {other.size:,}"


def _signed(said: Said, node: bytes, field: str) -> events.Checkpoint:
    """Give the size and root that the node has signed; a receipt's signature is over both."""
    if (said.checkpoint is None) == (said.receipt is None):
        raise Unreadable("it has a checkpoint or a receipt, and one alone", field=field)
    if said.checkpoint is not None:
        try:
            return checkpoints.parse(said.checkpoint, node)
        except LogCorrupt as error:
            raise DoesNotHold(error.message, field=f"{field}.checkpoint") from None
    receipt = said.receipt
    assert receipt is not None
    in_range = 0 <= receipt.size < 2**64 and 0 <= receipt.time_unix_ns < 2**64 and len(receipt.root) == 32
    if not in_range or not verify(
        node, receipt_message(receipt.size, receipt.root, receipt.time_unix_ns), receipt.signature
    ):
        raise DoesNotHold("the receipt is not signed by this node", field=f"{field}.receipt")
    return events.Checkpoint(receipt.size, receipt.root)


def _standing(said: Said, signed: events.Checkpoint, position: int, field: str) -> bytes:
    """Give the event that stands at the position, by what the node has signed."""
    event, path = said.event, said.path
    if said.receipt is not None and event is None and path is None:
        event, path = said.receipt.event, said.receipt.path
    if event is None or path is None:
        raise Unreadable("with a position, both have an event and a path", field=field)
    if not events.verify_inclusion(event, position, signed.size, path, signed.root):
        raise DoesNotHold(f"its event does not stand at position {position}", field=f"{field}.path")
    return event
