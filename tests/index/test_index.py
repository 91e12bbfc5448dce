"""The writer and its snapshots: rows come and go, readers see what was published, and nothing else."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from index import datasets

from engram.index import IndexSnapshot, VectorIndex

DIM = 5


def digest_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def vector_of(seed: int) -> np.ndarray:
    """Small whole numbers, so that equal directions and exact ties are common."""
    vector = np.random.default_rng(seed).integers(-2, 3, DIM).astype(np.float32)
    return vector if vector.any() else np.ones(DIM, np.float32)


def whole_number_cosine(query: np.ndarray, row: np.ndarray) -> float:
    """Give the float32 cosine; sums of small whole numbers are exact in any order, so only its formula is shared."""
    squares = np.float32(float(query @ query) * float(row @ row))
    return float(np.float32(query @ row) / np.sqrt(squares))


class IndexAgainstDict(RuleBasedStateMachine):
    """Any interleaving of add, remove, publish and search equals a dict and numpy arithmetic."""

    published = Bundle("published")

    def __init__(self) -> None:
        super().__init__()
        self.index = VectorIndex(DIM)
        self.alive: dict[bytes, int] = {}
        self.vectors: list[np.ndarray] = []
        self.position = 0

    def fetch(self, location: int) -> bytes:
        return self.vectors[location].tobytes()

    @rule(numbers=st.lists(st.integers(0, 30), max_size=300, unique=True), seed=st.integers(0, 2**32))
    def add(self, numbers: list[int], seed: int) -> None:
        digests = [digest_of(number) for number in numbers if digest_of(number) not in self.alive]
        new = [vector_of(seed + at) for at in range(len(digests))]
        items = [(digest, len(self.vectors) + at) for at, digest in enumerate(digests)]
        rows = self.index.add(items, b"".join(vector.tobytes() for vector in new))
        assert rows == range(len(self.vectors), len(self.vectors) + len(new))
        self.vectors += new
        self.alive.update(items)

    @rule(number=st.integers(0, 30))
    def remove(self, number: int) -> None:
        expected = self.alive.pop(digest_of(number), None) is not None
        assert self.index.remove(digest_of(number)) is expected

    @rule(numbers=st.sets(st.integers(0, 30)))
    def add_again_after_removing(self, numbers: set[int]) -> None:
        for number in numbers & {number for number in range(31) if digest_of(number) in self.alive}:
            self.remove(number)
            self.add([number], number)

    @rule(target=published)
    def publish(self) -> object:
        self.position += 1
        return multiple((self.index.publish(self.position), self.position, dict(self.alive)))

    @rule(
        view=published,
        seed=st.integers(0, 2**32),
        k=st.integers(1, 40),
        allowed=st.none() | st.sets(st.integers(0, 400), max_size=60),
    )
    def search(
        self, view: tuple[IndexSnapshot, int, dict[bytes, int]], seed: int, k: int, allowed: set[int] | None
    ) -> None:
        snapshot, position, alive = view
        query = vector_of(seed)
        rows = None if allowed is None else {row for row in allowed if row < snapshot.rows}
        bitmap = None if rows is None else snapshot.bitmap(rows)
        matches = snapshot.search(query.tobytes(), k, self.fetch, bitmap)
        scores = {
            digest: whole_number_cosine(query, self.vectors[location])
            for digest, location in alive.items()
            if rows is None or location in rows
        }
        ranked = sorted(scores, key=lambda digest: (-scores[digest], digest))[:k]
        assert snapshot.position == position
        assert [(match.digest, match.score) for match in matches] == [(digest, scores[digest]) for digest in ranked]
        assert all(match.location == match.row == alive[match.digest] for match in matches)

    @rule(view=published)
    def look_up(self, view: tuple[IndexSnapshot, int, dict[bytes, int]]) -> None:
        snapshot, _, alive = view
        assert snapshot.count == len(alive)
        assert sum(snapshot.is_alive(row) for row in range(-1, snapshot.rows + 1)) == len(alive)
        for digest in map(digest_of, range(31)):
            row = snapshot.row_of(digest)
            assert row == alive.get(digest)
            if row is not None:
                assert snapshot.digest_of(row) == digest
                assert snapshot.location_of(row) == alive[digest]

    @invariant()
    def the_writer_knows_the_living(self) -> None:
        assert len(self.index) == len(self.alive)
        assert all(self.index.row_of(digest_of(number)) == self.alive.get(digest_of(number)) for number in range(31))


TestIndexAgainstDict = IndexAgainstDict.TestCase
TestIndexAgainstDict.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def filled(rows: int) -> tuple[VectorIndex, np.ndarray]:
    vectors = datasets.make("sixteen", 1, rows)
    index = VectorIndex(16)
    index.add([(digest_of(row), row) for row in range(rows)], vectors.tobytes())
    return index, vectors


def test_a_snapshot_sees_neither_later_rows_nor_later_removals() -> None:
    index, vectors = filled(300)
    before = index.publish(1)
    query = vectors[7].tobytes()
    index.remove(digest_of(7))
    after_removal = index.publish(2)
    index.add([(digest_of(7), 300)], query)
    after_return = index.publish(3)
    stored = [*vectors, vectors[7]]
    first = [
        snapshot.search(query, 1, lambda location: stored[location].tobytes())[0].row
        for snapshot in (before, after_removal, after_return)
    ]
    assert first[0] == 7
    assert first[1] not in {7, 300}
    assert first[2] == 300
    assert [snapshot.row_of(digest_of(7)) for snapshot in (before, after_removal, after_return)] == [7, None, 300]


def test_a_dead_row_is_never_fetched() -> None:
    index, vectors = filled(300)
    for row in range(0, 300, 2):
        index.remove(digest_of(row))
    fetched: list[int] = []

    def fetch(location: int) -> bytes:
        fetched.append(location)
        return vectors[location].tobytes()

    snapshot = index.publish(1)
    matches = snapshot.search(vectors[0].tobytes(), 300, fetch, snapshot.bitmap(range(300)))
    assert sorted(match.row for match in matches) == sorted(fetched) == list(range(1, 300, 2))


@pytest.mark.parametrize(
    ("items", "vectors", "text"),
    [
        ([(digest_of(3), 1)], bytes(64), "living row already"),
        ([(digest_of(900), 1), (digest_of(900), 2)], np.ones(32, np.float32).tobytes(), "there twice"),
        ([(b"short", 1)], np.ones(16, np.float32).tobytes(), "digest must be 32 bytes, got 5"),
        ([(digest_of(900), 1)], bytes(60), "vectors must be 64 bytes for 1 items, got 60"),
        ([(digest_of(900), 1)], bytes(64), "vector 0: every component is zero"),
        ([(digest_of(900), 1)], np.full(16, np.nan, np.float32).tobytes(), "NaN"),
    ],
)
def test_a_refused_add_changes_nothing(items: list[tuple[bytes, int]], vectors: bytes, text: str) -> None:
    index, _ = filled(10)
    with pytest.raises(ValueError, match=text):
        index.add(items, vectors)
    with pytest.raises(OverflowError):
        index.add([(digest_of(901), -1)], np.ones(16, np.float32).tobytes())
    assert (index.rows, len(index), index.publish(1).rows) == (10, 10, 10)
    assert index.row_of(digest_of(900)) is None
    assert index.add([(digest_of(900), 7)], np.ones(16, np.float32).tobytes()) == range(10, 11)


def test_payloads_are_added_one_an_item() -> None:
    vectors = datasets.make("sixteen", 2, 3)
    payloads = [b"EPR1\0\0\x10\0".ljust(64, b"\0") + vector.tobytes() + b"{}v1" for vector in vectors]
    index = VectorIndex(16)
    with pytest.raises(ValueError, match="payloads must be 2"):
        index.add_payloads([(digest_of(0), 0), (digest_of(1), 1)], payloads)
    assert index.add_payloads([(digest_of(row), row) for row in range(3)], payloads) == range(3)
    match = index.publish(1).search(vectors[2].tobytes(), 1, lambda location: vectors[location].tobytes())[0]
    assert (match.row, match.score) == (2, 1.0)


def test_a_row_that_is_not_here_is_refused() -> None:
    index, _ = filled(3)
    snapshot = index.publish(1)
    for row in (-1, 3):
        with pytest.raises(ValueError, match=f"row must be 0..2, got {row}"):
            snapshot.digest_of(row)
        with pytest.raises(ValueError, match=f"row must be 0..2, got {row}"):
            snapshot.location_of(row)


def test_searches_beside_a_writer_see_what_was_published() -> None:
    vectors = datasets.make("text", 3, 3000)
    index = VectorIndex(384)
    index.add([(digest_of(0), 0)], vectors[0].tobytes())
    published = [index.publish(0)]
    done = threading.Event()
    failures: list[str] = []
    searches = [0] * 3

    def read(number: int) -> None:
        while not done.is_set() or searches[number] == 0:
            snapshot = published[-1]
            row = (searches[number] * 7919) % snapshot.rows
            best = snapshot.search(vectors[row].tobytes(), 2, lambda location: vectors[location].tobytes())
            if (best[0].row, best[0].score, snapshot.rows - 1) != (row, 1.0, snapshot.position):
                failures.append(f"row {row} of {snapshot.rows}: {best}")
            searches[number] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    for row in range(1, 3000):
        index.add([(digest_of(row), row)], vectors[row].tobytes())
        published.append(index.publish(row))
        if row % 500 == 0:
            del published[:-1]
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert min(searches) > 0
