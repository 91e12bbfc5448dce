"""The life of one actor: it is started, crashes, waits, is started again, and stops or is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import trio

from engram.errors import Internal
from engram.runtime._failures import FATAL, described, leaf
from engram.runtime._message import Crashed, Restarted, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.runtime._actor import Actor
    from engram.runtime._context import Context
    from engram.runtime._mailbox import Mailbox

State = Literal["starting", "running", "backing_off", "stopping", "stopped", "failed"]

_LAST_S = 30.0
"""How long `on_stop` may take."""


class RestartPolicy(msgspec.Struct, frozen=True):
    """When to start again, and when to give up: at the crash after `intensity` of them within `period_s`.

    The n-th of those in the period is followed by a pause of `first_delay_s` * 2^(n-1), at most `longest_delay_s`, of
    which a random half is left out, so that what failed together does not come back together.
    """

    intensity: int = 5
    period_s: float = 60.0
    first_delay_s: float = 0.05
    longest_delay_s: float = 5.0


class ActorReport(msgspec.Struct, frozen=True, kw_only=True):
    """One actor as it is now; the counters are those of `Stats`. `last_error` names an exception, never its text."""

    name: str
    state: State
    essential: bool
    waiting: int
    mailbox_limit: int
    accepted: int
    handled: int
    refused: int
    expired: int
    dropped: int
    dead_letters: int
    crashes: int
    restarts: int
    last_error: str | None


class Life:
    """Keeps one actor alive. `live` is its task."""

    def __init__(
        self, make: Callable[[], Actor], mailbox: Mailbox, context: Context, policy: RestartPolicy, *, essential: bool
    ) -> None:
        self.mailbox = mailbox
        self.state: State = "starting"
        self.ended = trio.Event()
        self._make = make
        self._context = context
        self._policy = policy
        self._essential = essential
        # What is around the supervisor does not end an actor in the middle of its work: `stop` does, in order.
        self._scope = trio.CancelScope(shield=True)
        self._begun = False
        self._crashed_at: list[float] = []
        self._last_error: str | None = None

    def report(self) -> ActorReport:
        """Give the actor's state and counters."""
        return ActorReport(
            name=self.mailbox.name,
            state=self.state,
            essential=self._essential,
            waiting=len(self.mailbox),
            mailbox_limit=self.mailbox.limit,
            last_error=self._last_error,
            **msgspec.structs.asdict(self.mailbox.stats),
        )

    async def begin(self, actor: Actor) -> None:
        """Ready an instance."""
        self._enter("starting")
        actor.context = self._context
        await actor.recover()
        await actor.on_start()
        self._begun = True
        self._enter("running")

    async def live(self, actor: Actor) -> None:
        """Have an instance, and those after it, handle messages. Raises what its owner must end for."""
        failed = True
        try:
            with self._scope:
                await self._live(actor)
            failed = self.state == "failed"
        finally:
            self._end("failed" if failed else "stopped")

    async def stop(self, grace_s: float) -> None:
        """Let the actor handle what waits, for at most `grace_s`, and wait for its end."""
        if self.state in {"starting", "backing_off"} and self.mailbox.empty:
            self._scope.cancel()  # there is nothing that it would be started for
        self._enter("stopping")
        self.mailbox.close("is stopping")
        with trio.move_on_after(grace_s):
            await self.ended.wait()
        self._scope.cancel()
        await self.ended.wait()

    def _enter(self, state: State) -> None:
        if not self.mailbox.closed:  # one that stops does so to its end, whatever it does on the way
            self.state = state

    def _end(self, state: Literal["stopped", "failed"]) -> None:
        self.state = state
        self.mailbox.close("has failed and is not started again" if state == "failed" else "has stopped")
        self.mailbox.drop_waiting()
        self.ended.set()
        self.mailbox.announce(Stopped(self.mailbox.name, state))

    async def _live(self, first: Actor) -> None:
        actor: Actor | None = first
        while True:
            try:
                if actor is None:
                    actor = await self._start_again()
                elif not self._begun:
                    await self.begin(actor)
                await self._run(actor)
            except (Exception, BaseExceptionGroup) as group:
                error = leaf(group)
                if not isinstance(error, Exception):
                    raise
                actor = None
                if not await self._survive(error):
                    return
            else:
                return

    async def _start_again(self) -> Actor:
        actor = self._make()
        await self.begin(actor)
        self.mailbox.stats.restarts += 1
        self.mailbox.announce(Restarted(self.mailbox.name))
        return actor

    async def _run(self, actor: Actor) -> None:
        try:
            await actor.run(self.mailbox)
        except BaseException as error:
            if isinstance(leaf(error), trio.Cancelled):
                await self._finish(actor)
            raise
        await self._finish(actor)

    async def _finish(self, actor: Actor) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(_LAST_S) as scope:
            await actor.on_stop()
        if scope.cancelled_caught:
            self._context.log.warning("actor_stop_cut_off", after_s=_LAST_S)

    async def _survive(self, error: Exception) -> bool:
        """Wait before the next start. False: it is not started again, and nobody need end for it."""
        mailbox = self.mailbox
        mailbox.stats.crashes += 1
        self._last_error = described(error)
        if isinstance(error, FATAL):
            raise error
        self._context.log.error("actor_crashed", error=self._last_error)
        mailbox.announce(Crashed(mailbox.name, self._last_error))
        if mailbox.closed and mailbox.empty:
            return False
        delay_s = self._pause_s()
        if delay_s is None:
            return self._give_up(error)
        self._enter("backing_off")
        await self._context.clock.sleep(delay_s)
        return True

    def _pause_s(self) -> float | None:
        """Give the pause before the next start; None where there were too many crashes."""
        policy, now = self._policy, self._context.clock.monotonic()
        self._crashed_at = [at for at in self._crashed_at if now - at < policy.period_s] + [now]
        count = len(self._crashed_at)
        if count > policy.intensity:
            return None
        jitter = int.from_bytes(self._context.rng.bytes(2)) / 65536
        delay_s: float = min(policy.first_delay_s * 2 ** (count - 1), policy.longest_delay_s)
        return delay_s * (0.5 + jitter / 2)

    def _give_up(self, error: Exception) -> bool:
        message = f"the {self.mailbox.name} crashed {len(self._crashed_at)} times in {self._policy.period_s:.0f} s"
        if self._essential:
            raise Internal(message) from error
        self._context.log.error("actor_given_up", error=self._last_error)
        self.state = "failed"
        return False
