"""The validator's side of a challenge, sans-IO: requests out, answers and times in, a verdict at the end. Formats §5.

Whoever drives it sends `request`, gives what came to `take` or `fail`, with the milliseconds that it took, and goes on
until there is no request any more. It holds no data of the miner's beforehand, and afterwards what it was sent: at most
m payloads of 1 MiB, which is what bounds its memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram import events
from engram.identity import ask_message
from engram.limits import LIMITS
from engram.proofs._chal_id import BY_KEY, BY_RANK, Nonce, challenge_id, epoch_of
from engram.proofs._committed import check_commitment
from engram.proofs._documents import ANY_NETWORK, Failure, Transcript
from engram.proofs._judge import MALFORMED, Judged, judge, judge_fast, judge_slow
from engram.proofs._transcript import sign_judgement
from engram.wire import Challenge, ChallengeAnswer, ChallengePayloads, Fast, Payloads, Slow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from engram.errors import EngramError
    from engram.identity import NodeKey
    from engram.wire import Commitment

T1_MS, T2_MS = 2_000, 30_000
"""How long a miner has for each phase, unless who challenges says otherwise."""

_MS_MAX = 2**32 - 1
_MESSAGE = 400


class Challenger:
    """One challenge of one node. `request` is what to send next; None: `judged` is the verdict.

    `m` records by rank, or those of `keys` (K, ascending, each once). `commitment`: the miner's, or of whose it says
    where that is None; it is verified first, and may raise `DoesNotHold`; `committed` is what it says.
    """

    def __init__(
        self,
        key: NodeKey,
        miner: bytes | None,
        commitment: Commitment,
        nonce: Nonce,
        *,
        now_unix_ms: int,
        m: int = 64,
        keys: Sequence[bytes] = (),
        netuid: int = 0,
        epoch: int | None = None,
        t1_ms: int = T1_MS,
        t2_ms: int = T2_MS,
        network: bytes = ANY_NETWORK,
    ) -> None:
        self._key = key
        self.committed = check_commitment(commitment, miner)
        unsigned = Challenge(
            netuid=netuid,
            epoch=epoch_of(now_unix_ms) if epoch is None else epoch,
            mode=BY_KEY if keys else BY_RANK,
            m=len(keys) if keys else m,
            validator=key.public,
            miner=self.committed.node_key,
            log_size=self.committed.size,
            nonce=nonce.nonce,
            keys=list(keys),
            issued_unix_ms=now_unix_ms,
            t1_ms=t1_ms,
            t2_ms=t2_ms,
            signature=b"",
        )
        records = self.committed.state.records
        self.chal_id = challenge_id(unsigned, self.committed.root, records.root, records.count)
        challenge = msgspec.structs.replace(unsigned, signature=key.sign(ask_message(self.chal_id)))
        self._said = Transcript(
            challenge=challenge,
            commitment=commitment,
            network=network,
            block_hash=nonce.block_hash,
            secret=nonce.secret,
        )
        self._slow: Slow | None = None
        self.request: Challenge | ChallengeAnswer | ChallengePayloads | None = challenge
        self.judged: Judged | None = None
        if records.count == 0:
            self._end(judge(self._said, self.committed))

    @property
    def patience_ms(self) -> int:
        """How long to wait for the answer to `request`: longer than it has, so that late is told from never."""
        challenge = self._said.challenge
        return 1000 + (2 * challenge.t1_ms if self._said.fast is None else challenge.t2_ms - self._said.b_ms)

    def take(self, answer: Fast | Slow | Payloads, took_ms: float) -> None:
        """Take the answer to `request`, which came so long after that was sent."""
        self._took(took_ms)
        match answer:
            case Fast() if isinstance(self.request, Challenge):
                self._take_fast(answer)
            case Slow() if isinstance(self.request, ChallengeAnswer):
                self._take_slow(answer)
            case Payloads() if isinstance(self.request, ChallengePayloads):
                self._take_payloads(answer)
            case _:
                raise TypeError(f"{type(answer).__name__} answers no {type(self.request).__name__}")

    def fail(self, error: EngramError, took_ms: float) -> None:
        """Take an error in place of the answer: the node's own, or `Unavailable` or `DeadlineExceeded` for silence."""
        self._took(took_ms)
        self._fail(error.code, error.message)

    def conclude(self, *, keep: bool = True) -> Transcript:
        """Sign the verdict, and give the transcript. `keep`: it is kept, and the signature is over its hash too."""
        if self.judged is None:
            raise TypeError("the challenge is not over")
        judgement = sign_judgement(self._said, self.chal_id, self.judged, self._key, keep=keep)
        return msgspec.structs.replace(self._said, judgement=judgement)

    def _take_fast(self, fast: Fast) -> None:
        self._set(fast=fast)
        if (judged := judge_fast(self._said, self.chal_id)) is None:
            self.request = ChallengeAnswer(chal_id=self.chal_id)
        else:
            self._end(judged)

    def _take_slow(self, slow: Slow) -> None:
        if not 0 <= slow.total <= self._said.challenge.m:
            self._fail(
                MALFORMED, f"it announces {slow.total} payloads, of {self._said.challenge.m} that were asked for"
            )
            return
        self._slow = slow
        self._go_on(slow.payloads)

    def _take_payloads(self, part: Payloads) -> None:
        assert self._slow is not None
        if part.chal_id != self.chal_id or not part.payloads:
            self._fail(MALFORMED, "a part of phase B is of another challenge, or empty")
            return
        self._slow = msgspec.structs.replace(self._slow, payloads=[*self._slow.payloads, *part.payloads])
        self._go_on(part.payloads)

    def _go_on(self, part: Sequence[bytes]) -> None:
        assert self._slow is not None
        came, total = len(self._slow.payloads), self._slow.total
        if came > total or any(len(payload) > LIMITS.payload_bytes for payload in part):
            self._fail(MALFORMED, f"it sends more than the {total} payloads that it announces, or one over 1 MiB")
        elif came == total:
            self._set(slow=self._slow)
            self._end(judge_slow(self._said, self.committed, self.chal_id))
        elif self._said.b_ms > self._said.challenge.t2_ms:
            self._fail("deadline", f"{came} of {total} payloads had come")
        else:
            self.request = ChallengePayloads(chal_id=self.chal_id, start=came)

    def _took(self, took_ms: float) -> None:
        spent: dict[str, int] = {}
        if self._said.fast is None:
            spent["a_ms"] = min(_MS_MAX, round(took_ms))
        else:
            spent["b_ms"] = min(_MS_MAX, self._said.b_ms + round(took_ms))
        self._set(**spent)

    def _fail(self, code: str, message: str) -> None:
        phase: Literal["a", "b"] = "a" if self._said.fast is None else "b"
        said = message.encode("ascii", "backslashreplace").decode()[:_MESSAGE]
        self._set(failure=Failure(phase=phase, code=code, message=said))
        self._end(judge(self._said, self.committed))

    def _end(self, judged: Judged) -> None:
        self.request, self._slow = None, None
        self.judged = judged

    def _set(self, **fields: object) -> None:
        self._said = msgspec.structs.replace(self._said, **fields)


def event_of(transcript: Transcript, chal_id: bytes) -> events.ChallengeJudged:
    """Give what a validator appends to its log of a challenge that is over."""
    challenge, judgement = transcript.challenge, transcript.judgement
    if judgement is None:
        raise TypeError("the transcript has no verdict")
    return events.ChallengeJudged(
        chal_id=chal_id,
        miner=challenge.miner,
        netuid=challenge.netuid,
        epoch=challenge.epoch,
        mode=challenge.mode,
        m=challenge.m,
        verdict=judgement.verdict,
        a_ms=transcript.a_ms,
        b_ms=transcript.b_ms,
        secret=transcript.secret or bytes(32),
        evidence=judgement.evidence,
        signature=judgement.signature,
    )
