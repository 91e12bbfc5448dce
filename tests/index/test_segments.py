"""Sealed parts: whatever is sealed, merged, deleted meanwhile or opened again, the index is what its rows say."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram.index import Segment, Space
from tests.index.datasets import make
from tests.index.written import Segments

DIM = 70
WORDS = 24
"""Different vectors: few, so that many rows tie."""


def vector_of(number):
    return np.random.default_rng(number % WORDS).standard_normal(DIM).astype(np.float32)


class World:
    """Some bodies, the space over them, and a dict that says which live."""

    def __init__(self, count=40):
        self.bodies = Segments()
        self.rows = self.bodies.write_vectors(np.array([vector_of(number) for number in range(count)]))
        self.space = Space(DIM, self.bodies.maps)
        self.files = []
        self.live = set()
        self.under_way = None

    def put(self, numbers):
        assert self.space.add([self.rows[number] for number in numbers]) == []
        self.live |= set(numbers)

    def delete(self, numbers):
        for number in numbers:
            assert self.space.remove(self.rows[number][1]) == (number in self.live)
            self.live.discard(number)

    def seal(self):
        self.begin([-1])
        self.adopt()

    def begin(self, which):
        """Build of parts of a view, by their place in it; the head is the last."""
        sizes = self.space.publish().sizes
        parts = sorted({sizes[at % len(sizes)][0] for at in which})
        self.under_way = parts, self.space.publish().build(parts)

    def adopt(self):
        if self.under_way is None:
            return
        (parts, built), self.under_way = self.under_way, None
        segment = Segment(bytearray(memoryview(built))) if len(built) else None
        self.space.adopt(segment, parts, built.head_rows)
        if segment is not None:
            self.files.append(segment)

    def reopen(self, lost=()):
        """Open what is sealed, but for what is lost, and add what is in none of it."""
        sealed = [size[3] for size in self.space.publish().sizes if size[3] is not None]
        kept = [digest for at, digest in enumerate(sealed) if at not in lost]
        self.space, self.under_way = Space(DIM, self.bodies.maps), None
        for digest in kept:
            self.space.adopt(next(file for file in self.files if file.digest == digest), [], 0)
        live = [self.rows[number] for number in sorted(self.live)]
        signers = [location for _, location in live * 2]
        missing = self.space.reconcile(struct.pack(f"<{len(signers)}Q", *signers))
        assert missing == sorted(missing)
        self.space.add([(digest, location) for digest, location in live if location in set(missing)])

    def check(self):
        view = self.space.publish()
        assert len(view) == len(self.live)
        found = [location for part, *_ in view.sizes for _, location in view.living(part)]
        assert sorted(found) == sorted(self.rows[number][1] for number in self.live)
        for asked in (3, 17):
            self.check_query(view, vector_of(asked) + vector_of(asked + 1), 7)

    def check_query(self, view, query, k):
        """Judge a search by numpy: the scores, their order, and who was left out; ties are of equal vectors."""
        hits, mode, _, damaged = view.search(query.astype(np.float32).tobytes(), k, exact=True)
        assert (mode, damaged) == ("exact", [])
        wide = query.astype(np.float32).astype(np.float64)
        best = {}
        for number in self.live:
            row = vector_of(number).astype(np.float64)
            score = row @ wide / (np.linalg.norm(row) * np.linalg.norm(wide))
            best.setdefault(round(float(score), 5), []).append(self.rows[number])
        expected = [row for score in sorted(best, reverse=True) for row in sorted(best[score])][:k]
        assert [(digest, location) for digest, location, *_ in hits] == expected


NUMBERS = st.lists(st.integers(0, 39), max_size=12)
STEPS = st.one_of(
    st.tuples(st.just("put"), NUMBERS),
    st.tuples(st.just("put"), NUMBERS),
    st.tuples(st.just("delete"), NUMBERS),
    st.tuples(st.just("begin"), st.lists(st.integers(0, 7), min_size=1, max_size=4)),
    st.tuples(st.just("adopt")),
    st.tuples(st.just("adopt")),
    st.tuples(st.just("seal")),
    st.tuples(st.just("reopen"), st.lists(st.integers(0, 5), max_size=1)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_any_interleaving_is_a_dict_and_numpy(steps):
    world = World()
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
        world.check()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_what_was_rebuilt_is_what_lives_byte_for_byte(steps):
    world = World()
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
    fresh = World()
    fresh.put(sorted(world.live))
    assert whole(world) == whole(fresh)


def whole(world):
    view = world.space.publish()
    return bytes(memoryview(view.build([part for part, *_ in view.sizes])))


def test_parts_that_earned_a_fast_mode_are_rebuilt_byte_for_byte():
    bodies = Segments(1 << 26)
    rows = bodies.write_vectors(make("text_offset", 7, 8000))
    live, fresh = Space(384, bodies.maps), Space(384, bodies.maps)
    for first in range(0, 8000, 2000):
        live.add(rows[first : first + 2000])
        live.remove(rows[first + 9][1])
        (part, *_) = live.publish().sizes[-1]
        built = live.publish().build([part])
        live.adopt(Segment(built), [part], built.head_rows)
    fresh.add([row for number, row in enumerate(reversed(rows), 1) if number % 2000 != 1991])
    one, other = (space.publish().build([part for part, *_ in space.publish().sizes]) for space in (live, fresh))
    assert bytes(memoryview(one)) == bytes(memoryview(other))
    assert one.digest == other.digest == Segment(one).digest
    assert len(one) == 7996
    mode = memoryview(one)[12]
    assert mode == 2, "rows about an offset earn signs about their mean"


def sealed_of(count=5):
    world = World()
    world.put(range(count))
    world.seal()
    return world


def test_a_segment_that_is_not_whole_says_what_is_wrong():
    [file] = sealed_of().files
    data = bytearray(memoryview(rebuilt(sealed_of())))
    assert Segment(data).digest == file.digest
    for change, said in (
        (lambda data: data.__setitem__(0, 0), "magic"),
        (lambda data: data.__setitem__(4, 9), "version: 9"),
        (lambda data: data.__setitem__(100, data[100] ^ 1), "digest"),
    ):
        changed = bytearray(data)
        change(changed)
        with pytest.raises(ValueError, match=said):
            Segment(changed)
    for cut in (b"", data[:63], data[:-64], data + bytes(64)):
        with pytest.raises(ValueError, match="length: expected"):
            Segment(bytes(cut))


def rebuilt(world):
    view = world.space.publish()
    return view.build([part for part, *_ in view.sizes])


def test_a_segment_is_named_by_the_hash_of_all_but_the_hash():
    data = bytes(memoryview(rebuilt(sealed_of())))
    assert Segment(data).digest == hashlib.sha256(data[:32] + data[64:]).digest() == data[32:64]


def test_a_segment_of_another_dimension_is_not_adopted():
    [file] = sealed_of().files
    space = Space(DIM + 1, Segments().maps)
    with pytest.raises(ValueError, match="dim must be 71, got 70"):
        space.adopt(file, [], 0)


def test_parts_that_are_not_here_are_neither_built_nor_replaced():
    world = sealed_of()
    [file] = world.files
    with pytest.raises(ValueError, match="not all of"):
        world.space.publish().build([10**9])
    with pytest.raises(ValueError):
        world.space.adopt(file, [10**9], 0)
    world.check()


def test_a_segment_that_lacks_a_living_row_does_not_take_the_place_of_those_that_have_it():
    world = sealed_of()
    few = sealed_of(3).files[0]
    (part, *_), _ = world.space.publish().sizes
    with pytest.raises(ValueError):
        world.space.adopt(few, [part], 0)
    world.check()


def test_rows_that_came_while_a_head_was_sealed_stay_in_the_head():
    world = World()
    world.put(range(10))
    world.begin([-1])
    world.put(range(10, 14))
    world.delete([3, 11])
    world.adopt()
    (_, rows, dead, _), (_, head_rows, head_dead, _) = world.space.publish().sizes
    assert (rows, dead, head_rows, head_dead) == (10, 1, 4, 1)
    world.check()


def test_a_row_that_died_and_came_again_lives_once():
    world = sealed_of()
    world.delete([2])
    world.put([2])
    world.begin([0, -1])
    world.delete([2])
    world.put([2])
    world.adopt()
    world.check()
    world.seal()
    world.reopen()
    world.check()


def test_a_view_is_what_it_was_when_what_it_shows_is_replaced():
    world = sealed_of()
    before = world.space.publish()
    hits = before.search(vector_of(3).tobytes(), 5)[0]
    world.delete([1, 2])
    world.begin([0])
    world.adopt()
    assert before.search(vector_of(3).tobytes(), 5)[0] == hits
    assert len(world.space.publish()) == 3
