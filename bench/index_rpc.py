"""Time a query over the wire, ids and metadata in the answer, against an aiohttp server with JSON and faiss.

Usage: python bench/index_rpc.py [--rows 100000] [--queries 200] [--rounds 5] [--folder FOLDER]

The rows are glosses of WordNet as the node's model embeds them, each with its text and metadata; the queries are
others. Every server is a process of its own on loopback, asked by one client, one query after another. The node reads
texts and metadata from its disk; the rivals have them in memory. A graph is searched with the smallest width that has
recall@10 >= 0.99 against float64 brute force. Each round takes every contestant in turn; --folder keeps the node's data
for another run. Beside the times stands the processor time that client and server took for a query, which other work on
the machine changes less.

Rivals: pip install aiohttp faiss-cpu. Where they are not here, the node is timed alone.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from folders import NAMESPACE, fill, glosses
from index_data import K, Truth, add_options, gloss_vectors, in_turns, split

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from node_process import NodeProcess

from engram.sdk import EngramClient

if TYPE_CHECKING:
    from collections.abc import Callable

RECALL = 0.99
WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 400, 800)
RIVAL = Path(__file__).with_name("index_rpc_rival.py")
PACKAGES = ("aiohttp", "faiss")
STATUS = "the node, status"


class Rival:
    """A rival's server in a process of its own, and one connection to it."""

    def __init__(self, kind: str, vectors: Path, memories: Path) -> None:
        self.name = f"aiohttp, JSON, faiss {kind}"
        command = [sys.executable, RIVAL, vectors, memories, kind]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._connection = http.client.HTTPConnection("127.0.0.1", int(self._process.stdout.readline()))

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.communicate()

    def search(self, query: np.ndarray) -> list[int]:
        """Give the rows nearest to the query."""
        hits = self._post("/query", {"vector": query.tolist(), "k": K})["hits"]
        return [hit["metadata"]["row"] for hit in hits]

    def widen(self, queries: np.ndarray, truth: Truth) -> None:
        """Search the graph with the smallest width that finds enough."""
        for width in WIDTHS:
            self._post("/width", {"width": width})
            if truth.recall([self.search(query) for query in queries]) >= RECALL:
                self.name += f", width {width}"
                return
        raise SystemExit(f"error: faiss never reaches a recall of {RECALL}")

    def _post(self, path: str, asked: dict[str, Any]) -> Any:
        self._connection.request("POST", path, json.dumps(asked), {"Content-Type": "application/json"})
        return json.loads(self._connection.getresponse().read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the node's data folder here")
    add_options(parser)
    options = parser.parse_args()
    rows, queries, order = split(gloss_vectors(options.glosses), options.rows, options.queries)
    every = glosses(None)
    memories = [every[at] | {"metadata": every[at]["metadata"] | {"row": row}} for row, at in enumerate(order)]
    truth = Truth(rows, queries)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as servers:
        folder = options.folder or Path(temporary) / "data"
        if not folder.exists():
            fill(folder, memories, rows)
        rivals = [servers.enter_context(rival) for rival in started(Path(temporary), rows, memories)]
        for rival in rivals:
            if "hnsw" in rival.name:
                rival.widen(queries, truth)
        measure(folder, rows, queries, truth, rivals, options.rounds)


def started(folder: Path, rows: np.ndarray, memories: list[dict[str, Any]]) -> list[Rival]:
    if missing := [package for package in PACKAGES if importlib.util.find_spec(package) is None]:
        print(f"no {', '.join(missing)} here, so no rival: pip install aiohttp faiss-cpu")
        return []
    np.save(folder / "rows.npy", rows)
    (folder / "memories.json").write_text(json.dumps(memories))
    return [Rival(kind, folder / "rows.npy", folder / "memories.json") for kind in ("hnsw", "flat")]


def measure(
    folder: Path, rows: np.ndarray, queries: np.ndarray, truth: Truth, rivals: list[Rival], rounds: int
) -> None:
    contestants: dict[str, Callable[[np.ndarray], Any]] = {rival.name: rival.search for rival in rivals}
    with NodeProcess(folder) as node, EngramClient(node.url) as client:

        def ours(query: np.ndarray, **how: Any) -> list[int]:
            return [hit.metadata["row"] for hit in client.query_by_vector(query, K, namespace=NAMESPACE, **how)]

        while client.status().model.state in ("fetching", "loading"):
            time.sleep(0.1)  # it takes a core or two for some seconds
        mode = client.explain(vector=queries[0], namespace=NAMESPACE).mode
        contestants[f"the node, query_by_vector, mode {mode}"] = ours
        contestants["the node, query_by_vector, exact"] = partial(ours, exact=True)
        contestants[STATUS] = lambda _: client.status()
        recalls = {
            name: truth.recall([call(query) for query in queries])
            for name, call in contestants.items()
            if name != STATUS
        }
        pids = {rival.name: rival.pid for rival in rivals}
        times = in_turns(contestants, queries, rounds)
        taken = {name: cpu_ms(pids.get(name, node.pid), call, queries) for name, call in contestants.items()}
    print(f"\n{len(rows):,} x {rows.shape[1]}, k = {K}, {len(queries)} queries, {rounds} rounds, over loopback")
    print(f"{'':42}{'recall@10':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}{'p50 of the rival':>18}{'CPU of its':>12}")
    best = min((rival.name for rival in rivals), key=lambda name: times[name].wall, default=None)
    for name, found in times.items():
        cpu = found.cpu + taken[name]
        recall = f"{recalls[name]:>10.4f}" if name in recalls else f"{'':10}"
        line = f"{name:42}{recall}{found.wall:>9.3f}{found.p99:>9.3f}{cpu:>9.3f}"
        if best is not None:
            line += f"{found.wall / times[best].wall:>17.2f}x{cpu / (times[best].cpu + taken[best]):>11.2f}x"
        print(line)


def cpu_ms(pid: int, call: Callable[[np.ndarray], Any], queries: np.ndarray) -> float:
    """Give the processor time that a query takes in another process, in ms; 0 where the system does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    before = _ticks(stat)
    for query in queries:
        call(query)
    return (_ticks(stat) - before) * 1e3 / os.sysconf("SC_CLK_TCK") / len(queries)


def _ticks(stat: Path) -> int:
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
