"""The simulated Offload: the calls run in the loop, after and before delays that the seed chooses.

A lane is a queue and as many workers as it has threads, tasks of a nursery that is not the node's: as with threads, who
is cancelled abandons only the waiting. A call that meets the end of the power ends the life of every waiter.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from engram.testing._power import Crashed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from engram.testing._power import Power

T = TypeVar("T")

_LONGEST_S = 0.004
_SLOW_S = {"index": 0.4}
"""Lanes of work that takes as long as many commits, and how long at most."""
_CARRIED_OUT_FIRST = 0.5
"""The share of calls whose delay comes behind them: what they did is seen before their caller hears of it."""


class SimOffload:
    """The Offload port without threads. `lanes`: how many calls of each may be under way at once."""

    def __init__(self, nursery: trio.Nursery, lanes: Mapping[str, int], rng: Random, power: Power) -> None:
        self._rng = rng
        self._power = power
        self._lanes = {lane: _Lane(threads, _SLOW_S.get(lane)) for lane, threads in lanes.items()}
        self._nursery = nursery
        self._closed = False
        self.under_way = 0
        power.when_cut(self._lose_all)

    async def run(self, lane: str, call: Callable[[], T]) -> T:
        """Run `call` when its turn comes, and wait for it."""
        self._power.check()
        job = _Job(call)
        self._lanes[lane].waiting.append(job)
        self._start(self._lanes[lane])
        await job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def close(self) -> None:
        """Finish what is queued, at once; nothing more starts."""
        self._closed = True
        for lane in self._lanes.values():
            for job in (*lane.under_way, *lane.waiting):
                job.carry_out()
                job.done.set()
            lane.waiting.clear()

    def _start(self, lane: _Lane) -> None:
        while lane.waiting and len(lane.under_way) < lane.threads:
            job = lane.waiting.popleft()
            lane.under_way.append(job)
            self.under_way += 1
            self._nursery.start_soon(functools.partial(self._work, lane, job))

    async def _work(self, lane: _Lane, job: _Job) -> None:
        delay_s, first = self._rng.random() ** 4 * _LONGEST_S, self._rng.random() < _CARRIED_OUT_FIRST
        if lane.slow_s is not None:
            delay_s = self._rng.random() * lane.slow_s
        if not first:
            await trio.sleep(delay_s)
        job.carry_out()
        if first or self._power.owed_s:
            await trio.sleep(delay_s + self._power.take_owed())
        job.done.set()
        lane.under_way.remove(job)
        self.under_way -= 1
        if not self._closed:
            self._start(lane)

    def _lose_all(self) -> None:
        for lane in self._lanes.values():
            for job in (*lane.under_way, *lane.waiting):
                job.lose()
            lane.waiting.clear()


class _Lane:
    def __init__(self, threads: int, slow_s: float | None) -> None:
        self.threads = threads
        self.slow_s = slow_s
        self.waiting: deque[_Job] = deque()
        self.under_way: list[_Job] = []


class _Job:
    def __init__(self, call: Callable[[], Any]) -> None:
        self.done = trio.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self._call: Callable[[], Any] | None = call

    def carry_out(self) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        try:
            self.result = call()
        except Crashed as error:
            self.lose(error)
        except Exception as error:  # noqa: BLE001 (it is carried to the task that waits, which raises it)
            self.error = error

    def lose(self, error: Crashed | None = None) -> None:
        """End it with the machine, whether it was carried out or not: nobody hears of that."""
        self._call = None
        self.error = error or Crashed()
        self.done.set()
