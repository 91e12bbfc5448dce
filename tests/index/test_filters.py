"""Filters over a view: the rows that match, and no others, whatever came and went meanwhile."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index.written import Segments, digest_of, payload_of

from engram import filter as filters
from engram.index import FilterPlan, Segment, Space, View
from engram.native._core import canonical

DIM = 4
QUERY = np.array([1, 2, 3, 4], np.float32).tobytes()


class Rows:
    """An index whose rows have metadata, and a dict that says what lives in it."""

    def __init__(self) -> None:
        self.segments = Segments()
        self.space = Space(DIM, self.segments.maps)
        self.living: dict[int, tuple[bytes, dict[str, object]]] = {}
        self.number = 0

    def add(self, metadata: list[dict[str, object]]) -> None:
        vectors = np.random.default_rng(self.number).standard_normal((len(metadata), DIM)).astype(np.float32)
        bodies = [
            (digest_of(number), payload_of(vector, metadata=canonical(one)))
            for number, (vector, one) in enumerate(zip(vectors, metadata, strict=True), self.number)
        ]
        rows = self.segments.write(bodies)
        assert self.space.add(rows) == []
        self.living |= {location: (digest, one) for (digest, location), one in zip(rows, metadata, strict=True)}
        self.number += len(metadata)

    def remove(self, location: int) -> None:
        assert self.space.remove(location)
        del self.living[location]

    def seal(self, parts: int = 9, *, read_ahead: bool = True) -> None:
        """Make one segment of the last parts."""
        view = self.space.publish()
        ids = [part for part, _ in view.parts[-parts:]]
        built = view.build(ids)
        segment = Segment(bytearray(memoryview(built))) if len(built) else None
        if segment is not None and read_ahead:
            view.read_ahead(ids, segment)
        self.space.adopt(segment, ids, built.head_rows)

    def matching(self, tree: filters.Filter) -> set[bytes]:
        matched = filters.compile(tree)
        return {digest for digest, metadata in self.living.values() if matched(metadata)}


def found(view: View, tree: filters.Filter, k: int = 10_000) -> set[bytes]:
    allowed, steps = view.allow(FilterPlan(tree, filters.value_test))
    assert steps == []
    hits, *_ = view.search(QUERY, k, exact=True, allowed=allowed)
    assert len(hits) == len({digest for digest, *_ in hits})
    return {digest for digest, *_ in hits}


TREES = [
    filters.parse(text)
    for text in (
        "n >= 40",
        "not n >= 40",
        'tag = "a" and n < 70',
        'tag = "b" or not exists(n)',
        'name starts_with "r1"',
        'name match "É"',
        "exists(never)",
    )
]


def metadata_of(number: int) -> dict[str, object]:
    return {"n": number, "tag": "abc"[number % 3], "name": f"r{number} {'éÉ'[number % 2]}"} if number % 5 else {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10), st.integers(0, 3), st.integers(0, 4)), max_size=8))
def test_a_view_gives_its_own_living_rows_that_match_however_the_space_changes(changes):
    rows, rng = Rows(), random.Random(1)
    views = []
    for added, removed, asked, sealed in changes:
        rows.add([metadata_of(rows.number + at) for at in range(added)])
        for location in rng.sample(sorted(rows.living), min(removed, len(rows.living))):
            rows.remove(location)
        if sealed:
            rows.seal(sealed, read_ahead=sealed % 2 == 0)
        views.append((rows.space.publish(), [rows.matching(tree) for tree in TREES]))
        for view, expected in rng.sample(views, min(asked, len(views))):  # old views among them
            assert [found(view, tree) for tree in TREES] == expected
    for view, expected in views:
        assert [found(view, tree) for tree in TREES] == expected


@pytest.mark.parametrize("share", [2, 10, 100, 1000, 3000])
def test_of_the_rows_that_pass_the_nearest_are_found_exactly(share):
    rng = np.random.default_rng(share)
    serial = rng.permutation(3000)
    rows = Rows()
    rows.add([{"of": int(number) % share, "serial": int(number)} for number in serial])
    vectors = np.random.default_rng(0).standard_normal((3000, DIM)).astype(np.float64)
    query = np.frombuffer(QUERY, np.float32).astype(np.float64)
    cosines = vectors.astype(np.float32) @ query / np.linalg.norm(vectors.astype(np.float32), axis=1)
    view = rows.space.publish()
    for text in ("of = 1", f"serial >= 5 and serial < {5 + 3000 // share}"):
        passing = [
            row
            for row in range(3000)
            if filters.matches(filters.parse(text), {"of": int(serial[row]) % share, "serial": int(serial[row])})
        ]
        best = sorted(passing, key=lambda row: -cosines[row])[:10]
        allowed, _ = view.allow(FilterPlan(filters.parse(text), filters.value_test))
        hits, *_ = view.search(QUERY, 10, exact=True, allowed=allowed)
        assert [digest for digest, *_ in hits] == [digest_of(row) for row in best]


def test_a_row_whose_body_is_damaged_counts_as_one_without_metadata():
    rows = Rows()
    rows.add([{"a": 1}, {"a": 1}])
    first = min(rows.living)
    header, payload_header = 64, 64
    rows.segments.change(first, header + payload_header + 4 * DIM)  # the first byte of its metadata
    view = rows.space.publish()
    allowed, steps = view.allow(FilterPlan(filters.Eq("a", 1), filters.value_test), explain=True)
    assert [(name, count) for name, count, _ in steps] == [("filter", 1)]
    assert len(view.search(QUERY, 9, allowed=allowed)[0]) == 1


@pytest.mark.parametrize("read_ahead", [True, False])
def test_a_merged_segment_brings_what_filters_had_read(read_ahead):
    rows = Rows()
    rows.add([{"a": 1, "b": 1}] * 3)
    rows.seal()
    rows.add([{"a": 1, "b": 1}] * 3)
    tree = filters.Gte("a", 1)
    assert len(found(rows.space.publish(), tree)) == 6
    rows.seal(read_ahead=read_ahead)
    for location in rows.living:  # whoever reads them now finds them damaged
        rows.segments.change(location, 64 + 64 + 4 * DIM)
    assert [count for _, count in rows.space.publish().parts] == [6, 0]
    for known, asked in ((read_ahead, tree), (False, filters.Gte("b", 1))):
        _, [(_, count, _)] = rows.space.publish().allow(FilterPlan(asked, filters.value_test), explain=True)
        assert count == (6 if known else 0)


def test_threads_that_filter_at_once_wait_for_one_another_and_not_for_ever():
    """One asks Python about strings, with the columns in its hands, while others hold the GIL and want the columns."""
    rows = Rows()
    rows.add([{"name": f"é{number}", "n": number} for number in range(2000)])
    view = rows.space.publish()
    wrong = []

    def ask(turn: int) -> None:
        for number in range(15):
            tree = filters.Match("name", f"é{turn * 20 + number}") if turn % 2 else filters.Gte("n", number)
            if found(view, tree) != rows.matching(tree):
                wrong.append(tree)

    threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
