"""Time the actor kernel: what a message costs, and what a node costs that does nothing.

Usage: python bench/kernel.py [--rounds 7] [--idle-s 10]

`tell` stands against a bare hop through an `asyncio.Queue` of the same bound, put by one task and got by another: no
handler, no check of the message's type, no counters, no supervisor. `ask` stands against Pykka's (pip install pykka),
which asks an actor in a thread of its own. Each round takes every contestant in turn, so that a busy machine slows them
alike; ratios are of medians. The idle node is a process of its own with its model loaded; Linux counts its time.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pykka
import trio

from engram.runtime import Actor, Message, RealClock, RealRng, Supervisor, handle

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from node_process import NodeProcess

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1024
TELLS = 100_000
ASKS = 5_000
PATIENCE_S = 60.0
SETTLE_S = 3.0
"""How long a started node is left alone before it is measured: until its threads have ended what they began with."""


class Number(Message[int], frozen=True):
    number: int


class Engram(Actor):
    mailbox_limit = LIMIT

    def __init__(self, told: int) -> None:
        self.left = told
        self.done = trio.Event()

    @handle
    async def take(self, message: Number) -> int:
        self.left -= 1
        if self.left == 0:
            self.done.set()
        return message.number


class Pykka(pykka.ThreadingActor):
    def on_receive(self, message: Number) -> int:
        return message.number


def queue_hop() -> float:
    async def main() -> float:
        queue: asyncio.Queue[Number] = asyncio.Queue(LIMIT)
        message = Number(1)

        async def put() -> None:
            for _ in range(TELLS):
                await queue.put(message)

        async def get() -> None:
            for _ in range(TELLS):
                await queue.get()

        started = time.perf_counter()
        await asyncio.gather(put(), get())
        return (time.perf_counter() - started) / TELLS

    return asyncio.run(main())


def engram_tell(*, deadlines: bool = False) -> float:
    async def main() -> float:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, RealClock(), RealRng())
            actor = Engram(TELLS)
            ref = await supervisor.start("it", lambda: actor)
            message = Number(1)
            started = time.perf_counter()
            for number in range(TELLS):
                await ref.tell(message, deadline=1e12 + number if deadlines else math.inf)
            await actor.done.wait()
            took = time.perf_counter() - started
            await supervisor.stop()
        return took / TELLS

    return trio.run(main)


def engram_ask(*, deadlines: bool = False) -> float:
    async def main() -> float:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, RealClock(), RealRng())
            ref = await supervisor.start("it", lambda: Engram(ASKS))
            message = Number(1)
            started = time.perf_counter()
            for _ in range(ASKS):
                await ref.ask(message, deadline=trio.current_time() + PATIENCE_S if deadlines else math.inf)
            took = time.perf_counter() - started
            await supervisor.stop()
        return took / ASKS

    return trio.run(main)


def pykka_ask(within_s: float | None = None) -> float:
    ref = Pykka.start()
    message = Number(1)
    started = time.perf_counter()
    for _ in range(ASKS):
        ref.ask(message, timeout=within_s)
    took = time.perf_counter() - started
    ref.stop()
    return took / ASKS


QUEUE, TELL, TELL_BY = "a hop through a bare asyncio.Queue", "Ref.tell", "Ref.tell, a deadline each"
PYKKA, PYKKA_BY, ASK, ASK_BY = "Pykka ask", "Pykka ask, a timeout each", "Ref.ask", "Ref.ask, a deadline each"
CONTESTANTS: dict[str, Callable[[], float]] = {
    QUEUE: queue_hop,
    TELL: engram_tell,
    TELL_BY: lambda: engram_tell(deadlines=True),
    PYKKA: pykka_ask,
    ASK: engram_ask,
    PYKKA_BY: lambda: pykka_ask(PATIENCE_S),
    ASK_BY: lambda: engram_ask(deadlines=True),
}
AGAINST = {
    QUEUE: (QUEUE, None),
    TELL: (QUEUE, 2.0),
    TELL_BY: (QUEUE, None),
    PYKKA: (PYKKA, None),
    ASK: (PYKKA, 1.0),
    PYKKA_BY: (PYKKA_BY, None),
    ASK_BY: (PYKKA_BY, 1.0),
}
"""Whom each is compared with, and how many times that it may take."""


def measure_messages(rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, contestant in CONTESTANTS.items():
            times[name].append(contestant())
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"{'':38}{'median us':>10}{'best us':>10}{'ratio':>8}{'bar':>8}")
    for name, (baseline, bar) in AGAINST.items():
        ratio = medians[name] / medians[baseline]
        said = f"{bar:g}x" if bar else ""
        best = min(times[name])
        print(f"{name:38}{medians[name] * 1e6:>10.2f}{best * 1e6:>10.2f}{ratio:>7.2f}x{said:>8}")


def processor_s(pid: int) -> float:
    """Give the time that a process of ours has run, on all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_idle(idle_s: float) -> None:
    with tempfile.TemporaryDirectory() as folder, NodeProcess(Path(folder)) as node:
        node.wait_for_model()
        time.sleep(SETTLE_S)
        before, started = processor_s(node.pid), time.perf_counter()
        time.sleep(idle_s)
        share = (processor_s(node.pid) - before) / (time.perf_counter() - started)
        node.stop()
    print(f"an idle node uses {share:.2%} of one processor over {idle_s:g} s; the bar is 1%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--idle-s", type=float, default=10.0)
    options = parser.parse_args()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("trio", "pykka")]
    print(f"Python {platform.python_version()}, {', '.join(versions)}; load {os.getloadavg()[0]:.1f}")
    measure_messages(options.rounds)
    measure_idle(options.idle_s)


if __name__ == "__main__":
    main()
