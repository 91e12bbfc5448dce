"""The supervisor: starts actors in order, starts a failed one again, stops them in reverse.

One for one: a crash touches that actor alone. Restarts back off exponentially with jitter; more than `intensity` of
them within `period_s` escalate, and so does `StorageFailed` at once: the supervisor raises, and its owner stops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from engram.errors import Internal, StorageFailed
from engram.runtime._actor import Actor, Mailbox, Ref
from engram.runtime._failures import described
from engram.runtime._log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.ports import Clock, Rng

log = Log()


class RestartPolicy(msgspec.Struct, frozen=True):
    """When to start again, and when to give up."""

    intensity: int = 5
    period_s: float = 60.0
    first_delay_s: float = 0.05
    longest_delay_s: float = 5.0


class _Child:
    def __init__(self, make: Callable[[], Actor], mailbox: Mailbox) -> None:
        self.make = make
        self.mailbox = mailbox
        self.started = trio.Event()
        self.stopped = trio.Event()
        self.scope = trio.CancelScope()


class Supervisor:
    """Owns the tasks of its actors. Use `start` within a running nursery, `stop` at the end."""

    def __init__(self, nursery: trio.Nursery, clock: Clock, rng: Rng, policy: RestartPolicy | None = None) -> None:
        self._nursery = nursery
        self._clock = clock
        self._rng = rng
        self._policy = policy or RestartPolicy()
        self._children: list[_Child] = []

    async def start(self, name: str, make: Callable[[], Actor], *, mailbox_limit: int = 1024) -> Ref:
        """Start the actor that `make` gives, wait until it is ready, and give its ref.

        An exception of its first start is raised here: a node that cannot start says so.
        """
        child = _Child(make, Mailbox(name, mailbox_limit))
        actor = make()
        await actor.on_start()
        self._children.append(child)
        self._nursery.start_soon(self._live, child, actor)
        return Ref(child.mailbox)

    async def stop(self, grace_s: float = 10.0) -> None:
        """Stop every actor, last started first: it handles what waits, for at most `grace_s`."""
        for child in reversed(self._children):
            child.mailbox.close()
            with trio.move_on_after(grace_s):
                await child.stopped.wait()
            child.scope.cancel()
            await child.stopped.wait()
            child.mailbox.refuse_waiting()
        self._children.clear()

    async def _live(self, child: _Child, actor: Actor) -> None:
        try:
            with child.scope:
                await self._keep_alive(child, actor)
        finally:
            child.stopped.set()

    async def _keep_alive(self, child: _Child, first: Actor) -> None:
        actor: Actor | None = first
        crashes: list[float] = []
        while True:
            try:
                if actor is None:
                    actor = child.make()
                    await actor.on_start()
                await actor.run(child.mailbox)
            except StorageFailed:
                child.mailbox.close()
                child.mailbox.refuse_waiting()
                raise
            except Exception as error:  # noqa: BLE001 (the supervisor is where a bug of an actor ends)
                log.error("actor_crashed", actor=child.mailbox.name, error=described(error))  # noqa: TRY400
                actor = None
                await self._back_off(child, crashes, error)
            else:
                with trio.CancelScope(shield=True), trio.move_on_after(30):
                    await actor.on_stop()
                return

    async def _back_off(self, child: _Child, crashes: list[float], error: Exception) -> None:
        now = self._clock.monotonic()
        crashes[:] = [at for at in crashes if now - at < self._policy.period_s] + [now]
        if len(crashes) > self._policy.intensity:
            child.mailbox.close()
            child.mailbox.refuse_waiting()
            raise Internal(
                f"the {child.mailbox.name} crashed {len(crashes)} times in {self._policy.period_s:.0f} s"
            ) from error
        child.mailbox.stats.restarts += 1
        delay = min(self._policy.first_delay_s * 2 ** (len(crashes) - 1), self._policy.longest_delay_s)
        jitter = int.from_bytes(self._rng.bytes(2)) / 65536
        await self._clock.sleep(delay * (0.5 + jitter / 2))
