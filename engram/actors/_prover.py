"""The prover actor: it answers challenges, one after the other, on a lane of its own, so that queries do not wait.

A walk over records cannot be cut short where it has begun; late ones are cut off all the same, and the next one waits
for the thread. So the mailbox is short, and who finds it full is told to try again.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol

from engram.errors import EngramError, NotFound
from engram.runtime import Actor, Message, handle
from engram.wire import Challenge, Fast, Payloads, Slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.ports import Clock, Offload
    from engram.proofs import Answering, Committed, Prover

LANE = "prover"

_NO_CHALLENGE = b""


class AnswerFast(Message[Fast], frozen=True):
    """Answer phase A of a challenge."""

    challenge: Challenge


class AnswerSlow(Message[Slow], frozen=True):
    """Answer phase B. `asker`: the key that asks; None: the operator."""

    chal_id: bytes
    asker: bytes | None


class GivePayloads(Message[Payloads], frozen=True):
    """Give the payloads of phase B from one on. `asker` as in `AnswerSlow`."""

    chal_id: bytes
    start: int
    asker: bytes | None


class States(Protocol):
    """Where the states are that may be challenged."""

    def challengeable(self, now_ns: int) -> tuple[Committed, ...]:
        """Give them."""
        ...


class Tally:
    """What has become of challenges since the node started; it outlives the actor's crashes."""

    def __init__(self) -> None:
        self.answered = 0
        """Phase A."""
        self.shown = 0
        """Phase B: the records of it were proved, and the first of them sent."""
        self.missing = 0
        """Records whose bytes were not here, or not whole: the challenge failed for it."""
        self.refused = 0
        """Whoever may not ask, and what cannot be answered."""


class ProverActor(Actor):
    """Owns a prover, and with it the challenges that are open."""

    mailbox_limit = 64

    def __init__(
        self, prover: Prover, states: Callable[[], States], offload: Offload, clock: Clock, tally: Tally
    ) -> None:
        self._prover = prover
        self._states = states
        self._offload = offload
        self._clock = clock
        self._tally = tally

    @handle
    async def fast(self, message: AnswerFast) -> Fast:
        """Walk the chain and sign its end."""
        states = self._states().challengeable(self._clock.now_ns())
        try:
            answering = self._prover.admit(message.challenge, states, self._now_ms())
        except EngramError:
            self._tally.refused += 1
            raise
        try:
            fast = await self._offload.run(LANE, answering.fast)
        except BaseException as error:
            self._prover.drop(answering)
            self._tally.missing += isinstance(error, NotFound)
            raise
        self._tally.answered += 1
        return fast

    @handle
    async def slow(self, message: AnswerSlow) -> Slow:
        """Prove the leaves, and give the first payloads."""
        slow = await self._offload.run(LANE, self._find(message.chal_id, message.asker).slow)
        self._tally.shown += 1
        return slow

    @handle
    async def payloads(self, message: GivePayloads) -> Payloads:
        """Give further payloads."""
        answering = self._find(message.chal_id, message.asker)
        return await self._offload.run(LANE, functools.partial(answering.payloads, message.start))

    def _find(self, chal_id: bytes, asker: bytes | None) -> Answering:
        answering = self._prover.find(chal_id, self._now_ms())
        if asker in (None, answering.validator):
            return answering
        return self._prover.find(_NO_CHALLENGE, self._now_ms())  # as if there were none of this id

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000
