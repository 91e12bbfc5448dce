"""The writer and its views: rows come and go, readers see what was published, and nothing else."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from index import datasets
from index.written import SEGMENT, Segments, digest_of, payload_of

from engram.index import Allowed, Space, View

DIM = 5


def vector_of(seed: int) -> np.ndarray:
    """Small whole numbers, so that equal directions and exact ties are common."""
    vector = np.random.default_rng(seed).integers(-2, 3, DIM).astype(np.float32)
    return vector if vector.any() else np.ones(DIM, np.float32)


def whole_number_cosine(query: np.ndarray, row: np.ndarray) -> float:
    """Give the float32 cosine; sums of small whole numbers are exact in any order, so only its formula is shared."""
    squares = np.float32(float(query @ query) * float(row @ row))
    return float(np.float32(query @ row) / np.sqrt(squares))


def bits_of(rows: set[int]) -> bytes:
    return sum(1 << row for row in rows).to_bytes(64, "little")


class IndexAgainstDict(RuleBasedStateMachine):
    """Any interleaving of add, remove, publish and search equals a dict and numpy arithmetic."""

    published = Bundle("published")

    def __init__(self) -> None:
        super().__init__()
        self.segments = Segments(segment_bytes=4096)
        self.space = Space(DIM, self.segments.maps)
        self.alive: dict[bytes, int] = {}
        self.vectors: dict[int, np.ndarray] = {}
        self.written: dict[bytes, int] = {}

    @rule(numbers=st.lists(st.integers(0, 30), max_size=300, unique=True), seed=st.integers(0, 2**32))
    def add(self, numbers: list[int], seed: int) -> None:
        digests = [digest_of(number) for number in numbers if digest_of(number) not in self.alive]
        new = [digest for digest in digests if digest not in self.written]
        vectors = [vector_of(seed + at) for at in range(len(new))]
        rows = self.segments.write((digest, payload_of(vector)) for digest, vector in zip(new, vectors, strict=True))
        self.vectors |= {location: vector for (_, location), vector in zip(rows, vectors, strict=True)}
        self.written |= dict(rows)
        # One that was removed comes back at its old location, which is what a body that is put again does.
        items = [(digest, self.written[digest]) for digest in digests]
        assert self.space.add(items) == []
        self.alive |= dict(items)

    @rule(number=st.integers(0, 30))
    def remove(self, number: int) -> None:
        location = self.written.get(digest_of(number), 12345)
        assert self.space.remove(location) is (self.alive.pop(digest_of(number), None) is not None)

    @rule(numbers=st.sets(st.integers(0, 30)))
    def add_what_lives(self, numbers: set[int]) -> None:
        again = [(digest_of(number), self.alive.get(digest_of(number))) for number in numbers]
        again = [(digest, location) for digest, location in again if location is not None]
        assert self.space.add(again) == []

    @rule(target=published)
    def publish(self) -> object:
        return multiple((self.space.publish(), dict(self.alive)))

    @rule(
        view=published,
        seed=st.integers(0, 2**32),
        k=st.integers(1, 40),
        allowed=st.none() | st.sets(st.integers(0, 400), max_size=60),
    )
    def search(self, view: tuple[View, dict[bytes, int]], seed: int, k: int, allowed: set[int] | None) -> None:
        view, alive = view
        query = vector_of(seed)
        [(part, _)] = view.parts
        living = dict(view.living(part))
        assert set(living.values()) == set(alive.values())
        passed = None if allowed is None else {living[row] for row in allowed if row in living}
        bitmap = None if allowed is None else Allowed([(part, bits_of(allowed))])
        hits, mode, steps, damaged = view.search(query.tobytes(), k, allowed=bitmap)
        scores = {
            digest: whole_number_cosine(query, self.vectors[location])
            for digest, location in alive.items()
            if passed is None or location in passed
        }
        ranked = sorted(scores, key=lambda digest: (-scores[digest], digest))[:k]
        assert [(digest, score) for digest, _, score, _ in hits] == [(digest, scores[digest]) for digest in ranked]
        assert [location for _, location, _, _ in hits] == [alive[digest] for digest in ranked]
        assert [payload for *_, payload in hits] == [payload_of(self.vectors[alive[digest]]) for digest in ranked]
        assert (mode, steps, damaged, len(view)) == ("exact", [], [], len(alive))

    @invariant()
    def the_writer_knows_the_living(self) -> None:
        assert len(self.space) == len(self.alive)


TestIndexAgainstDict = IndexAgainstDict.TestCase
TestIndexAgainstDict.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def filled(rows: int, name: str = "sixteen") -> tuple[Space, Segments, np.ndarray, list[int]]:
    vectors = datasets.make(name, 1, rows)
    segments = Segments()
    space = Space(vectors.shape[1], segments.maps)
    written = segments.write_vectors(vectors)
    assert space.add(written) == []
    return space, segments, vectors, [location for _, location in written]


def first_of(view: View, query: np.ndarray) -> bytes:
    return view.search(query.tobytes(), 1)[0][0][0]


def test_a_view_sees_neither_later_rows_nor_later_removals() -> None:
    space, _, vectors, locations = filled(300)
    before = space.publish()
    space.remove(locations[7])
    after_removal = space.publish()
    space.add([(digest_of(7), locations[7])])
    after_return = space.publish()
    assert first_of(before, vectors[7]) == first_of(after_return, vectors[7]) == digest_of(7)
    assert first_of(after_removal, vectors[7]) != digest_of(7)
    assert [len(view) for view in (before, after_removal, after_return)] == [300, 299, 300]


def test_neither_the_dead_nor_what_came_later_is_among_all() -> None:
    space, segments, vectors, locations = filled(300)
    for location in locations[::2]:
        space.remove(location)
    view = space.publish()
    space.add(segments.write_vectors(vectors[:5], 300))
    hits = view.search(vectors[0].tobytes(), 999)[0]
    assert {digest for digest, *_ in hits} == {digest_of(row) for row in range(1, 300, 2)}


def test_a_digest_of_another_length_is_refused() -> None:
    space, _, _, locations = filled(3)
    with pytest.raises(ValueError, match="digest must be 32 bytes, got 5"):
        space.add([(b"short", locations[0])])
    with pytest.raises(OverflowError):
        space.add([(digest_of(0), -1)])


def test_a_row_is_of_the_body_that_it_names() -> None:
    """A whole body at a row's place that is another's, an empty place, and one in no segment."""
    _, segments, _, locations = filled(3)
    end = len(segments.bytes[0])
    strange = [
        (digest_of(9), locations[1]),
        (digest_of(9), end),
        (digest_of(9), 7 * SEGMENT),
        (digest_of(9), 2**64 - 1),
    ]
    other = Space(16, segments.maps)
    assert other.add(strange) == [location for _, location in strange]
    assert len(other) == 0


def test_parts_that_nobody_named_have_no_allowed_rows() -> None:
    space, _, vectors, _ = filled(10)
    view = space.publish()
    assert view.search(vectors[0].tobytes(), 5, allowed=Allowed([]))[0] == []
    with pytest.raises(ValueError, match="no part 0"):
        view.living(0)


def test_searches_beside_a_writer_see_what_was_published() -> None:
    vectors = datasets.make("text", 3, 3000)
    segments = Segments(1 << 23)
    written = segments.write_vectors(vectors)
    space = Space(384, segments.maps)
    space.add(written[:1])
    published = [space.publish()]
    done = threading.Event()
    failures: list[str] = []
    searches = [0] * 3

    def read(number: int) -> None:
        while not done.is_set() or searches[number] == 0:
            view = published[-1]
            row = (searches[number] * 7919) % len(view)
            best = view.search(vectors[row].tobytes(), 2)[0]
            if best[0][:3] != (digest_of(row), written[row][1], 1.0):
                failures.append(f"row {row} of {len(view)}: {best}")
            searches[number] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    for row in range(1, 3000):
        space.add(written[row : row + 1])
        published.append(space.publish())
        if row % 500 == 0:
            del published[:-1]
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert min(searches) > 0
