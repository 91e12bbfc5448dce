"""Time a query over 100,000 real embeddings against graphs: hnswlib, usearch, faiss, qdrant-edge, on one thread.

Usage: python bench/index_query.py [--rows 100000] [--queries 200] [--rounds 5] [--folder F] [--rivals F]
       [--against hnswlib …]

The rows are glosses of WordNet as the node's model embeds them, the queries others. A rival is searched with the
smallest width that has recall@10 >= 0.99 against float64 brute force, for each of several settings, and timed with the
one that is fastest so. Ours is timed as the engine's call with each kernel, and as `engram.open().query_by_vector` on a
folder opened again, which gives text and metadata and not row numbers. Each round takes every contestant in turn, with
all queries one by one. --folder and --rivals keep what was made, for another run.

Rivals: pip install hnswlib usearch faiss-cpu qdrant-edge-py. What is not here is left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

from folders import NAMESPACE, fill, glosses
from index_data import K, Truth, add_options, gloss_vectors, in_turns, split
from index_engine import Engine
from index_rivals import RIVALS, WIDTHS, Rival, built, present

import engram
from engram.native._core import scan_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

BASELINE = "hnswlib"
RECALL = 0.99


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep our data folder here")
    parser.add_argument("--rivals", type=Path, help="keep the rivals' graphs here")
    parser.add_argument("--against", nargs="*", metavar="PACKAGE", help="only these rivals, by the names pip knows")
    add_options(parser)
    options = parser.parse_args()
    rows, queries, order = split(gloss_vectors(options.glosses), options.rows, options.queries)
    truth = Truth(rows, queries)
    kinds = present(kind for kind in RIVALS if options.against is None or kind.package in options.against)
    rivals = [best(kind, rows, queries, truth, options.rivals) for kind in kinds]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "data"
        if not folder.exists():
            memories = glosses(None)
            drawn = [memories[at] for at in order]
            fill(folder, (one | {"metadata": one["metadata"] | {"row": row}} for row, one in enumerate(drawn)), rows)
        measure(folder, rows, queries, truth, rivals, options.rounds)


def best(kind: type[Rival], rows: np.ndarray, queries: np.ndarray, truth: Truth, folder: Path | None) -> Rival:
    """Build a rival with each of its settings; give the fastest of those that find enough."""
    found = [built(kind(*setting), rows, folder) for setting in kind.settings]
    enough = [rival for rival in found if widened(rival, queries, truth)]
    if not enough:
        raise SystemExit(f"error: {kind.package} never reaches a recall of {RECALL}")
    times = in_turns({rival.name: rival.search for rival in enough}, queries, 3)
    for rival in enough:
        print(f"  {rival.name:44}{times[rival.name].wall:8.3f} ms{rival.build_cpu_s:8.0f} CPU s to build", flush=True)
    return min(enough, key=lambda rival: times[rival.name].wall)


def widened(rival: Rival, queries: np.ndarray, truth: Truth) -> bool:
    """Set the smallest width that finds enough; say whether there is one."""
    for width in WIDTHS:
        rival.widen(width)
        if truth.recall([rival.search(query) for query in queries]) >= RECALL:
            return True
    return False


def measure(
    folder: Path, rows: np.ndarray, queries: np.ndarray, truth: Truth, rivals: list[Rival], rounds: int
) -> None:
    engine = Engine(rows)
    print(f"  the engine's parts: {engine.ways}")
    contestants: dict[str, Callable[[np.ndarray], Any]] = {rival.name: rival.search for rival in rivals}
    builds = {rival.name: rival.build_cpu_s for rival in rivals}
    for kernel in scan_kernels():
        name = f"the engine, {kernel}"
        contestants[name] = partial(engine.search, kernel=kernel)
        builds[name] = engine.build_cpu_s
    contestants["the engine, exact"] = partial(engine.search, exact=True)
    with engram.open(folder) as memory:

        def through_the_door(query: np.ndarray) -> list[int]:
            return [hit.metadata["row"] for hit in memory.query_by_vector(query, K, namespace=NAMESPACE)]

        contestants["engram.open().query_by_vector, reopened"] = through_the_door
        recalls = {name: truth.recall([call(query) for query in queries]) for name, call in contestants.items()}
        times = in_turns(contestants, queries, rounds)
    print(f"\n{len(rows):,} x {rows.shape[1]}, k = {K}, one thread, {len(queries)} queries, {rounds} rounds")
    print(f"{'':48}{'recall@10':>10}{'p50 ms':>9}{'CPU ms':>9}{'p99 ms':>9}{'of hnswlib':>12}{'build CPU s':>13}")
    baseline = next((times[rival.name].wall for rival in rivals if rival.package == BASELINE), float("nan"))
    for name, found in times.items():
        line = f"{name:48}{recalls[name]:>10.4f}{found.wall:>9.3f}{found.cpu:>9.3f}{found.p99:>9.3f}"
        print(f"{line}{found.wall / baseline:>11.2f}x" + (f"{builds[name]:>13.2f}" if name in builds else ""))


if __name__ == "__main__":
    main()
