from __future__ import annotations

import random

import numpy as np
from index.written import Segments

from engram import filter as filters
from engram import record
from engram.index import Space
from engram.store._allowed import AllowedRows

QUERY = record.stored_vector([1.0, 2.0])


class Rows:
    """An index whose row i has the metadata {"n": i}, and counts what is read of it."""

    def __init__(self):
        self.segments = Segments()
        self.space = Space(2, self.segments.maps)
        self.numbers = {}
        self.read = []

    def add(self, count):
        first = len(self.numbers)
        rows = self.segments.write_vectors(np.array([[1.0, 2.0]] * count, np.float32).reshape(count, 2), first)
        assert self.space.add(rows) == []
        self.numbers |= {location: number for number, (_, location) in enumerate(rows, first)}

    def metadata(self, location):
        self.read.append(self.numbers[location])
        return {"n": self.numbers[location]}

    def found(self, allowed, tree):
        view = self.space.publish()
        hits, *_ = view.search(QUERY, 1000, allowed=allowed.rows(b"ns", tree, view, self.metadata))
        return sorted(self.numbers[location] for _, location, _, _ in hits)


def test_a_filter_that_comes_again_reads_new_rows_only():
    rows, allowed = Rows(), AllowedRows()

    even = filters.In("n", tuple(range(0, 80, 2)))

    for count in (5, 0, 1, 9, 64):
        rows.add(count)
        before = len(rows.read)
        assert rows.found(allowed, even) == list(range(0, len(rows.numbers), 2))
        assert len(rows.read) - before == count


def test_the_dead_are_neither_read_nor_allowed():
    rows, allowed = Rows(), AllowedRows()
    rows.add(20)
    [third] = [location for location, number in rows.numbers.items() if number == 3]
    rows.space.remove(third)
    assert rows.found(allowed, filters.parse("n >= 0")) == [0, 1, 2, *range(4, 20)]
    assert 3 not in rows.read


def test_many_filters_are_each_right_and_the_oldest_forgotten():
    rows, allowed = Rows(), AllowedRows()
    rows.add(50)
    trees = [filters.Gte("n", n) for n in range(100)]
    rng = random.Random(1)
    for _ in range(300):
        n = rng.randrange(100)
        assert rows.found(allowed, trees[n]) == list(range(min(n, 50), 50))
    assert len(allowed._known) == 64
