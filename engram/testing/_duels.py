"""Challenges of one miner, honest or not, from one seed: what each verdict is, and when an honest one is wronged.

`duel` is one challenge over a link without faults. `ordeal` is an honest miner under everything that happens to one:
messages lost or late, puts, deletions and erasures under way, commitments, restarts between the phases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram.errors import EngramError, Unavailable
from engram.identity import NodeKey
from engram.proofs import Challenger, Nonce, Outcome, Transcript, check_transcript, commitment_of, read, write
from engram.testing._miners import Costs, Miner, payload_of
from engram.testing._rng import stream

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from engram.wire import Challenge, ChallengeAnswer, ChallengePayloads, Fast, Payloads, Slow

VALIDATOR = NodeKey(bytes(range(0x20, 0x40)))
_RECORDS = 60


class Fought(msgspec.Struct, frozen=True):
    """A challenge that is over: its verdict, as whoever reads the transcript comes to it."""

    outcome: Outcome
    reason: str
    samples: int
    a_ms: int
    b_ms: int
    transcript: Transcript


def duel(
    seed: int,
    kind: type[Miner] = Miner,
    *,
    m: int = 64,
    wanted: Sequence[int] = (),
    records: int = 200,
    t1_ms: int = 2_000,
    t2_ms: int = 30_000,
    link_ms: float = 20.0,
    costs: Costs | None = None,
) -> Fought:
    """Challenge a miner of this kind once: m of its records by rank, or those of these numbers by key."""
    return challenged(
        kind(seed, [VALIDATOR.public], records, costs),
        seed,
        m=m,
        wanted=wanted,
        t1_ms=t1_ms,
        t2_ms=t2_ms,
        link_ms=link_ms,
    )


def challenged(
    miner: Miner,
    seed: int,
    *,
    m: int = 64,
    wanted: Sequence[int] = (),
    t1_ms: int = 2_000,
    t2_ms: int = 30_000,
    link_ms: float = 20.0,
) -> Fought:
    """Challenge a miner that is there; `link_ms`: how far it is, there and back."""
    challenger = _challenger(miner, stream(seed, "nonce"), m, wanted, t1_ms, t2_ms)
    while (request := challenger.request) is not None:
        began = miner.now_ms
        miner.spend(link_ms)
        try:
            answer = miner.answer(request)
        except EngramError as error:
            challenger.fail(error, miner.now_ms - began)
        else:
            challenger.take(answer, miner.now_ms - began)
    return _over(challenger, miner)


def _challenger(miner: Miner, rng: random.Random, m: int, wanted: Sequence[int], t1_ms: int, t2_ms: int) -> Challenger:
    return Challenger(
        VALIDATOR,
        miner.store.key.public,
        commitment_of(miner.commitment()),
        Nonce(rng.randbytes(32)),
        now_unix_ms=int(miner.now_ms),
        m=m,
        keys=sorted(cids.key_of(payload_of(number)[0]) for number in wanted),
        t1_ms=t1_ms,
        t2_ms=t2_ms,
    )


def _over(challenger: Challenger, miner: Miner) -> Fought:
    """Conclude, and have the transcript read and judged by whoever gets it."""
    transcript = read(write(challenger.conclude()))
    assert isinstance(transcript, Transcript)
    judged = check_transcript(transcript, miner.store.key.public)
    assert judged == challenger.judged, "who reads a transcript comes to the same verdict"
    return Fought(judged.outcome, judged.reason, judged.samples, transcript.a_ms, transcript.b_ms, transcript)


def ordeal(seed: int) -> Fought:
    """Challenge an honest miner while everything happens to it and to what is said."""
    rng = stream(seed, "ordeal")
    miner = Miner(seed, [VALIDATOR.public], rng.randint(1, _RECORDS))
    for _ in range(rng.randint(0, 3)):
        _happens(miner, rng)
    wanted = rng.sample(range(_RECORDS), rng.randint(1, 20)) if rng.random() < 0.3 else []
    t1_ms, t2_ms = rng.choice([50, 500, 2_000]), rng.choice([200, 5_000, 600_000])
    challenger = _challenger(miner, rng, rng.randint(1, 64), wanted, t1_ms, t2_ms)
    while (request := challenger.request) is not None:
        began = miner.now_ms
        miner.spend(rng.expovariate(1 / 30) if rng.random() < 0.8 else rng.uniform(0, 3_000))
        for _ in range(rng.choice([0, 0, 1, 2, 4])):
            _happens(miner, rng)
        try:
            answer = _over_a_bad_line(miner, request, rng)
        except EngramError as error:
            challenger.fail(error, miner.now_ms - began)
        else:
            challenger.take(answer, miner.now_ms - began)
    return _over(challenger, miner)


def _over_a_bad_line(
    miner: Miner, request: Challenge | ChallengeAnswer | ChallengePayloads, rng: random.Random
) -> Fast | Slow | Payloads:
    """Ask, perhaps in vain, perhaps twice, as a client does whose connection broke before the answer came."""
    if rng.random() < 0.05:
        raise Unavailable("the request was lost")
    answer = miner.answer(request)
    if rng.random() < 0.05:
        miner.spend(rng.uniform(0, 1_000))
        answer = miner.answer(request)
    if rng.random() < 0.05:
        raise Unavailable("the answer was lost")
    return answer


def _happens(miner: Miner, rng: random.Random) -> None:
    match rng.choice(("put", "put", "delete", "erase", "commit", "wait", "restart")):
        case "put":
            miner.put(rng.sample(range(_RECORDS), rng.randint(1, 8)))
        case "delete":
            miner.delete(rng.randrange(_RECORDS))
        case "erase":
            miner.delete(rng.randrange(_RECORDS), erase=True)
        case "commit":
            miner.store.commitment(miner.now_ns)
        case "wait":
            miner.spend(rng.choice([1.0, 100.0, 70_000.0, 1_900_000.0]))
        case "restart":
            miner.restart()
