"""The simulated machine that a node lives on: its disk and tables outlive a life, everything else is new in each."""

from __future__ import annotations

import errno
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from engram.node import World
from engram.testing._clock import SimClock
from engram.testing._content import SECTOR_BYTES
from engram.testing._disk import ShortWrite, SimDisk, failure
from engram.testing._embedder import SimModel
from engram.testing._losses import KeepFirst, LoseAll, LoseFirst, LoseNothing, LoseSome
from engram.testing._offload import SimOffload
from engram.testing._power import Crashed, Power
from engram.testing._rng import SimRng, stream
from engram.testing._tables import SimTables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import trio

    from engram.testing import _plan as plan
    from engram.testing._losses import Loss
    from engram.testing._network import SimNetwork

DATA = Path("/data")
SNAPSHOT_LEAVES = 4
"""Leaves of the state tries from which on a simulated node keeps a snapshot of them."""

_EPOCH_S = 0.7
"""Seconds between checkpoints: a life is short."""
_SLOW_S = 4.0
_FULL_CALLS = 60
"""For how many calls a full disk stays so at most."""

_EVICTED = 0.5
"""How often a kernel has dropped, by the next life, what a failed sync made it take for clean."""


class Machine:
    """One machine. `world` begins a life on it; `end` says what its end leaves."""

    def __init__(self, planned: plan.Plan, note: Callable[[str, str], None]) -> None:
        self.seed = planned.seed
        self._note = note
        self.segment_bytes = planned.segment_bytes
        self._index_limits = planned.index_limits
        self.power = Power()
        self.disk = SimDisk(self.power)
        self.tables = SimTables(self.disk, stream(planned.seed, "tables"))
        self.offload: SimOffload | None = None
        self.watcher: Callable[[str], None] | None = None
        """Is told of each call that changes the disk, before it happens."""
        self.faulty = False
        """Whether the disk has failed a call in this life."""

    def world(self, life: plan.LifePlan, nursery: trio.Nursery, network: SimNetwork) -> World:
        """Give the ports of a life."""
        network.faults = life.network
        self.faulty = False
        self.disk.hook = _Injector(self, life, self._note)
        self.disk.capacity_bytes = None

        def offload(lanes: Mapping[str, int]) -> SimOffload:
            self.offload = SimOffload(nursery, lanes, stream(self.seed, "offload", life.number), self.power)
            return self.offload

        return World(
            disk=self.disk,
            clock=SimClock(life.skew_ns),
            rng=SimRng(stream(self.seed, "rng", life.number)),
            tables=self.tables,
            offload=offload,
            network=network.host(self.power),
            model=SimModel(),
            segment_bytes=self.segment_bytes,
            index_limits=self._index_limits,
            snapshot_leaves=SNAPSHOT_LEAVES,
            epoch_s=_EPOCH_S,
        )

    def end(self, life: plan.LifePlan, *, lost_power: bool) -> None:
        """End a life: what is on the disk after it is what the next finds."""
        after = Power()
        if lost_power:
            disk = self.disk.crash(self._loss(life), after)
            self.tables = self.tables.after(disk, life.tables)
        else:
            disk = self.disk.restarted(after)
            if stream(self.seed, "evict", life.number).random() < _EVICTED:
                disk.evict()
            self.tables = self.tables.after(disk)
        self.power, self.disk = after, disk

    def left(self) -> list[str]:
        """Name what a life that has ended well has left behind and should not."""
        found = {
            "open files": self.disk.open_files,
            "open connections to tables": self.tables.open_connections,
            "calls under way": self.offload.under_way if self.offload else 0,
            "locks": len(self.disk.locks()),
        }
        return [f"{count} {what}" for what, count in found.items() if count]

    def _loss(self, life: plan.LifePlan) -> Loss:
        rng = stream(self.seed, "loss", life.number)
        units = self.disk.unsynced_units() if life.loss in ("first", "last") else 0
        losses: dict[plan.Loss, Callable[[], Loss]] = {
            "all": LoseAll,
            "nothing": LoseNothing,
            "some": functools.partial(LoseSome, rng),
            "few": functools.partial(LoseSome, rng, 0.95),
            "most": functools.partial(LoseSome, rng, 0.05),
            "first": functools.partial(LoseFirst, rng.randint(0, units)),
            "last": functools.partial(KeepFirst, rng.randint(0, units)),
        }
        return losses[life.loss]()


class _Injector:
    """Counts a life's disk calls, and lets each happen, fail, or be the last."""

    def __init__(self, machine: Machine, life: plan.LifePlan, note: Callable[[str, str], None]) -> None:
        self._machine = machine
        self._crash_at = life.at_call
        self._faults = {fault.at_call: fault.kind for fault in life.faults}
        self._note = note
        self._calls = 0
        self._fail_read = False
        self._room_at = 0
        self._rng = stream(machine.seed, "room", life.number)

    def __call__(self, call: str, path: str, offset: int, size: int) -> None:
        name = path.removeprefix("/data/")
        if call == "read":
            if self._fail_read:
                self._fail_read = False
                raise self._failed(errno.EIO, name, "reading fails")
            return
        sized = f" {size} bytes at {offset}" if size and name != "pid" else ""
        self._note("disk", f"{self._calls}: {call} {name}{sized}")
        if self._machine.watcher is not None:
            self._machine.watcher(f"{call} {name}")
        number, self._calls = self._calls, self._calls + 1
        if number == self._room_at and self._machine.disk.capacity_bytes is not None:
            self._machine.disk.capacity_bytes = None
            self._note("disk", "  there is room again")
        if number == self._crash_at:
            self._note("disk", "  the machine stops here")
            self._machine.power.cut()
            raise Crashed
        if number in self._faults:
            self._fail(self._faults[number], call, name, offset, size)

    def _fail(self, kind: plan.Fault, call: str, name: str, offset: int, size: int) -> None:
        if kind == "slow":
            self._machine.power.owed_s += _SLOW_S
            self._note("disk", f"  this takes {_SLOW_S} s")
        elif kind == "full":
            self._machine.disk.fill()
            self._room_at = self._calls + self._rng.randrange(_FULL_CALLS)
            self._machine.faulty = True
            self._note("disk", "  there is no more room")
        elif kind == "eio_read":
            self._fail_read = True
        elif kind == "short" and call == "write":
            short = ShortWrite(errno.EIO, "short write")
            # As kernels do it: whole pages are written, or none.
            short.written = max(0, (offset + size // 2) // SECTOR_BYTES * SECTOR_BYTES - offset)
            self._failed(errno.EIO, name, f"only {short.written} bytes are written")
            raise short
        else:
            raise self._failed(errno.EIO, name, "it fails")

    def _failed(self, number: int, name: str, what: str) -> OSError:
        self._machine.faulty = True
        self._note("disk", f"  {what}")
        return failure(number, name)
