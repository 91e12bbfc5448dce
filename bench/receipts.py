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
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import node_process
from folders import DIM, MODEL, NAMESPACE, random_vectors
from node_process import NodeProcess

import engram
from engram.sdk import EngramClient
from engram.store._receipts import Frame
from engram.wire import Item, Put, PutMany

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from engram.sdk import Api
    from engram.wire import ItemResult, PutResult, Request

    Opened = Callable[..., AbstractContextManager[Api]]
    Write = Callable[[Api, list[Request[Any]]], list[PutResult | ItemResult]]

UNSIGNED = "from engram.store._receipts import Frame; Frame.sign = lambda *_: None; "
IN_FLIGHT = 32


@contextlib.contextmanager
def embedded(folder: Path, *, signed: bool) -> Iterator[Api]:
    with engram.open(folder) as memory:
        memory.signed = signed
        yield memory


@contextlib.contextmanager
def over_rpc(folder: Path, *, signed: bool) -> Iterator[Api]:
    start = node_process.NODE
    if not signed:
        node_process.NODE = (*start[:2], UNSIGNED + start[2])
    try:
        node = NodeProcess(folder)
    finally:
        node_process.NODE = start
    with node, EngramClient(node.url, 60.0) as client:
        client.node_pid = node.pid
        yield client


def cpu_s(api: Api) -> float:
    """Give the seconds of CPU that this process, and the node where there is one, have taken so far."""
    own = time.process_time()
    if (pid := getattr(api, "node_pid", None)) is None:
        return own
    threads = Path(f"/proc/{pid}/task").iterdir()
    return own + sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


SIGN = Frame.sign


def write(api: Api, requests: list[Request[Any]]) -> list[PutResult | ItemResult]:
    """Carry requests out, up to 32 in flight where the way has several."""
    Frame.sign = SIGN if getattr(api, "signed", True) else lambda *_: None
    if len(requests) == 1:
        answers = [api._call(requests[0])]  # noqa: SLF001 - the SDK's own calls give no receipts
    else:
        answers = list(api._calls.call_many(iter(requests), window=IN_FLIGHT))  # noqa: SLF001
    return [item for answer in answers for item in getattr(answer, "items", [answer])]


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
) -> dict[str, list[float]]:
    """Give the microseconds that a memory took, by the clock and of CPU, without receipts and with them."""
    taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        apis = {signed: stack.enter_context(opened(folder / str(signed), signed=signed)) for signed in taken}
        for api in apis.values():
            api.namespaces.create(NAMESPACE, dim=DIM, model=MODEL)
        for number, items in enumerate(itertools.islice(numbered(count), calls)):
            requests = request(items)
            for signed in (False, True) if number % 2 else (True, False):
                began, started = cpu_s(apis[signed]), time.perf_counter()
                answers = write(apis[signed], requests)
                ended = time.perf_counter()
                taken[signed].append(((ended - started) / count, (cpu_s(apis[signed]) - began) / count))
                assert all((answer.receipt is not None) is signed for answer in answers)
    return {
        unit: [statistics.quantiles((each[at] for each in taken[signed]), n=10)[0] * 1e6 for signed in (False, True)]
        for at, unit in enumerate(("clock", "CPU"))
    }


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
        cells = [f"{a:>16.1f}{b:>8.1f}{a / b:>8.1%}" for a, b in measured(*contest).values()]
        print(f"{name:32}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
