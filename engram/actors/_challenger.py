"""The challenger actor: it has other nodes show, one after the other, that they hold what they have committed to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol, TypeVar

from engram.actors._store import Commit
from engram.errors import EngramError
from engram.proofs import Outcome, event_of
from engram.runtime import Actor, Message, handle
from engram.store import JudgeOperation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from engram.events import Checkpoint, CommittedState
    from engram.proofs import Evidence, Judged, Transcript
    from engram.wire import Commitment

T = TypeVar("T")

LANE = "challenger"


class Over(Protocol):
    """A challenge that is over."""

    @property
    def commitment(self) -> Commitment: ...
    @property
    def committed(self) -> CommittedState: ...
    @property
    def judged(self) -> Judged: ...
    @property
    def chal_id(self) -> bytes: ...
    @property
    def earlier(self) -> Checkpoint | None:
        """What the node had signed before, where it does not prove that its log begins with that."""
        ...

    def transcript(self, *, keep: bool) -> Transcript:
        """Sign the verdict; `keep`: over the transcript's hash too."""
        ...


class Keeper(Protocol):
    """Where evidence is kept; each call is for a thread, and may raise `OSError`."""

    def meet(self, commitment: Commitment, committed: CommittedState) -> Evidence | None:
        """Remember a commitment; give the evidence that it is, beside an earlier one."""
        ...

    def keep(self, transcript: Transcript) -> None:
        """Keep a transcript, if it is evidence."""
        ...


class ChallengeOnce(Message[float], frozen=True):
    """Challenge the next node; answers in how many seconds to ask again."""


class ChallengerActor(Actor):
    """Challenges each of `nodes` once in `every_s`, appends the verdict to this node's log, and keeps hard evidence."""

    asks = ("store",)
    mailbox_limit = 4

    def __init__(
        self, nodes: Sequence[str], every_s: float, challenge: Callable[[str], Awaitable[Over]], keeper: Keeper
    ) -> None:
        self._nodes = nodes
        self._pause_s = every_s / len(nodes)
        self._challenge = challenge
        self._keeper = keeper
        self._turn = 0

    @handle
    async def once(self, message: ChallengeOnce) -> float:
        """Challenge the node whose turn it is."""
        del message
        began = self.context.clock.monotonic()
        node = self._nodes[self._turn]
        self._turn = (self._turn + 1) % len(self._nodes)
        try:
            over = await self._challenge(node)
        except EngramError as error:
            self.context.log.warning("challenge_not_made", node=node, code=error.code)
        else:
            await self._meet(node, over)
            await self._judge(node, over)
        return max(0.0, self._pause_s - (self.context.clock.monotonic() - began))

    async def _meet(self, node: str, over: Over) -> None:
        """Hold what it has committed to against what it has before."""
        if (earlier := over.earlier) is not None:
            rolled_back = over.committed.size < earlier.size
            told = "log_rolled_back" if rolled_back else "history_not_proved"
            self.context.log.warning(told, node=node, size=over.committed.size, signed_before=earlier.size)
        if await self._beside(functools.partial(self._keeper.meet, over.commitment, over.committed)) is not None:
            self.context.log.error("equivocation_found", node=node, size=over.committed.size)

    async def _judge(self, node: str, over: Over) -> None:
        outcome = over.judged.outcome
        transcript = over.transcript(keep=outcome == Outcome.INVALID)
        await self._beside(functools.partial(self._keeper.keep, transcript))
        judged = event_of(transcript, over.chal_id)
        [kept] = await self.context.refs["store"].ask(Commit([JudgeOperation(judged)]))
        if isinstance(kept, EngramError):
            raise kept
        facts = {"node": node, "verdict": outcome.name, "a_ms": judged.a_ms, "b_ms": judged.b_ms}
        self.context.log.info("challenge_judged", **facts)

    async def _beside(self, call: Callable[[], T]) -> T:
        return await self.context.offload.run(LANE, call)
