"""The verdict on a challenge, from all that was said in it. The table of these rules: `docs/proofs.md`; formats §5.

What the miner has signed can be held against it; what it has not signed, and the times, are the validator's word. So
INVALID needs both its signatures over what is wrong, and whatever anybody on the way could have changed earns less.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from engram.identity import fast_message, slow_message, verify
from engram.proofs._answers import are_leaves, owner_of, show
from engram.proofs._chal_id import challenge_id, why_refused

if TYPE_CHECKING:
    from engram.events import CommittedState
    from engram.proofs._documents import Failure, Transcript
    from engram.wire import Challenge

_SEED = 32
_SILENCE = {"unavailable", "deadline"}
MALFORMED = "malformed"
"""The code of a failure that is an answer nobody can read."""


class Outcome(enum.IntEnum):
    """A verdict's number: formats §5."""

    PASS = 0
    INVALID = 1
    MISSING = 2
    LATE = 3
    REFUSED = 4
    UNREACHABLE = 5
    ERASED = 6


class Judged(msgspec.Struct, frozen=True):
    """A verdict and why. `samples`: the records whose bytes were shown. `owner`: who had the one erased, if ERASED."""

    outcome: Outcome
    reason: str
    samples: int = 0
    owner: bytes | None = None


def id_of(transcript: Transcript, committed: CommittedState) -> bytes:
    """Give the id of a transcript's challenge."""
    records = committed.state.records
    return challenge_id(transcript.challenge, committed.root, records.root, records.count)


def judge(transcript: Transcript, committed: CommittedState) -> Judged:
    """Give the verdict. `committed`: what the transcript's commitment was verified to say."""
    if (refused := why_refused(transcript.challenge, committed.state.records.count)) is not None:
        return Judged(Outcome.REFUSED, refused)
    chal_id = id_of(transcript, committed)
    return judge_fast(transcript, chal_id) or judge_slow(transcript, committed, chal_id)


def judge_fast(transcript: Transcript, chal_id: bytes) -> Judged | None:
    """Give the verdict, if phase A decides it."""
    challenge, fast = transcript.challenge, transcript.fast
    if fast is None:
        return _failed(transcript.failure)
    if fast.chal_id != chal_id or len(fast.seed) != _SEED:
        return Judged(Outcome.LATE, "phase A was answered with something else: no answer came in time")
    if not verify(challenge.miner, fast_message(chal_id, fast.seed), fast.signature):
        return Judged(Outcome.LATE, "phase A was answered by nobody known: the signature is not the miner's")
    if transcript.a_ms > challenge.t1_ms:
        return Judged(Outcome.LATE, f"phase A took {transcript.a_ms:,} ms of {challenge.t1_ms:,}")
    return None


def _failed(failure: Failure | None) -> Judged:
    if failure is None:
        return Judged(Outcome.UNREACHABLE, "nothing came")
    said = f"phase {failure.phase.upper()}: {failure.code}: {failure.message}"
    if failure.code == "not_found":
        return Judged(Outcome.MISSING, said)
    if failure.code == MALFORMED:
        return Judged(Outcome.LATE, said)
    if failure.code in _SILENCE:
        return Judged(Outcome.UNREACHABLE if failure.phase == "a" else Outcome.LATE, said)
    return Judged(Outcome.REFUSED, said)


def judge_slow(transcript: Transcript, committed: CommittedState, chal_id: bytes) -> Judged:
    """Give the verdict where phase A left it open."""
    challenge, fast, slow = transcript.challenge, transcript.fast, transcript.slow
    if slow is None or fast is None:
        return _failed(transcript.failure)
    if slow.chal_id != chal_id or slow.total != len(slow.payloads) or not are_leaves(slow.leaves):
        return Judged(Outcome.LATE, "phase B was answered with something else: no answer came in time")
    shown = show(challenge, chal_id, committed.state.records, slow)
    message = slow_message(chal_id, slow.multiproof, slow.leaves, [shown.hashes])
    if not verify(challenge.miner, message, slow.signature):
        return Judged(Outcome.LATE, "phase B was answered by nobody known: the signature is not the miner's")
    if shown.wrong is not None:
        return Judged(Outcome.INVALID, shown.wrong)
    if shown.seed != fast.seed:
        return Judged(Outcome.INVALID, "the payloads do not lead to the seed that phase A gave")
    if shown.lacks is not None:
        return _lacking(transcript, shown.lacks)
    if slow.tombstone is not None:
        return Judged(Outcome.LATE, "phase B came with a tombstone where no record is missing")
    if transcript.b_ms > challenge.t2_ms:
        return Judged(Outcome.LATE, f"phase B took {transcript.b_ms:,} ms of {challenge.t2_ms:,}")
    return Judged(Outcome.PASS, _passed(challenge, len(slow.payloads)), len(slow.payloads))


def _passed(challenge: Challenge, shown: int) -> str:
    """Say what a PASS is for: by keys also those that the node has shown not to hold."""
    if (asked := len(challenge.keys)) > shown:
        return f"of the records that were asked for, shown: {shown:,}; shown not to be held: {asked - shown:,}"
    return "every record that was asked for was shown"


def _lacking(transcript: Transcript, leaf: bytes) -> Judged:
    challenge, slow = transcript.challenge, transcript.slow
    assert slow is not None
    owner = None
    if slow.tombstone is not None:
        owner = owner_of(slow.tombstone, leaf, transcript.network, challenge.issued_unix_ms)
    if owner is None:
        return Judged(Outcome.MISSING, f"it shows {len(slow.payloads)} records, and not the one that comes next")
    if transcript.b_ms > challenge.t2_ms:
        return Judged(Outcome.LATE, f"phase B took {transcript.b_ms:,} ms of {challenge.t2_ms:,}")
    reason = "the chain ends at a record that its owner has had erased"
    return Judged(Outcome.ERASED, reason, len(slow.payloads), owner)
