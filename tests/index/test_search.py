"""A search gives what brute force over the stored rows gives, on data of every shape and under every filter."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from index import datasets
from index.written import Segments, digest_of

from engram.index import Allowed, BodyMaps, Space
from engram.native._core import exact_cosines

ROWS = 700


class Stored:
    """An index over the vectors, and what judges it."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.rows, self.dim = vectors.shape
        self.segments = Segments()
        self.space = Space(self.dim, self.segments.maps)
        self.written = self.segments.write_vectors(vectors)
        assert self.space.add(self.written) == []
        self.view = self.space.publish()
        self.row_of = {digest: row for row, (digest, _) in enumerate(self.written)}

    def search(self, query: np.ndarray, k: int, allowed: bytes | None = None, **options: object) -> list:
        rows = None if allowed is None else Allowed([(self.view.parts[0][0], allowed)])
        hits, _, _, damaged = self.view.search(query.tobytes(), k, allowed=rows, **options)
        assert damaged == []
        return [(digest, score) for digest, _, score, _ in hits]

    def brute_force(self, query: np.ndarray, k: int, allowed: list[int]) -> list[tuple[bytes, float]]:
        scores = exact_cosines(query.tobytes(), [self.vectors[row].tobytes() for row in allowed])
        ranked = sorted((-score, digest_of(row)) for score, row in zip(scores, allowed, strict=True))
        return [(digest, -negated) for negated, digest in ranked[:k]]


def bitmap_of(rows: list[int]) -> bytes:
    return sum(1 << row for row in rows).to_bytes((ROWS + 7) // 8, "little")


def check_against_float64(stored: Stored, query: np.ndarray, k: int, allowed: list[int], matches: list) -> None:
    truth = datasets.cosines(query, stored.vectors)
    error = datasets.score_error(stored.dim)
    assert len(matches) == min(k, len(allowed))
    found = {stored.row_of[digest]: score for digest, score in matches}
    assert set(found) <= set(allowed)
    if not matches:
        return
    last = np.sort(truth[allowed])[::-1][len(matches) - 1]
    for row, score in found.items():
        assert abs(score - truth[row]) <= error
        assert truth[row] >= last - 2 * error
    assert all(row in found for row in allowed if truth[row] > last + 2 * error)


@pytest.mark.parametrize("name", datasets.SETS)
@pytest.mark.parametrize("share", [None, 0.5, 0.1, 0.01, 0.0])
def test_search_equals_brute_force(name: str, share: float | None) -> None:
    stored = Stored(datasets.make(name, 1, ROWS))
    rng = np.random.default_rng(2)
    allowed = list(range(ROWS)) if share is None else np.flatnonzero(rng.random(ROWS) < share).tolist()
    bitmap = None if share is None else bitmap_of(allowed)
    queries = [*datasets.make(name, 3, 3), stored.vectors[11], -stored.vectors[12]]
    for query in queries:
        for k in (1, 10, 100, ROWS, ROWS + 5):
            matches = stored.search(query, k, bitmap)
            assert matches == stored.brute_force(query, k, allowed)
            check_against_float64(stored, query, k, allowed, matches)


def test_queries_far_from_the_data_are_exact_too() -> None:
    stored = Stored(datasets.make("text_offset", 4, ROWS))
    rng = np.random.default_rng(5)
    for query in rng.standard_normal((20, stored.dim)).astype(np.float32):
        matches = stored.search(query, 10)
        assert matches == stored.brute_force(query, 10, list(range(ROWS)))


@pytest.mark.parametrize("name", ["text_offset", "four", "duplicates"])
def test_rows_that_come_ever_nearer_are_pruned_without_losing_one(name: str) -> None:
    vectors = datasets.make(name, 15, 5000)
    query = datasets.make(name, 16, 1)[0]
    stored = Stored(vectors[np.argsort(datasets.cosines(query, vectors))])
    for k in (1, 10, 1500):
        matches = stored.search(query, k)
        assert matches == stored.brute_force(query, k, list(range(5000)))


def test_the_lowest_digests_win_a_tie_beyond_k() -> None:
    stored = Stored(datasets.make("all_equal", 6, 1)[[0] * 600])
    matches = stored.search(stored.vectors[0], 7)
    assert matches == [(digest, 1.0) for digest in sorted(digest_of(row) for row in range(600))[:7]]


def test_few_vectors_are_read_on_text() -> None:
    stored = Stored(datasets.make("text", 7, 5000))
    query = datasets.make("text", 8, 1)[0]
    _, mode, steps, _ = stored.view.search(query.tobytes(), 10, explain=True)
    assert mode == "exact"
    rows = {name: rows for name, rows, _ in steps}
    assert list(rows) == ["allowed", "codes", "cosines", "bodies"]
    assert rows["allowed"] == 5000
    assert 10 <= rows["codes"] < 250
    assert rows["cosines"] == rows["bodies"] == 10
    assert all(us >= 0 for *_, us in steps)


def test_a_hit_brings_its_location_and_body() -> None:
    stored = Stored(datasets.make("sixteen", 9, 300))
    [(digest, location, score, payload)] = stored.view.search(stored.vectors[123].tobytes(), 1)[0]
    assert ((digest, location), score) == (stored.written[123], 1.0)
    assert payload == stored.segments.maps.proved(location, digest)
    assert payload[64 : 64 + 4 * 16] == stored.vectors[123].tobytes()


@pytest.mark.parametrize("mask_bytes", [0, 1, 33])
def test_rows_past_the_end_of_a_bitmap_are_not_allowed(mask_bytes: int) -> None:
    stored = Stored(datasets.make("four", 10, 300))
    matches = stored.search(stored.vectors[0], 300, b"\xff" * mask_bytes)
    assert {stored.row_of[digest] for digest, _ in matches} == set(range(8 * mask_bytes))


def test_bits_past_the_last_row_are_ignored() -> None:
    stored = Stored(datasets.make("four", 11, 300))
    assert len(stored.search(stored.vectors[0], 999, b"\xff" * 4000)) == 300


def test_an_empty_index_finds_nothing() -> None:
    view = Space(3, BodyMaps()).publish()
    assert view.search(np.ones(3, np.float32).tobytes(), 5) == ([], "exact", [], [])


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"", "16 bytes"),
        (bytes(15), "got 15"),
        (bytes(20), "got 20"),
        (bytes(16), "zero"),
        (np.array([1, 2, np.nan, 4], np.float32).tobytes(), "NaN"),
        (np.array([1, 2, -np.inf, 4], np.float32).tobytes(), "infinite"),
    ],
)
def test_a_query_without_a_direction_is_refused(query: bytes, text: str) -> None:
    stored = Stored(datasets.make("four", 12, 10))
    with pytest.raises(ValueError, match=text):
        stored.view.search(query, 1)


def test_other_unusable_arguments_are_refused() -> None:
    stored = Stored(datasets.make("four", 13, 10))
    query = stored.vectors[0].tobytes()
    with pytest.raises(ValueError, match="at least 1"):
        stored.view.search(query, 0)
    with pytest.raises(OverflowError):
        stored.view.search(query, -1)
    with pytest.raises(ValueError, match="sse9"):
        stored.view.search(query, 1, kernel="sse9")


def test_huge_k_is_everything() -> None:
    stored = Stored(datasets.make("four", 14, 10))
    assert len(stored.search(stored.vectors[0], sys.maxsize)) == 10
