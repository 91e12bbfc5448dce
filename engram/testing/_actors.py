"""One actor of one's own on the real kernel, over a log on a simulated disk, in virtual time.

async def main():
async with actor_harness(Census) as harness:
await harness.append(RecordStored(...))
assert await harness.ref.ask(HowMany()) == 1
await harness.crash()  # the power fails: what was not synced is lost
assert await harness.ref.ask(HowMany()) == 1

run_seeded(main, seed=7)
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from engram import events
from engram.errors import NotFound
from engram.events import Event, Log, LogCreated
from engram.runtime import LANE, PLUGIN_LANE, EventActor, Feed, Plugin, Supervisor, Tail, check_actor, options_of
from engram.testing._clock import SimClock
from engram.testing._disk import SimDisk
from engram.testing._losses import LoseAll, LoseNothing
from engram.testing._offload import SimOffload
from engram.testing._power import Crashed, Power
from engram.testing._rng import SimRng, stream
from engram.wire import checked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    import msgspec

    from engram.runtime import Actor, ActorReport, DeadLetter, Ref
    from engram.testing._losses import Loss

_DATA = Path("/data")
_PATIENCE_S = 600.0


class ActorHarness:
    """An actor, its log and its disk; made by `actor_harness`. Times are virtual, so waiting costs nothing."""

    def __init__(
        self, kind: type[Actor], options: msgspec.Struct | None, answer: Callable[[Any], Any], seed: int, name: str
    ) -> None:
        self.disk = SimDisk(Power())
        """What the actor and the log are on."""
        self.requests: list[Any] = []
        """What the plug-in has called the node with."""
        self._kind = kind
        self._options = options
        self._answer = answer
        self._seed = seed
        self._name = name
        self._lives = 0

    @property
    def ref(self) -> Ref:
        """Where the actor of this life is asked and told."""
        return self._ref

    @property
    def log(self) -> Log:
        """The log as it is in this life."""
        return self._log

    async def append(self, *facts: Event | bytes) -> int:
        """Commit events, or bytes of some that no build knows, in one frame; give the position of the last."""
        done = self._log.append(
            [fact if isinstance(fact, bytes) else events.encode(fact) for fact in facts], SimClock().now_ns()
        )
        self._tail.committed()
        await trio.lowlevel.checkpoint()
        return done.size - 1

    async def settle(self) -> None:
        """Wait until the actor has folded and reacted to all that is committed.

        Raises `trio.TooSlowError` where it never will, `Crashed` where the power is cut.
        """
        with trio.fail_after(_PATIENCE_S):
            while not self._settled():
                self.disk.power.check()
                await trio.sleep(0.01)

    def _settled(self) -> bool:
        places = {self._feed.applied, self._feed.reacted}
        return self.report().state == "running" and places <= {None, self._log.size}

    async def restart(self) -> None:
        """Stop in order and begin again, as a node does that is told to."""
        self._stop.set()
        await self._ended.wait()
        await self._begin(LoseNothing())

    async def crash(self, loss: Loss | None = None) -> None:
        """Have the power fail, and begin again with what is left: of the unsynced nothing, or what `loss` keeps."""
        self.disk.power.cut()
        self._scope.cancel()
        await self._ended.wait()
        await self._begin(loss or LoseAll())

    def report(self) -> ActorReport:
        """Give the actor's state and counters in this life."""
        [report] = self._supervisor.report()
        return report

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The messages that crashed it in this life."""
        return self._supervisor.dead_letters

    async def call(self, request: Any) -> Any:
        """Answer a plug-in as the node would; what `actor_harness` was given as `answer` decides."""
        self.requests.append(checked(request))
        answer = self._answer(request)
        await trio.lowlevel.checkpoint()
        return answer

    async def _begin(self, loss: Loss) -> None:
        self._lives += 1
        self._up = False
        self.disk = self.disk.crash(loss, Power())
        self._stop, self._ended, self._scope = trio.Event(), trio.Event(), trio.CancelScope()
        await self._nursery.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._scope:
                await self._run(task_status)
        except* Crashed:
            if not self._up:
                task_status.started()  # to a life that ended at its beginning: `crash` begins the next
        finally:
            self._ended.set()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        self._log = Log.open(self.disk, _DATA / "events")
        if self._log.size == 0:
            self._log.append([events.encode(LogCreated(format=events.FORMAT, node_key=bytes(32)))], 1)
        async with trio.open_nursery() as threads, trio.open_nursery() as nursery:
            rng = stream(self._seed, "offload", self._lives)
            offload = SimOffload(threads, {LANE: 1, PLUGIN_LANE: 2}, rng, self.disk.power)
            self._tail = Tail(self._log, offload)
            self._feed = Feed(self._name, self._tail, self.disk, _DATA / "projections")
            self._supervisor = Supervisor(nursery, SimClock(), SimRng(stream(self._seed, "rng")), offload=offload)
            self._ref = await self._supervisor.start(self._name, self._made, essential=False)
            self._up = True
            task_status.started()
            await self._stop.wait()
            await self._supervisor.stop()
            offload.close()
            threads.cancel_scope.cancel()
        self._log.close()

    def _made(self) -> Actor:
        actor = self._kind()
        if isinstance(actor, EventActor):
            actor.feed = self._feed
        if isinstance(actor, Plugin):
            actor.options = self._options
            actor.node = self
        return actor

    async def _hold(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        await self._begin(LoseAll())

    async def _release(self) -> None:
        self._stop.set()
        await self._ended.wait()


@contextlib.asynccontextmanager
async def actor_harness(
    kind: type[Actor],
    *,
    options: Mapping[str, Any] | None = None,
    answer: Callable[[Any], Any] | None = None,
    seed: int = 0,
    name: str = "actor",
) -> AsyncIterator[ActorHarness]:
    """Have an actor live on the real kernel, as a plug-in does, with nothing else around it; within `run_seeded`.

    `options`: as in node.toml, and refused as there. `answer`: gives the answer, or raises the error, to what the
    plug-in calls the node with; without it every call is answered by `NotFound`. A first event, `log_created.1`, is in
    the log.
    """
    check_actor(kind)
    given = options_of(kind, options or {}, f"actors.{name}") if issubclass(kind, Plugin) else None
    harness = ActorHarness(kind, given, answer or _nothing, seed, name)
    try:
        async with trio.open_nursery() as nursery:
            await harness._hold(nursery)  # noqa: SLF001 (two halves of one thing)
            try:
                yield harness
            finally:
                with trio.CancelScope(shield=True):
                    await harness._release()  # noqa: SLF001
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None  # a test's own assertion, as it was raised
        raise


def _nothing(request: Any) -> Any:
    raise NotFound(f"nothing answers {type(request).__name__} here; give actor_harness an `answer`")
