"""The supervisor: starts actors in order, keeps each alive by itself, stops them in reverse.

One for one: a crash touches that actor alone. What no restart mends is raised out of the nursery that the supervisor
was given: `StorageFailed` and `LogCorrupt` at once, and `Internal` for an essential actor that crashed too often.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from engram.runtime._context import Context
from engram.runtime._dead_letters import DeadLetters
from engram.runtime._failures import leaf
from engram.runtime._handlers import handlers_of
from engram.runtime._life import Life, RestartPolicy
from engram.runtime._log import Log
from engram.runtime._mailbox import Mailbox
from engram.runtime._order import start_order
from engram.runtime._ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engram.ports import Clock, Offload, Rng
    from engram.runtime._actor import Actor
    from engram.runtime._dead_letters import DeadLetter
    from engram.runtime._life import ActorReport

T = TypeVar("T")

_GRACE_S = 10.0


class Plan(msgspec.Struct, frozen=True):
    """An actor to be started. `mailbox_limit`: another than its class has.

    `essential`: whether the node ends with it. One that is not is given up when it has crashed too often: its ref then
    refuses with `Unavailable`, and the node lives on. Nobody waits for its first start, which may crash like any other.
    """

    name: str
    make: Callable[[], Actor]
    mailbox_limit: int | None = None
    essential: bool = True


class Supervisor:
    """Owns the tasks of its actors, within a nursery that is not its own.

    Leave that nursery by way of `stop`. Where it is cancelled instead, because something else in it failed, the actors
    are stopped the same way, in order and with the same grace.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        clock: Clock,
        rng: Rng,
        policy: RestartPolicy | None = None,
        offload: Offload | None = None,
    ) -> None:
        self._nursery = nursery
        self._clock = clock
        self._rng = rng
        self._policy = policy or RestartPolicy()
        self._offload = offload or _NoThreads()
        self._letters = DeadLetters(clock)
        self._lives: dict[str, Life] = {}
        self._guard: trio.CancelScope | None = None

    async def start(
        self, name: str, make: Callable[[], Actor], *, mailbox_limit: int | None = None, essential: bool = True
    ) -> Ref:
        """Start the actor that `make` gives, wait until it is ready, and give its ref; see `boot`."""
        return (await self.boot([Plan(name, make, mailbox_limit, essential)]))[name]

    async def boot(self, plans: Sequence[Plan]) -> dict[str, Ref]:
        """Start actors, each when those it asks are ready, otherwise in the order given; give their refs by name.

        Nothing is started where a class's handlers are wrong (`TypeError`), a name is taken (`ValueError`), or an actor
        asks one that is not there or, by others, itself (`Unprocessable`). An exception of a first `on_start` is raised
        as it is: a node that cannot start says so. Those that were started before it stand until `stop`.
        """
        standing = [name for name in self._lives if self._stands(name)]
        by_name: dict[str, Plan] = {}
        for plan in plans:
            if plan.name in by_name or plan.name in standing:
                raise ValueError(f"there are two actors named {plan.name!r}; give each a name of its own")
            by_name[plan.name] = plan
        first = {name: plan.make() for name, plan in by_name.items()}
        for actor in first.values():
            handlers_of(type(actor))
        order = start_order({name: actor.asks for name, actor in first.items()}, standing)
        return {name: await self._start(by_name[name], first[name]) for name in order}

    def report(self) -> list[ActorReport]:
        """Give every actor's state and counters, in the order they were started."""
        return [life.report() for life in self._lives.values()]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The latest messages that crashed an actor, oldest first."""
        return list(self._letters)

    async def stop(self, grace_s: float = _GRACE_S) -> None:
        """Stop every actor, last started first: each handles what waits, for at most `grace_s`, then has its `on_stop`.

        It is not cut short by a cancellation around it.
        """
        with trio.CancelScope(shield=True):
            while standing := [life for life in self._lives.values() if not life.ended.is_set()]:
                await standing[-1].stop(grace_s)
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def _stands(self, name: str) -> bool:
        return name in self._lives and not self._lives[name].ended.is_set()

    async def _start(self, plan: Plan, actor: Actor) -> Ref:
        kinds = frozenset(kind for handling in handlers_of(type(actor)) for kind in handling.kinds)
        mailbox = Mailbox(plan.name, plan.mailbox_limit or actor.mailbox_limit, kinds, self._letters)
        life = Life(plan.make, mailbox, self._context(plan.name, actor), self._policy, essential=plan.essential)
        if plan.essential:  # others start in their own task: they can neither hold up the node nor fail it
            try:
                await life.begin(actor)
            except BaseExceptionGroup as group:
                raise leaf(group) from group
        self._lives.pop(plan.name, None)
        self._lives[plan.name] = life
        self._watch_over()
        self._nursery.start_soon(life.live, actor, name=f"actor {plan.name}")
        return Ref(mailbox)

    def _context(self, name: str, actor: Actor) -> Context:
        refs = MappingProxyType({asked: Ref(self._lives[asked].mailbox) for asked in actor.asks})
        return Context(name, self._clock, self._rng, self._offload, refs, Log(actor=name))

    def _watch_over(self) -> None:
        if self._guard is None:
            self._guard = trio.CancelScope()
            self._nursery.start_soon(self._stop_when_cancelled, self._guard)

    async def _stop_when_cancelled(self, guard: trio.CancelScope) -> None:
        """Wait for a cancellation of the nursery, which the actors themselves are shielded from, and stop them."""
        with guard:
            try:
                await trio.sleep_forever()
            finally:
                if not guard.cancel_called:
                    await self.stop()


class _NoThreads:
    """The Offload port of a supervisor that was given none."""

    async def run(self, lane: str, call: Callable[[], T]) -> T:  # noqa: ARG002
        raise RuntimeError(f"nothing runs on the lane {lane!r}: this supervisor was given no Offload port")

    def close(self) -> None:
        """Close nothing."""
