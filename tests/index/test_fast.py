"""The fast mode: it finds what its definition says, with the recall that it promises, or is not used."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from index import datasets
from index.written import Segments, digest_of

from engram.index import Allowed, Space
from engram.native._core import exact_cosines, scan_kernels

TESTED = 16_384
"""Rows at which a head tests itself first."""
ROWS = 20_480
HELD_OUT = 60
EARNED = {"embeddings": "raw", "embeddings_offset": "centred"}
NEVER = {"four", "sixteen", "one", "all_equal", "duplicates"}
"""What some sets must come to: of fewer than 64 components, or with a tie of a thousand rows, none is earned."""


class Memory:
    """Rows of a data set, and queries of it that are none of them."""

    def __init__(self, name: str) -> None:
        everything = datasets.make(name, 1, ROWS + HELD_OUT)
        self.vectors, self.queries = everything[:ROWS], everything[ROWS:]
        segments = Segments(1 << 24)
        self.space = Space(self.vectors.shape[1], segments.maps)
        self.written = segments.write_vectors(self.vectors)
        assert self.space.add(self.written) == []
        self.view = self.space.publish()
        self.row_of = {digest: row for row, (digest, _) in enumerate(self.written)}

    def found(self, query: np.ndarray, k: int = 10, **options: object) -> tuple[list[tuple[int, float]], str]:
        hits, mode, _, damaged = self.view.search(query.tobytes(), k, **options)
        assert damaged == []
        return [(self.row_of[digest], score) for digest, _, score, _ in hits], mode


@functools.lru_cache(maxsize=2)  # one takes some 150 MB
def memory(name: str) -> Memory:
    return Memory(name)


def best(query: np.ndarray, vectors: np.ndarray, rows: list[int], k: int) -> list[tuple[int, float]]:
    """Rank rows as documented: the float32 cosine, then the digest."""
    scores = exact_cosines(query.tobytes(), [vectors[row].tobytes() for row in rows])
    ranked = sorted((-score, digest_of(row), row) for row, score in zip(rows, scores, strict=True))
    return [(row, -score) for score, _, row in ranked[:k]]


def directions(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def codes(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Code rows as `docs/index.md` says: whole numbers, and the float32 scale below the projection on them."""
    unit = directions(vectors)
    levels = np.rint(unit * (127.0 / np.abs(unit).max(axis=1, keepdims=True)))
    projection = (unit * levels).sum(axis=1) / (levels * levels).sum(axis=1)
    return levels, np.nextafter(projection.astype(np.float32), np.float32(-1))


