"""Verify any document, and say in words what it shows and what it does not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from engram import cid as cids
from engram import events
from engram.errors import LogCorrupt
from engram.events import checkpoints
from engram.identity import PUBLIC_NAMESPACE, ss58
from engram.proofs._documents import Document, Evidence, Note, Transcript
from engram.proofs._errors import DoesNotHold, Unreadable
from engram.proofs._evidence import check_evidence
from engram.proofs._judge import Outcome
from engram.proofs._proof import check_proof
from engram.proofs._receipt import check_receipt
from engram.proofs._transcript import NOTHING_KEPT, check_transcript
from engram.wire import Proof, Receipt

if TYPE_CHECKING:
    from engram.events import CommittedState

_NOT_THE_NODE = "whether that node is the one you mean: pin its address"
_NOT_LATER = "anything about its log after that checkpoint, or when that was: a checkpoint bears no time"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a document shows. `shown` and `not_shown`: sentences; `facts`: the same for a program."""

    kind: str
    node: str
    shown: list[str]
    not_shown: list[str]
    facts: dict[str, Any]


def verify(document: Document, node: bytes | None = None) -> Finding:
    """Verify a document, of this node where one is given. `DoesNotHold`; `Unreadable` for half a document."""
    match document:
        case Proof():
            found = _proof(document, node)
        case Receipt():
            found = _receipt(document, node)
        case Transcript():
            found = _transcript(document, node)
        case Evidence():
            found = _evidence(document, node)
        case Note():
            found = _note(document, node)
    pinned = node is not None
    return found if pinned else msgspec.structs.replace(found, not_shown=[*found.not_shown, _NOT_THE_NODE])


def _proof(proof: Proof, node: bytes | None) -> Finding:
    proved = check_proof(proof, node)
    said, facts = _of_record(proof, proved.value) if proof.trie == "records" else _of_key(proof, proved.value)
    return Finding(
        kind="proof",
        node=ss58(proved.committed.node_key),
        shown=[said, _as_of(proved.committed)],
        not_shown=[
            *(["that it has the record's bytes: a challenge shows that"] if proof.cid and proof.present else []),
            _NOT_LATER,
        ],
        facts=facts | _committed(proved.committed),
    )


def _of_record(proof: Proof, value: bytes | None) -> tuple[str, dict[str, Any]]:
    facts: dict[str, Any] = {"cid": proof.cid, "present": value is not None}
    if value is None:
        return f"The node held no record {proof.cid}.", facts
    return (
        f"The node held the record {proof.cid}; its payload has the SHA-256 {value.hex()}.",
        facts | {"payload_sha256": value.hex()},
    )


def _of_key(proof: Proof, value: bytes | None) -> tuple[str, dict[str, Any]]:
    assert proof.ns is not None
    where = "the public namespace" if proof.ns == PUBLIC_NAMESPACE else f"the namespace {proof.ns.hex()}"
    names = None if value is None else cids.from_digest(value)
    facts = {"key": proof.key, "namespace_id": proof.ns.hex(), "present": names is not None, "cid": names}
    if names is None:
        return f"The key {proof.key!r} of {where} named nothing.", facts
    return f"The key {proof.key!r} of {where} named {names}: the newest that it had.", facts


def _as_of(committed: CommittedState) -> str:
    return f"It has signed this for its log of {committed.size:,} events, with the root {committed.root.hex()}."


def _committed(committed: CommittedState) -> dict[str, Any]:
    state = committed.state
    return {
        "size": committed.size,
        "root": committed.root.hex(),
        "records": state.records.count,
        "records_root": state.records.root.hex(),
        "heads": state.heads.count,
        "heads_root": state.heads.root.hex(),
    }


def _receipt(receipt: Receipt, node: bytes | None) -> Finding:
    if node is None:
        raise Unreadable("a receipt does not name its node: say whose it is, with its address (`engram status` has it)")
    event = check_receipt(receipt, node)
    kind = event.type if isinstance(event, events.Unknown) else str(event.__struct_config__.tag)
    facts = {
        "position": receipt.position,
        "size": receipt.size,
        "root": receipt.root.hex(),
        "time_unix_ns": receipt.time_unix_ns,
        "event": kind,
        "fields": events.plain(msgspec.msgpack.decode(receipt.event)),
    }
    return Finding(
        kind="receipt",
        node=ss58(node),
        shown=[
            f"The node has signed that the event {kind} stands at position {receipt.position:,} of its log.",
            f"Its log had {receipt.size:,} events then, with the root {receipt.root.hex()}.",
        ],
        not_shown=["that the node still holds what the event is about", "that its clock was right"],
        facts=facts,
    )


def _transcript(transcript: Transcript, node: bytes | None) -> Finding:
    judged = check_transcript(transcript, node)
    challenge, judgement = transcript.challenge, transcript.judgement
    assert judgement is not None
    signed = transcript.slow is not None and judged.outcome in (Outcome.PASS, Outcome.INVALID, Outcome.ERASED)
    return Finding(
        kind="transcript",
        node=ss58(challenge.miner),
        shown=[
            f"The verdict is {judged.outcome.name}: {judged.reason}.",
            *([_samples(judged.samples)] if judged.samples else []),
            f"The validator {ss58(challenge.validator)} has signed it.",
            *(["The node has signed its answers."] if signed else []),
        ],
        not_shown=[
            f"the times ({transcript.a_ms:,} and {transcript.b_ms:,} ms), which are the validator's word",
            *([] if signed else ["that the node did not answer, which is the validator's word"]),
            *(["that its validator kept this transcript"] if judgement.evidence == NOTHING_KEPT else []),
        ],
        facts={
            "verdict": judged.outcome.name,
            "reason": judged.reason,
            "validator": ss58(challenge.validator),
            "mode": challenge.mode,
            "m": challenge.m,
            "records_shown": judged.samples,
            "a_ms": transcript.a_ms,
            "b_ms": transcript.b_ms,
            "size": challenge.log_size,
            "issued_unix_ms": challenge.issued_unix_ms,
        },
    )


def _samples(count: int) -> str:
    if count == 1:
        return "The node showed 1 record; its bytes are in this file."
    return f"The node showed {count:,} records; their bytes are in this file."


def _evidence(evidence: Evidence, node: bytes | None) -> Finding:
    said = check_evidence(evidence, node)
    return Finding(
        kind="evidence",
        node=ss58(evidence.node),
        shown=[f"The node has broken the rules: {said}."],
        not_shown=["who else knows of it"],
        facts={"kind": evidence.kind, "says": said},
    )


def _note(note: Note, node: bytes | None) -> Finding:
    try:
        public = checkpoints.signer(note.note) if node is None else node
        checkpoint = checkpoints.parse(note.note, public)
    except LogCorrupt as error:
        raise DoesNotHold(error.message, field="checkpoint") from None
    root = checkpoint.root.hex()
    return Finding(
        kind="checkpoint",
        node=ss58(public),
        shown=[f"The node has signed that its log had {checkpoint.size:,} events, with the root {root}."],
        not_shown=["what stands in that log", _NOT_LATER],
        facts={
            "size": checkpoint.size,
            "root": root,
            "note_sha256": hashlib.sha256(note.note).hexdigest(),
        },
    )
