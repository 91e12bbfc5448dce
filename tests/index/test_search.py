"""A search gives what brute force over the stored rows gives, on data of every shape and under every filter."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
from index import datasets

from engram.index import VectorIndex
from engram.native._core import exact_cosines

ROWS = 700


def digest_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


class Stored:
    """An index over the vectors, and what judges it."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.rows, self.dim = vectors.shape
        self.index = VectorIndex(self.dim)
        # Locations differ from row ids, so that a mix-up shows.
        self.index.add([(digest_of(row), 3 * row + 5) for row in range(self.rows)], vectors.tobytes())
        self.snapshot = self.index.publish(1)

    def fetch(self, location: int) -> memoryview:
        return memoryview(self.vectors[(location - 5) // 3].tobytes())

    def search(self, query: np.ndarray, k: int, allowed: bytes | None = None) -> list:
        return self.snapshot.search(query.tobytes(), k, self.fetch, allowed)

    def brute_force(self, query: np.ndarray, k: int, allowed: list[int]) -> list[tuple[bytes, float]]:
        scores = exact_cosines(query.tobytes(), [self.vectors[row].tobytes() for row in allowed])
        ranked = sorted((-score, digest_of(row)) for score, row in zip(scores, allowed, strict=True))
        return [(digest, -negated) for negated, digest in ranked[:k]]


def check_against_float64(stored: Stored, query: np.ndarray, k: int, allowed: list[int], matches: list) -> None:
    truth = datasets.cosines(query, stored.vectors)
    error = datasets.score_error(stored.dim)
    assert len(matches) == min(k, len(allowed))
    assert {match.row for match in matches} <= set(allowed)
    if not matches:
        return
    last = np.sort(truth[allowed])[::-1][len(matches) - 1]
    for match in matches:
        assert abs(match.score - truth[match.row]) <= error
        assert truth[match.row] >= last - 2 * error
    found = {match.row for match in matches}
    assert all(row in found for row in allowed if truth[row] > last + 2 * error)


@pytest.mark.parametrize("name", datasets.SETS)
@pytest.mark.parametrize("share", [None, 0.5, 0.1, 0.01, 0.0])
def test_search_equals_brute_force(name: str, share: float | None) -> None:
    stored = Stored(datasets.make(name, 1, ROWS))
    rng = np.random.default_rng(2)
    allowed = list(range(ROWS)) if share is None else np.flatnonzero(rng.random(ROWS) < share).tolist()
    bitmap = None if share is None else stored.snapshot.bitmap(allowed)
    queries = [*datasets.make(name, 3, 3), stored.vectors[11], -stored.vectors[12]]
    for query in queries:
        for k in (1, 10, 100, ROWS, ROWS + 5):
            matches = stored.search(query, k, bitmap)
            assert [(match.digest, match.score) for match in matches] == stored.brute_force(query, k, allowed)
            check_against_float64(stored, query, k, allowed, matches)


def test_queries_far_from_the_data_are_exact_too() -> None:
    stored = Stored(datasets.make("text_offset", 4, ROWS))
    rng = np.random.default_rng(5)
    for query in rng.standard_normal((20, stored.dim)).astype(np.float32):
        matches = stored.search(query, 10)
        assert [(match.digest, match.score) for match in matches] == stored.brute_force(query, 10, list(range(ROWS)))


@pytest.mark.parametrize("name", ["text_offset", "four", "duplicates"])
def test_rows_that_come_ever_nearer_are_pruned_without_losing_one(name: str) -> None:
    vectors = datasets.make(name, 15, 5000)
    query = datasets.make(name, 16, 1)[0]
    stored = Stored(vectors[np.argsort(datasets.cosines(query, vectors))])
    for k in (1, 10, 1500):
        matches = stored.search(query, k)
        assert [(match.digest, match.score) for match in matches] == stored.brute_force(query, k, list(range(5000)))


def test_the_lowest_digests_win_a_tie_beyond_k() -> None:
    stored = Stored(datasets.make("all_equal", 6, 1)[[0] * 600])
    matches = stored.search(stored.vectors[0], 7)
    assert [match.digest for match in matches] == sorted(digest_of(row) for row in range(600))[:7]
    assert {match.score for match in matches} == {1.0}


def test_candidates_are_few_on_text_and_hold_the_best() -> None:
    stored = Stored(datasets.make("text", 7, 5000))
    query = datasets.make("text", 8, 1)[0]
    rows = stored.snapshot.codes.candidates(query.tobytes(), 10)
    assert rows == sorted(set(rows))
    assert set(np.argsort(-datasets.cosines(query, stored.vectors))[:10]) <= set(rows)
    assert len(rows) < 250


def test_a_match_names_the_row_and_its_location() -> None:
    stored = Stored(datasets.make("sixteen", 9, 300))
    match = stored.search(stored.vectors[123], 1)[0]
    assert (match.row, match.location, match.digest) == (123, 3 * 123 + 5, digest_of(123))
    assert match.score == 1.0


@pytest.mark.parametrize("mask_bytes", [0, 1, 33])
def test_rows_past_the_end_of_a_bitmap_are_not_allowed(mask_bytes: int) -> None:
    stored = Stored(datasets.make("four", 10, 300))
    matches = stored.search(stored.vectors[0], 300, b"\xff" * mask_bytes)
    assert {match.row for match in matches} == set(range(8 * mask_bytes))


def test_bits_past_the_last_row_are_ignored() -> None:
    stored = Stored(datasets.make("four", 11, 300))
    assert len(stored.search(stored.vectors[0], 999, b"\xff" * 4000)) == 300


def test_an_empty_index_finds_nothing() -> None:
    snapshot = VectorIndex(3).publish(0)
    assert snapshot.search(np.ones(3, np.float32).tobytes(), 5, lambda _: b"") == []


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
        stored.snapshot.search(query, 1, stored.fetch)


def test_other_unusable_arguments_are_refused() -> None:
    stored = Stored(datasets.make("four", 13, 10))
    query = stored.vectors[0]
    for k in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            stored.search(query, k)
    for row in (10, -1, 2**40):
        with pytest.raises(ValueError, match="is not one of the 10 rows"):
            stored.snapshot.bitmap([0, row])
    for wrong in (b"", bytes(12), bytes(16)):
        with pytest.raises(ValueError, match="vector 0"):
            stored.snapshot.search(query.tobytes(), 1, lambda _, wrong=wrong: wrong)


def test_huge_k_is_everything() -> None:
    stored = Stored(datasets.make("four", 14, 10))
    assert len(stored.search(stored.vectors[0], sys.maxsize)) == 10
