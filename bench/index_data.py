"""What the benchmarks of the index share: the glosses' embeddings, rows made of them, brute force, timing in turns.

Usage: python bench/index_data.py [--glosses FILE]

Embeds WordNet's 117,659 glosses with the node's own model and keeps them in FILE, which the benchmarks then read: some
ten minutes of one core, once. Needs `wordnet-base` and the model (`engram-node model fetch`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from folders import glosses

from engram.embed import find_model, load_embedder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Q = TypeVar("Q")
GLOSSES = Path(tempfile.gettempdir()) / "engram-bench" / "glosses.npy"
K = 10
HELD_OUT = 1000
BATCH = 5000
"""Rows in each part of `made_rows`."""
NOISE = 0.02
"""Of a component, in rows made of glosses: a made row's cosine with its gloss is then about 0.93."""
_SEED = 20_261_121
_EMBEDDED_AT_ONCE = 256


class Split(NamedTuple):
    """Rows, and queries that are none of them; `order[i]` is the gloss that row i is of."""

    rows: np.ndarray
    queries: np.ndarray
    order: np.ndarray


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the glosses' embeddings are kept."""
    parser.add_argument("--glosses", type=Path, default=GLOSSES, help="where their embeddings are kept (%(default)s)")


def gloss_vectors(file: Path) -> np.ndarray:
    """Give the float32 unit vectors of all glosses, (117659, 384); embed them and keep them where they are not yet."""
    if not file.exists():
        vectors = _embedded([memory["text"] for memory in glosses(None)])
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished.npy")
        np.save(unfinished, vectors)
        unfinished.rename(file)
    return np.load(file)


def _embedded(texts: list[str]) -> np.ndarray:
    files = find_model(None)
    if files is None:
        raise SystemExit("error: the model is not here: engram-node model fetch")
    embedder = load_embedder(files)
    parts = [texts[at : at + _EMBEDDED_AT_ONCE] for at in range(0, len(texts), _EMBEDDED_AT_ONCE)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [vector for outcome in pool.map(embedder.embed, parts) for vector in outcome.vectors]
    return np.frombuffer(b"".join(found), "<f4").reshape(len(texts), -1)


def split(vectors: np.ndarray, rows: int, queries: int = HELD_OUT) -> Split:
    """Draw rows and held-out queries from the glosses, always the same ones of the same numbers."""
    if rows + HELD_OUT > len(vectors) or queries > HELD_OUT:
        raise SystemExit(f"error: {len(vectors)} glosses give no {rows} rows beside {HELD_OUT} held out")
    drawn = np.random.default_rng(_SEED).permutation(len(vectors))
    order = drawn[HELD_OUT : HELD_OUT + rows]
    return Split(vectors[order], vectors[drawn[:queries]], order)


def made_rows(vectors: np.ndarray, start: int, end: int) -> Iterator[np.ndarray]:
    """Give rows `start` to `end`, unit vectors, in batches: glosses that are not held out, drawn at random, with noise.

    Both are multiples of `BATCH`: each batch has a seed of its own, so that any can be made again without the others.
    """
    base = split(vectors, len(vectors) - HELD_OUT, 1).rows
    for first in range(start, end, BATCH):
        rng = np.random.default_rng([_SEED, first])
        drawn = base[rng.integers(0, len(base), BATCH)]
        yield unit(drawn + NOISE * rng.standard_normal(drawn.shape, dtype=np.float32))


def made_queries(vectors: np.ndarray, count: int) -> np.ndarray:
    """Give queries for `made_rows`: held-out glosses with the same noise."""
    rng = np.random.default_rng(_SEED + 2)
    drawn = split(vectors, 1, count).queries
    return unit(drawn + NOISE * rng.standard_normal(drawn.shape, dtype=np.float32))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Give the directions of these vectors, float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


class Truth:
    """Brute force in float64, over all rows or the `allowed` ones."""

    def __init__(self, rows: np.ndarray, queries: np.ndarray, allowed: np.ndarray | None = None) -> None:
        self._rows = rows
        self._queries = _directions(queries)
        self._allowed = np.arange(len(rows)) if allowed is None else allowed
        self.wanted = min(K, len(self._allowed))
        """How many rows an answer must have."""
        self._last = self._lasts()

    def _lasts(self) -> np.ndarray:
        """Give the cosine of each query's last wanted row."""
        best = np.full((len(self._queries), 0), 0.0)
        for at in range(0, len(self._allowed), 16_384):  # so that the rows are never all there in float64
            part = _directions(self._rows[self._allowed[at : at + 16_384]])
            best = np.concatenate([best, self._queries @ part.T], axis=1)
            wanted = min(self.wanted, best.shape[1])
            best = np.partition(best, -wanted, axis=1)[:, -wanted:]
        return best.min(axis=1)

    def recall(self, found: Sequence[Sequence[int]]) -> float:
        """Give the share of the nearest that was found, over queries 0.. of `found`, each a list of rows.

        A row that is as near as the last, within float32's rounding, is as good: there are duplicates among glosses.
        """
        return statistics.fmean(self._recall(query, np.asarray(rows)) for query, rows in enumerate(found))

    def _recall(self, query: int, found: np.ndarray) -> float:
        assert len(np.unique(found)) == len(found) <= self.wanted, f"query {query}: {found}"
        assert np.isin(found, self._allowed).all(), "a row that the filter does not allow"
        cosines = _directions(self._rows[found]) @ self._queries[query]
        return float((cosines >= self._last[query] - 1e-6).sum() / self.wanted)


def _directions(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


class Times(NamedTuple):
    """What a query took, in milliseconds: the medians of wall and processor time, and the 99th percentile of wall."""

    wall: float
    cpu: float
    p99: float


def in_turns(contestants: Mapping[str, Callable[[Q], object]], queries: Sequence[Q], rounds: int) -> dict[str, Times]:
    """Time every contestant in turn, `rounds` times over, each with all queries one by one; give medians of the rounds.

    The processor time is the whole process's, other threads' too.
    """
    taken: dict[str, list[Times]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            for query in queries[:5]:
                call(query)
            taken[name].append(_times(call, queries))
    return {name: Times(*map(statistics.median, zip(*found, strict=True))) for name, found in taken.items()}


def _times(call: Callable[[Q], object], queries: Sequence[Q]) -> Times:
    walls = []
    cpu = time.process_time()
    for query in queries:
        started = time.perf_counter()
        call(query)
        walls.append((time.perf_counter() - started) * 1e3)
    cpu = (time.process_time() - cpu) * 1e3 / len(queries)
    return Times(statistics.median(walls), cpu, float(np.percentile(walls, 99)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    started = time.perf_counter()
    print(f"{options.glosses}: {gloss_vectors(options.glosses).shape}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
