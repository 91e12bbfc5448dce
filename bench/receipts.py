"""Time durable writing with receipts against the same without any: what signatures and paths cost who ingests.

Usage: python bench/receipts.py [--calls 40]

Vectors of 384 dimensions with small metadata, in batches of 1,000 and one a call, into an embedded memory and over RPC.
The baseline is this very build whose frames are not signed. Both are open side by side, and take turns call by call.
Given are the tenth percentiles of the calls, by the clock and by the CPU that client and node took together: what they
take where nothing else runs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

import node_process
from folders import DIM, MODEL, NAMESPACE, random_vectors
from node_process import NodeProcess

import engram
from engram.sdk import EngramClient
from engram.store._group import Group
from engram.wire import Item, Put, PutMany

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection

    from engram.sdk import Api
    from engram.wire import Request

    Timed = tuple[float, float, int]
    Opened = Callable[..., AbstractContextManager[Callable[[list[Request[Any]]], Timed]]]

UNSIGNED = "from engram.store._group import Group; Group.sign = lambda *_: None; "
IN_FLIGHT = 32


class Embedded:
    """A memory in a process of its own, that says what each call took."""

    def __init__(self, folder: Path, *, signed: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=remember, args=(folder, theirs), kwargs={"signed": signed})
        self._process.start()

    def timed(self, requests: list[Request[Any]]) -> Timed:
        self._pipe.send(requests)
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def remember(folder: Path, pipe: Connection, *, signed: bool) -> None:
    if not signed:
        Group.sign = lambda *_: None
    with engram.open(folder) as memory:
        memory.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
        while (requests := pipe.recv()) is not None:
            pipe.send(timed(memory, requests))


@contextlib.contextmanager
def embedded(folder: Path, *, signed: bool) -> Iterator[Callable[[list[Request[Any]]], Timed]]:
    memory = Embedded(folder, signed=signed)
    yield memory.timed
    memory.close()


@contextlib.contextmanager
def over_rpc(folder: Path, *, signed: bool) -> Iterator[Callable[[list[Request[Any]]], Timed]]:
    start = node_process.NODE
    if not signed:
        node_process.NODE = (*start[:2], UNSIGNED + start[2])
    try:
        node = NodeProcess(folder)
    finally:
        node_process.NODE = start
    with node, EngramClient(node.url, 60.0) as client:
        client.node_pid = node.pid
        client.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
        yield partial(timed, client)


def cpu_s(api: Api) -> float:
    """Give the seconds of CPU that this process, and the node where there is one, have taken so far."""
    own = time.process_time()
    if (pid := getattr(api, "node_pid", None)) is None:
        return own
    threads = Path(f"/proc/{pid}/task").iterdir()
    return own + sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def timed(api: Api, requests: list[Request[Any]]) -> Timed:
    """Carry requests out, up to 32 in flight where the way has several; give seconds, of CPU too, and the receipts."""
    began, started = cpu_s(api), time.perf_counter()
    if len(requests) == 1:
        answers = [api._call(requests[0])]  # noqa: SLF001 - the SDK's own calls give no receipts
    else:
        answers = list(api._calls.call_many(iter(requests), window=IN_FLIGHT))  # noqa: SLF001
    clock_s, taken_s = time.perf_counter() - started, cpu_s(api) - began
    items = [item for answer in answers for item in getattr(answer, "items", [answer])]
    return clock_s, taken_s, sum(item.receipt is not None for item in items)


def numbered(count: int) -> Iterator[list[Item]]:
    """Give new memories, `count` a time."""
    for seed in itertools.count():
        yield [Item(vector=vector.tobytes(), metadata={"n": n}) for n, vector in enumerate(random_vectors(count, seed))]


def batch(items: list[Item]) -> list[Request[Any]]:
    return [PutMany(items=items, namespace=NAMESPACE)]


def singles(items: list[Item]) -> list[Request[Any]]:
    return [Put(vector=item.vector, metadata=item.metadata, namespace=NAMESPACE) for item in items]


def measured(
    opened: Opened, request: Callable[[list[Item]], list[Request[Any]]], count: int, calls: int
) -> list[list[float]]:
    """Give the microseconds that a memory took, by the clock and of CPU, without receipts and with them."""
    taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write = {signed: stack.enter_context(opened(folder / str(signed), signed=signed)) for signed in taken}
        for number, items in enumerate(itertools.islice(numbered(count), calls)):
            for signed in (False, True) if number % 2 else (True, False):
                *seconds, receipts = write[signed](request(items))
                assert receipts == count * signed
                taken[signed].append((seconds[0] / count * 1e6, seconds[1] / count * 1e6))
    return [
        [statistics.quantiles((each[at] for each in taken[signed]), n=10)[0] for signed in (False, True)]
        for at in range(2)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=40, help="of 1,000; of those of less, more")
    calls = parser.parse_args().calls
    contests = {
        "embedded, 1,000 a call": (embedded, batch, 1000, calls),
        "embedded, one a call": (embedded, singles, 1, 30 * calls),
        "RPC, 1,000 a call": (over_rpc, batch, 1000, calls),
        "RPC, one a call, 32 in flight": (over_rpc, singles, 10 * IN_FLIGHT, 2 * calls),
        "RPC, one a call, 1 in flight": (over_rpc, singles, 1, 30 * calls),
    }
    print(f"{'us a memory':32}{'clock: without':>16}{'with':>8}{'ratio':>8}{'CPU: without':>16}{'with':>8}{'ratio':>8}")
    for name, contest in contests.items():
        cells = [f"{a:>16.1f}{b:>8.1f}{a / b:>8.1%}" for a, b in measured(*contest)]
        print(f"{name:32}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
