"""Crash at every call of the disk, with every kind of loss of the unsynced: what was acknowledged must be there.

One run of a node, with a client that puts, deletes and reads. Before each call that changes the disk, each image that a
crash could leave there is opened as the next life would, and judged by the oracle against what was acknowledged so far.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram import wire
from engram.errors import EngramError
from engram.store import IndexLimits, Store
from engram.testing import _naming as naming
from engram.testing import _plan as plan
from engram.testing._checks import check_history
from engram.testing._clock import START_NS
from engram.testing._commitments import check_commitments
from engram.testing._erasing import check_acknowledged
from engram.testing._index import check_index
from engram.testing._losses import KeepFirst, KeepOnly, LoseAll, LoseFirst, LoseNothing, LoseSome
from engram.testing._machine import DATA, SNAPSHOT_LEAVES
from engram.testing._network import NetworkFaults
from engram.testing._oracle import Violation
from engram.testing._receipts import check_receipts
from engram.testing._rng import SimRng, stream
from engram.testing._simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engram.testing._disk import SimDisk
    from engram.testing._losses import Loss
    from engram.testing._tables import SimTables, TablesLoss

_SEGMENT_BYTES = 24_576
_CLIENTS = 2
_NAMING = 0.15
_TABLES: list[TablesLoss] = ["none", "some", "missing"]


class EveryCall(msgspec.Struct):
    """What came out: calls at which it crashed, images that were opened, and the first failure, if any."""

    calls: int = 0
    crashes: int = 0
    restarts: int = 0
    failure: str = ""


def crash_every_call(
    seed: int, operations: int = 200, *, most: int = 16, told: Callable[[EveryCall], None] = lambda _: None
) -> EveryCall:
    """Run `operations` calls of clients, and crash at every call of the disk. `told` hears of each.

    `most`: how many units are lost or kept one by one at a call, evenly spread; all of them where there are no more.
    """
    outcome = EveryCall()
    simulation = Simulation(_planned(seed, operations))
    crash = _Crash(simulation, stream(seed, "every call").getrandbits(32), most, outcome)

    def at_call(what: str) -> None:
        outcome.calls += 1
        if not outcome.failure:
            crash.try_all(what)
            told(outcome)

    simulation.machine.watcher = at_call
    report = simulation.run()
    outcome.failure = outcome.failure or report.failure
    return outcome


def _planned(seed: int, operations: int) -> plan.Plan:
    """Give the plan: one life, no faults, writes for the most part."""
    rng = stream(seed, "every call")
    memories = tuple(plan.draw_memory(number, rng) for number in range(max(10, operations // 2)))
    writes = (plan.Put, plan.Delete, plan.Together, plan.Create, naming.Name, naming.Unname)
    steps: list[plan.Step] = []
    while len(steps) < operations:
        step = plan.step(len(steps), rng, memories, _CLIENTS)
        if isinstance(step.action, plan.Get) or (isinstance(step.action, plan.Delete) and rng.random() < 0.5):
            step = msgspec.structs.replace(step, action=plan.Delete(step.action.memory, erase=True))
        if rng.random() < _NAMING:
            step = msgspec.structs.replace(step, action=naming.draw(rng, plan.public_of(memories)))
        if isinstance(step.action, writes) or rng.random() < 0.2:
            steps.append(msgspec.structs.replace(step, pause_s=step.pause_s / 10))
    life = plan.LifePlan(0, "stop", None, None, "nothing", "none", 0, NetworkFaults())
    limits = IndexLimits(seal_rows=3, merge=2, largest_rows=32, look_s=0.05)
    return plan.Plan(seed, memories, tuple(steps), (life,), _SEGMENT_BYTES, index_limits=limits)


class _Crash:
    """Opens what a crash would leave, and judges it."""

    def __init__(self, simulation: Simulation, seed: int, most: int, outcome: EveryCall) -> None:
        self._simulation = simulation
        self._seed = seed
        self._most = most
        self._outcome = outcome
        self._seen: set[bytes] = set()

    def try_all(self, what: str) -> None:
        """Try every loss at this call."""
        disk = self._simulation.machine.disk
        acknowledged = sum(1 for call in self._simulation.history.calls if call.answer is not None)
        for number, (name, loss) in enumerate(self._losses(disk.unsynced_units())):
            self._outcome.crashes += 1
            image = disk.image(loss)
            image.hook = _let
            try:
                check_acknowledged(self._simulation.history.calls, image.files(), self._simulation.plan.memories)
            except Violation as violation:
                self._outcome.failure = f"a crash at call {self._outcome.calls} ({what}), {name}: {violation}"
                return
            tables = _TABLES[(self._outcome.calls + number) % len(_TABLES)]
            key = hashlib.sha256(repr((acknowledged, tables)).encode())
            for path, data in image.files().items():
                key.update(path.encode() + data)
            if key.digest() in self._seen:
                continue
            self._seen.add(key.digest())
            self._outcome.restarts += 1
            left = self._simulation.machine.tables.image(image, tables)
            if failure := self._restart(image, left):
                at = f"call {self._outcome.calls} ({what}), {name}, tables {tables}"
                self._outcome.failure = f"a crash at {at}: {failure}"
                return

    def _losses(self, units: int) -> Iterator[tuple[str, Loss]]:
        yield "everything unsynced lost", LoseAll()
        yield "nothing lost", LoseNothing()
        for number in range(0, units, max(1, units // self._most)):
            yield f"unit {number} of {units} alone kept", KeepOnly(number)
            yield f"the first {number} of {units} kept", KeepFirst(number)
            yield f"the first {number} of {units} lost", LoseFirst(number)
        for number in range(2 if units else 0):
            yield f"some of {units} lost", LoseSome(stream(self._seed, self._outcome.calls, number))

    def _restart(self, image: SimDisk, tables: SimTables) -> str:
        try:
            store = Store.open(
                image,
                tables,
                DATA,
                SimRng(stream(0, "key")),
                START_NS,
                "engram.testing",
                segment_bytes=_SEGMENT_BYTES,
                snapshot_leaves=SNAPSHOT_LEAVES,
            )
        except (EngramError, OSError) as error:
            tables.close()
            return f"the folder does not open again: {type(error).__name__}: {error}"
        try:
            check_index(store)
            if store.index_dropped:
                return f"parts of the index are lost: {store.index_dropped}"
        except Violation as violation:
            return str(violation)
        finally:
            store.close(START_NS)
            tables.close()
        writes = (wire.Put, wire.PutMany, wire.Delete, wire.NamespaceCreate, wire.KeySet, wire.KeyDelete)
        calls = [call for call in self._simulation.history.calls if isinstance(call.request, writes)]
        try:
            files = image.files()
            check_history(calls, self._simulation.plan.memories, files, str(DATA))
            check_receipts(calls, files, str(DATA))
            check_commitments(files, str(DATA))
        except Violation as violation:
            return str(violation)
        return ""


def _let(call: str, path: str, offset: int, size: int) -> None:
    """Let every call happen."""
