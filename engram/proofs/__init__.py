"""Proofs of what a node holds and did: made, challenged, judged and verified; synchronous, without a clock or a loop.

`Prover` and `Challenger` are the two sides of a challenge; `judge` and `verify` hold what was said against itself.
"""

from engram.proofs._chal_id import (
    BY_KEY,
    BY_RANK,
    EPOCH_S,
    Nonce,
    challenge_id,
    draw_nonce,
    epoch_of,
    query_of,
)
from engram.proofs._challenger import T1_MS, T2_MS, Challenger, event_of
from engram.proofs._committed import Committed, check_commitment, commitment_of
from engram.proofs._documents import (
    ANY_NETWORK,
    Document,
    Evidence,
    Failure,
    Judgement,
    Note,
    Said,
    Transcript,
)
from engram.proofs._errors import DoesNotHold, Unreadable
from engram.proofs._evidence import (
    check_evidence,
    equivocation,
    evidence_of,
    said_in_commitment,
    said_in_receipt,
)
from engram.proofs._hmac import embedding_hash_v1, key_v1, prove_v1, verify_v1
from engram.proofs._judge import Judged, Outcome, judge
from engram.proofs._proof import Proved, check_proof, prove_key, prove_record
from engram.proofs._prover import WINDOW_MS, Answering, Bodies, Prover, ProverLimits
from engram.proofs._read import DOCUMENT_BYTES, read, write
from engram.proofs._receipt import check_receipt
from engram.proofs._transcript import check_transcript, evidence_hash
from engram.proofs._verify import Finding, verify

__all__ = [
    "ANY_NETWORK",
    "BY_KEY",
    "BY_RANK",
    "DOCUMENT_BYTES",
    "EPOCH_S",
    "T1_MS",
    "T2_MS",
    "WINDOW_MS",
    "Answering",
    "Bodies",
    "Challenger",
    "Committed",
    "Document",
    "DoesNotHold",
    "Evidence",
    "Failure",
    "Finding",
    "Judged",
    "Judgement",
    "Nonce",
    "Note",
    "Outcome",
    "Proved",
    "Prover",
    "ProverLimits",
    "Said",
    "Transcript",
    "Unreadable",
    "challenge_id",
    "check_commitment",
    "check_evidence",
    "check_proof",
    "check_receipt",
    "check_transcript",
    "commitment_of",
    "draw_nonce",
    "embedding_hash_v1",
    "epoch_of",
    "equivocation",
    "event_of",
    "evidence_hash",
    "evidence_of",
    "judge",
    "key_v1",
    "prove_key",
    "prove_record",
    "prove_v1",
    "query_of",
    "read",
    "said_in_commitment",
    "said_in_receipt",
    "verify",
    "verify_v1",
    "write",
]