def signs(levels: np.ndarray, scales: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    values = scales[:, None] * levels.astype(np.float32)
    return values < (np.float32(0) if mean is None else mean)


def distances(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    return (rows != query).sum(axis=1)


def way_of(memory: Memory) -> tuple[int, float, np.ndarray | None] | None:
    [way] = memory.view.fast
    if way is None:
        return None
    r1, recall, mean = way
    return r1, recall, None if mean is None else np.frombuffer(mean, np.float32)


@pytest.mark.parametrize("name", datasets.SETS)
def test_of_the_ten_nearest_it_finds_99_in_100_or_is_not_used(name: str) -> None:
    stored = memory(name)
    way = way_of(stored)
    if name in EARNED:
        assert way is not None
        assert (way[2] is None) == (EARNED[name] == "raw")
    assert way is None or name not in NEVER
    unit, modes, found, wanted = directions(stored.vectors), set(), 0, 0
    for query in stored.queries:
        truth = unit @ directions(query[None])[0]
        last = np.sort(truth)[-10] - 2 * datasets.score_error(stored.vectors.shape[1])
        rows, mode = stored.found(query)
        assert len(rows) == 10
        modes.add(mode)
        found += sum(truth[row] >= last for row, _ in rows)
        wanted += 10
        if mode == "exact":
            assert rows == best(query, stored.vectors, np.flatnonzero(truth >= last).tolist(), 10)
    assert modes == {"exact" if way is None else "fast"}
    assert found >= 0.99 * wanted


@pytest.mark.parametrize("name", ["embeddings", "embeddings_offset"])
def test_it_finds_the_best_of_those_that_the_signs_let_pass(name: str) -> None:
    stored = memory(name)
    r1, _, mean = way_of(stored)
    rows = signs(*codes(stored.vectors), mean)
    rng = np.random.default_rng(3)
    for number, query in enumerate(stored.queries[:6]):
        asked = directions(query[None]).astype(np.float32)[0] < (np.float32(0) if mean is None else mean)
        ranked = np.argsort(distances(rows, asked), kind="stable")
        k = (10, 3, 25)[number % 3]
        expected = best(query, stored.vectors, ranked[: r1 * -(-k // 10)].tolist(), k)
        for kernel in scan_kernels():
            assert stored.found(query, k, kernel=kernel) == (expected, "fast")
        allowed = rng.random(ROWS) < 0.99
        passed = [row for row in ranked if allowed[row]][: r1 * -(-k // 10)]
        bitmap = Allowed([(stored.view.parts[0][0], np.packbits(allowed, bitorder="little").tobytes())])
        assert stored.found(query, k, allowed=bitmap) == (best(query, stored.vectors, passed, k), "fast")


@pytest.mark.parametrize("name", ["embeddings", "embeddings_offset", "non_negative", "uniform", "text"])
def test_what_is_earned_is_what_the_rows_show(name: str) -> None:
    stored = memory(name)
    levels, scales = codes(stored.vectors[:TESTED])
    held_out = [(at * TESTED + TESTED // 2) // 64 for at in range(64)]
    values = scales[None, :].astype(np.float64) * (levels[held_out] @ levels.T)
    values[range(64), held_out] = -np.inf
    nearest = [np.flatnonzero(row >= np.sort(row)[-10]) for row in values]
    mean = (scales[:, None] * levels.astype(np.float32)).astype(np.float64).mean(axis=0).astype(np.float32)
    ways = []
    for centred in (False, True):
        rows = signs(levels, scales, mean if centred else None)
        before = []
        for row, near in zip(held_out, nearest, strict=True):
            apart = distances(rows, rows[row])
            apart[row] = 9999
            before.append([np.count_nonzero(apart <= apart[other]) for other in near])
        for r1 in (400, 800, 1600, 3200):
            recall = np.mean([np.mean(np.array(ranks) <= r1) for ranks in before])
            if recall >= 0.995:
                ways.append((r1, -recall, centred))
    way = way_of(stored)
    if not ways:
        assert way is None
        return
    r1, recall, centred = min(ways)
    grown = -(-r1 * ROWS // TESTED)
    assert way[:2] == (grown, pytest.approx(-recall))
    assert (way[2] is not None) == centred
    if centred:
        assert np.abs(way[2] - mean).max() < 1e-7


def test_it_serves_neither_few_rows_nor_a_large_k_nor_who_asks_for_exact() -> None:
    stored = memory("embeddings")
    query = stored.queries[0]
    everything = best(query, stored.vectors, list(range(ROWS)), 60)
    assert stored.found(query, 60)[1] == "exact"  # 6 times as many as for ten would be over an eighth
    assert stored.found(query, 60)[0] == everything
    assert stored.found(query, 10, exact=True) == (everything[:10], "exact")
    rng = np.random.default_rng(4)
    rows = np.sort(rng.permutation(ROWS)[:20_000])
    for count, mode in [(20_000, "exact"), (300, "exact")]:
        allowed = np.zeros(ROWS, bool)
        allowed[rows[:count]] = True
        bitmap = Allowed([(stored.view.parts[0][0], np.packbits(allowed, bitorder="little").tobytes())])
        assert stored.found(query, 10, allowed=bitmap) == (
            best(query, stored.vectors, rows[:count].tolist(), 10),
            mode,
        )


def test_the_signs_say_what_they_left_in_the_steps() -> None:
    stored = memory("embeddings")
    r1, *_ = way_of(stored)
    _, _, steps, _ = stored.view.search(stored.queries[0].tobytes(), 10, explain=True)
    assert [(name, rows) for name, rows, _ in steps[:2]] == [("allowed", ROWS), ("signs", r1)]
    assert [name for name, *_ in steps[2:]] == ["codes", "cosines", "bodies"]
