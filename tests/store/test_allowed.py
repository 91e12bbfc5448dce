from __future__ import annotations

import hashlib
import random

from engram import filter as filters
from engram import record
from engram.index import VectorIndex
from engram.store._allowed import AllowedRows


class Rows:
    """An index whose row i has the metadata {"n": i}, and counts what is read of it."""

    def __init__(self):
        self.index = VectorIndex(2)
        self.read = []

    def add(self, count):
        items = [(hashlib.sha256(b"%d" % row).digest(), row) for row in range(self.index.rows, self.index.rows + count)]
        self.index.add(items, record.stored_vector([1.0, 2.0]) * count)

    def metadata(self, location):
        self.read.append(location)
        return {"n": location}


def rows_of(bitmap):
    return [row for row in range(8 * len(bitmap)) if bitmap[row >> 3] >> (row & 7) & 1]


def test_a_filter_that_comes_again_reads_new_rows_only():
    rows, allowed = Rows(), AllowedRows()

    even = filters.In("n", tuple(range(0, 80, 2)))

    for count in (5, 0, 1, 9, 64):
        rows.add(count)
        before = len(rows.read)
        found = rows_of(allowed.bitmap(b"ns", even, rows.index.publish(0), rows.metadata))
        assert found == list(range(0, rows.index.rows, 2))
        assert len(rows.read) - before == count


def test_the_dead_are_neither_read_nor_allowed():
    rows, allowed = Rows(), AllowedRows()
    rows.add(20)
    rows.index.remove(hashlib.sha256(b"3").digest())
    assert rows_of(allowed.bitmap(b"ns", filters.parse("n >= 0"), rows.index.publish(0), rows.metadata)) == [
        0,
        1,
        2,
        *range(4, 20),
    ]
    assert 3 not in rows.read


def test_many_filters_are_each_right_and_the_oldest_forgotten():
    rows, allowed = Rows(), AllowedRows()
    rows.add(50)
    trees = [filters.Gte("n", n) for n in range(100)]
    rng = random.Random(1)
    for _ in range(300):
        n = rng.randrange(100)
        found = rows_of(allowed.bitmap(b"ns", trees[n], rows.index.publish(0), rows.metadata))
        assert found == list(range(min(n, 50), 50))
    assert len(allowed._known) == 64
