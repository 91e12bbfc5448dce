"""The simulation: the very node that runs on a machine, on a simulated one, with clients, faults and crashes.

One seed decides all of it: the plan (`_plan`), the order of the tasks (`_loop`), and every delay, loss and fault.
Lives follow one another until every client is done; a last one, in which nothing fails, is asked for everything.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec
import trio

from engram.errors import DiskFull, EngramError, FolderRefused, StorageFailed
from engram.node import ActorSpec, Config, main
from engram.runtime import described, leaf
from engram.testing import _plan as plan
from engram.testing._asking import Asking
from engram.testing._checks import WRITE_QUEUE, check_history
from engram.testing._clients import HOST, PORT, Client, Shared
from engram.testing._commitments import check_commitments
from engram.testing._damage import check_damage
from engram.testing._durable import check_durable
from engram.testing._erasing import check_acknowledged, check_erased
from engram.testing._frames import check_frames
from engram.testing._history import History
from engram.testing._image import LogImage
from engram.testing._index import check_rebuilt
from engram.testing._loop import run_seeded
from engram.testing._losses import LoseAll
from engram.testing._machine import DATA, Machine
from engram.testing._network import NetworkFaults, SimNetwork
from engram.testing._oracle import Violation, events_of
from engram.testing._receipts import check_receipts
from engram.testing._refold import check_refold
from engram.testing._rng import stream
from engram.testing._witness import NAME, Testimony, check_testimony

if TYPE_CHECKING:
    from typing import Any

_STUCK_S = 20_000.0
_CALM_LIVES = 8
_REACTIONS_S = 1.0
"""How long after the last call actors may need to react to it."""


class Report(msgspec.Struct, frozen=True):
    """What became of a simulation. `digest` is the hash of everything that happened; `failure` is empty if all held."""

    plan: plan.Plan
    digest: str
    failure: str
    calls: int
    lives: int
    virtual_s: float
    trace: list[tuple[float, str, str]]


def simulate(what: int | plan.Plan) -> Report:
    """Run the simulation of a seed, or of a plan, and check it."""
    planned = plan.draw(what) if isinstance(what, int) else what
    return Simulation(planned).run()


class Simulation:
    """One run: see the module. `run` carries it out, once."""

    def __init__(self, planned: plan.Plan) -> None:
        self.plan = planned
        self.history = History()
        self.machine = Machine(planned, self.history.note)
        self._asking = Asking(planned.seed, self.history) if planned.asking else None
        self._testimony = Testimony()
        self._lives = 0
        self._virtual_s = 0.0

    def run(self) -> Report:
        """Run it and check it."""
        failure = ""
        try:
            run_seeded(self._run, self.plan.seed)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 (whatever it is, it is this seed's failure)
            failure = _failure_of(error)
        lines = self.history.lines
        return Report(
            self.plan, self.history.digest(), failure, len(self.history.calls), self._lives, self._virtual_s, lines
        )

    async def _run(self) -> None:
        trio.lowlevel.spawn_system_task(_watch)
        with trio.move_on_after(_STUCK_S) as stuck:
            await self._all_lives()
        if stuck.cancelled_caught:
            raise Violation(f"stuck: after {_STUCK_S:.0f} s of virtual time it has not come to an end")
        self._virtual_s = trio.current_time()
        check_refold(self.machine.disk, self.machine.tables, self.plan.segment_bytes)
        check_rebuilt(self.machine.disk, self.machine.tables, self.plan.segment_bytes)
        # Not what is seen: after a stop in peace, what was acknowledged is durable.
        files = self.machine.disk.image(LoseAll()).files()
        check_frames(files, str(DATA))
        check_history(self.history.calls, self.plan.memories, files, str(DATA))
        check_receipts(self.history.calls, files, str(DATA))
        check_commitments(files, str(DATA))
        check_testimony(self._testimony, events_of(files, f"{DATA}/events"))
        if self._asking:
            self._asking.check(LogImage(files, str(DATA), self.plan.memories))

    async def _all_lives(self) -> None:
        network = SimNetwork(stream(self.plan.seed, "network"))
        shared = Shared(self.history, self.plan.memories)
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._clients, shared, network, done)
            calm = [_calm(len(self.plan.lives) + number) for number in range(_CALM_LIVES)]
            for life in (*self.plan.lives, *calm):
                if life.flip:
                    check_damage(self.machine, life, self.history.note)
                check_acknowledged(self.history.calls, self.machine.disk.files(), self.plan.memories)
                await self._live(life, network, shared, done)
                if done.is_set():
                    break
        async with trio.open_nursery() as nursery:
            last = _calm(1000)
            asked = trio.Event()
            nursery.start_soon(self._ask_everything, shared, network, asked)
            await self._live(last, network, shared, asked)

    async def _clients(self, shared: Shared, network: SimNetwork, done: trio.Event) -> None:
        async with trio.open_nursery() as clients:
            for number in sorted({step.client for step in self.plan.steps}):
                steps = [step for step in self.plan.steps if step.client == number]
                clients.start_soon(Client(f"client {number}", shared, network.host()).carry_out, steps)
        done.set()

    async def _ask_everything(self, shared: Shared, network: SimNetwork, asked: trio.Event) -> None:
        await shared.listening.wait()
        client = Client("the last", shared, network.host())
        await client.ask_everything()
        await trio.sleep(_REACTIONS_S)
        await client.close()
        if self._asking:
            await self._asking.caught_up()
        asked.set()

    # -- one life -----------------------------------------------------------------------------------------------------

    async def _live(self, life: plan.LifePlan, network: SimNetwork, shared: Shared, done: trio.Event) -> None:
        self._lives += 1
        shared.life = life.number
        self.history.note("machine", f"life {life.number} begins")
        machine = self.machine
        error: BaseException | None = None
        stopped = False
        async with trio.open_nursery() as nursery:  # the offload's, which outlives the node
            async with trio.open_nursery() as node:
                machine.power.when_cut(node.cancel_scope.cancel)
                stop = trio.Event()
                node.start_soon(self._ending, life, network, done, stop)
                world = machine.world(life, nursery, network)
                actors = {NAME: ActorSpec(place=self._testimony.actor())}
                if self._asking:
                    self._asking.begin_life(life.number, machine.disk)
                    node.start_soon(self._asking.ask_around)
                    actors |= self._asking.actors()
                config = Config(
                    data_dir=DATA,
                    port=PORT,
                    http_port=-1,
                    host=HOST,
                    embedding_threads=2,
                    write_queue_items=WRITE_QUEUE,
                    actors=actors,
                )
                try:
                    await main(config, world, functools.partial(self._heard, shared), stop)
                    stopped = True
                except (Exception, trio.Cancelled) as caught:  # noqa: BLE001 (it is judged below)
                    error = caught
                except BaseException as caught:  # noqa: BLE001 (the end of the power)
                    error = caught
                if self._asking:
                    await self._asking.end_life(stopped=stopped and machine.power.on)
                node.cancel_scope.cancel()
            shared.close()
        self._judge_end(life, error, stopped=stopped)
        machine.end(life, lost_power=not machine.power.on and life.end == "power")

    async def _ending(self, life: plan.LifePlan, network: SimNetwork, done: trio.Event, stop: trio.Event) -> None:
        """End the life when its time has come: by cutting its power, or in peace."""
        async with trio.open_nursery() as nursery:
            if life.part_at_s is not None:
                nursery.start_soon(_part, network, life.part_at_s)
            with trio.move_on_after(life.after_s if life.after_s is not None else _STUCK_S * 2):
                await done.wait()
            if done.is_set() or life.end == "stop":
                self.history.note("machine", "the node is told to stop")
                stop.set()
            else:
                self.history.note("machine", "the machine stops here")
                self.machine.power.cut()

    def _heard(self, shared: Shared, event: str, facts: dict[str, Any]) -> None:
        self.history.note("node", event)
        if event == "opened" and shared.life:  # in the first there was nothing to be found
            check_durable(self.machine.disk)
            check_erased(self.machine.disk.image(LoseAll()).files(), str(DATA), self.plan.memories)
            if facts["index_dropped"] and not self.machine.faulty:
                raise Violation(f"a node has lost parts of its index: {facts['index_dropped']}")
        elif event == "listening":
            shared.listening.set()
        elif event == "stopping":
            shared.close()

    def _judge_end(self, life: plan.LifePlan, error: BaseException | None, *, stopped: bool) -> None:
        machine = self.machine
        if isinstance(error, Violation):
            raise error
        self.history.note("machine", f"life {life.number} ends{'' if stopped else f': {type(error).__name__}'}")
        if not machine.power.on:
            return
        if stopped:
            if left := machine.left():
                raise Violation(f"after life {life.number} was stopped there were left: {', '.join(left)}")
        elif isinstance(error, StorageFailed | DiskFull | FolderRefused) and machine.faulty:
            self.history.note("machine", f"  {error.message}")
        elif isinstance(error, EngramError):
            raise Violation(f"life {life.number} ended with {type(error).__name__}: {error.message}") from error
        else:
            assert error is not None
            raise Violation(f"life {life.number} ended with {described(error)}") from error


async def _watch() -> None:
    """End the whole run where cancelling it was not enough: with no deadline left, virtual time would stand still."""
    await trio.sleep(2 * _STUCK_S)
    raise Violation("stuck: and where it waits, it cannot be cancelled")


async def _part(network: SimNetwork, after_s: float) -> None:
    await trio.sleep(after_s)
    network.part(5.0)


def _calm(number: int) -> plan.LifePlan:
    return plan.LifePlan(number, "stop", None, None, "nothing", "none", 0, NetworkFaults())


def _failure_of(error: BaseException) -> str:
    """Say what failed: the violation, or else what was raised, and where."""
    if isinstance(error, trio.TrioInternalError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        error = leaf(error.subgroup(Violation) or error)
    if isinstance(error, KeyboardInterrupt):
        raise error
    return str(error) if isinstance(error, Violation) else f"{described(error)}: {error}"
