"""Show what the index makes of data of every kind: the mode that it earns, what that finds, what exact mode gives.

Usage: python bench/index_sets.py [--rows 100000] [--queries 100] [--sets text uniform …]

Queries are rows of the same kind that are held out. A part's way is what its self-test earned: signs, raw or centred,
and how many rows they let pass, or the codes alone. `recall@10` is of the default mode, against float64 brute force;
`exact` compares exact mode with brute force by the score that ranks, ties and their order included, and says how many
answers differ. Times are medians of one query, on one thread, the baseline numpy's float32 product with all rows and
its `argpartition`. Of rows that are alike many tie with the tenth: there any of them counts.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from index_data import HELD_OUT, K, Truth, add_options, gloss_vectors, in_turns, split
from index_engine import Engine

from engram.native._core import exact_cosines

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3
DIM = 384
OFFSET_SIGMAS = 2.0
DOMINANT_SIGMAS = 40.0
ROWS_ALIKE = 20


def sets(glosses: np.ndarray, count: int) -> dict[str, Callable[[], np.ndarray]]:
    """Give a maker for each kind of data: `count` rows, float32."""
    rng = np.random.default_rng(16)

    def text() -> np.ndarray:
        drawn = split(glosses, count - HELD_OUT)
        return np.concatenate([drawn.rows, drawn.queries])

    def normal(dim: int) -> np.ndarray:
        return rng.standard_normal((count, dim), dtype=np.float32) + np.float32(0)  # a record refuses -0.0

    def dominant() -> np.ndarray:
        values = normal(DIM)
        values[:, 7] += DOMINANT_SIGMAS
        return values

    def duplicates() -> np.ndarray:
        distinct = text()[: count // ROWS_ALIKE]
        return distinct[rng.integers(0, len(distinct), count)]

    return {
        "text": text,
        "text, with an offset": lambda: (found := text()) + np.float32(OFFSET_SIGMAS * found.std()),
        "non-negative": lambda: np.abs(text()),
        "uniform": lambda: rng.random((count, DIM), dtype=np.float32),
        "4 dimensions, positive": lambda: rng.random((count, 4), dtype=np.float32) + np.float32(0.01),
        "16 dimensions": lambda: normal(16),
        "one dominant component": dominant,
        "duplicates, 20 alike": duplicates,
        "all equal": lambda: np.tile(text()[:1], (count, 1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--sets", nargs="*", help="only those whose name holds one of these")
    add_options(parser)
    options = parser.parse_args()
    makers = sets(gloss_vectors(options.glosses), options.rows + HELD_OUT)
    print(f"{options.rows:,} rows, k = {K}, {options.queries} queries, one thread, {ROUNDS} rounds\n")
    print(
        f"{'':26}{'way of each part':>26}{'recall@10':>11}{'p50 ms':>9}{'exact ms':>10}{'differ':>8}{'numpy ms':>10}",
        end="",
    )
    print(f"{'default':>9}{'exact':>8}{'build CPU s':>13}")
    for name, make in makers.items():
        if not options.sets or any(part in name for part in options.sets):
            vectors = make()
            measure(name, vectors[: options.rows], vectors[options.rows :][: options.queries])


def measure(name: str, rows: np.ndarray, queries: np.ndarray) -> None:
    """Print one line of the table."""
    engine = Engine(rows)
    found = [engine.search(query) for query in queries]
    exactly = [engine.search(query, exact=True) for query in queries]
    stored = [row.tobytes() for row in rows]
    right = [by_score(stored, engine.digests, query) for query in queries]
    differ = sum(answer != best for answer, best in zip(exactly, right, strict=True))
    del stored
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    contestants = {
        "numpy": lambda query: np.argpartition(directions @ query, -K)[-K:],
        "default": engine.search,
        "exact": partial(engine.search, exact=True),
    }
    times = {contestant: taken.wall for contestant, taken in in_turns(contestants, queries, ROUNDS).items()}
    line = f"{name:26}{engine.ways:>26}{Truth(rows, queries).recall(found):>11.4f}"
    line += f"{times['default']:>9.3f}{times['exact']:>10.3f}{differ:>8}{times['numpy']:>10.2f}"
    ratios = (f"{times[contestant] / times['numpy']:.3f}x" for contestant in ("default", "exact"))
    print(line + "".join(f"{ratio:>9}" for ratio in ratios) + f"{engine.build_cpu_s:>12.2f}", flush=True)


def by_score(stored: list[bytes], digests: list[bytes], query: np.ndarray) -> list[int]:
    """Rank every row by the score that ranks, then by its digest: brute force, without the index."""
    scores = np.array(exact_cosines(query.tobytes(), stored))
    last = np.partition(scores, -K)[-K]
    among = [int(row) for row in np.flatnonzero(scores >= last)]
    return sorted(among, key=lambda row: (-scores[row], digests[row]))[:K]


if __name__ == "__main__":
    main()
