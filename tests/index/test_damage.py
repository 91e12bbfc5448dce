"""A body that is no longer what was written never comes out, and no row that is whole is missing for it."""

from __future__ import annotations

import hashlib
import random
import struct
from typing import TYPE_CHECKING

import pytest
from index import datasets
from index.written import Segments, digest_of, payload_of

from engram.index import BodyMaps, Segment, Space
from engram.native._core import exact_cosines

if TYPE_CHECKING:
    import numpy as np

HEADER = 64
VECTOR = HEADER + 64
"""Where a frame's vector begins."""


class Memory:
    """Rows of a data set, some of whose bodies are changed after they were added."""

    def __init__(self, name: str, rows: int) -> None:
        self.vectors = datasets.make(name, 1, rows)
        self.segments = Segments()
        self.space = Space(self.vectors.shape[1], self.segments.maps)
        self.written = self.segments.write_vectors(self.vectors)
        assert self.space.add(self.written) == []
        self.view = self.space.publish()

    def damage(self, row: int, offset: int) -> None:
        self.segments.change(self.written[row][1], offset)

    def best(self, query: np.ndarray, k: int, without: set[int]) -> list[bytes]:
        scores = exact_cosines(query.tobytes(), [vector.tobytes() for vector in self.vectors])
        ranked = sorted((-score, digest_of(row)) for row, score in enumerate(scores) if row not in without)
        return [digest for _, digest in ranked[:k]]


OFFSETS = {
    "checksum": 5,
    "length": 8,
    "larger length": 10,
    "kind": 12,
    "digest": 20,
    "tag": 16,
    "payload magic": HEADER,
    "dtype": HEADER + 5,
    "dim": HEADER + 6,
    "sign of the first": VECTOR + 3,
    "last bits": VECTOR,
    "metadata": VECTOR + 16 * 4 + 1,
}


@pytest.mark.parametrize("offset", [pytest.param(at, id=name) for name, at in OFFSETS.items()])
def test_the_next_best_takes_the_place_of_a_damaged_one(offset: int) -> None:
    memory = Memory("sixteen", 400)
    query = datasets.make("sixteen", 2, 1)[0]
    best = memory.best(query, 10, set())
    bad = {row for row in range(400) if digest_of(row) in best[1:8:3]}
    for row in bad:
        memory.damage(row, offset)
    hits, _, _, damaged = memory.view.search(query.tobytes(), 10)
    assert [digest for digest, *_ in hits] == memory.best(query, 10, bad)
    assert set(damaged) == {memory.written[row][1] for row in bad}
    ranges = [(location, location + 1) for location in damaged]
    again, _, _, damaged = memory.view.search(query.tobytes(), 10, excluded=ranges)
    assert (again, damaged) == (hits, [])


@pytest.mark.parametrize("seed", range(6))
def test_any_damage_anywhere_costs_no_other_row_its_place(seed: int) -> None:
    rng = random.Random(seed)
    memory = Memory("text", 500)
    bad = {rng.randrange(500) for _ in range(rng.choice([1, 20, 250]))}
    for row in bad:
        memory.damage(row, rng.randrange(4, VECTOR + 4 * 384))
    for query in datasets.make("text", 50 + seed, 4):
        for k in (1, 10, 480):
            hits, _, _, damaged = memory.view.search(query.tobytes(), k)
            assert [digest for digest, *_ in hits] == memory.best(query, k, bad)
            assert set(damaged) <= {memory.written[row][1] for row in bad}


def test_all_of_a_segment_gone_wrong_leaves_the_others() -> None:
    memory = Memory("text", 1400)
    first = memory.segments.bytes[0]
    bad = {row for row, (_, location) in enumerate(memory.written) if location < len(first)}
    assert 0 < len(bad) < 1300
    first[:] = bytes(len(first))
    query = datasets.make("text", 60, 1)[0]
    hits, _, _, damaged = memory.view.search(query.tobytes(), 100)
    assert [digest for digest, *_ in hits] == memory.best(query, 100, bad)
    assert damaged


def test_another_whole_body_in_the_place_of_a_row_is_not_taken_for_it() -> None:
    memory = Memory("sixteen", 50)
    other = Segments()
    other.write([(digest_of(999), payload_of(memory.vectors[7]))])
    at, size = memory.written[7][1], len(other.bytes[0])
    memory.segments.bytes[0][at : at + size] = other.bytes[0]
    hits, _, _, damaged = memory.view.search(memory.vectors[7].tobytes(), 3)
    assert [digest for digest, *_ in hits] == memory.best(memory.vectors[7], 3, {7})
    assert damaged == [at]


def test_ranges_of_known_damage_may_touch_overlap_and_hold_one_another() -> None:
    memory = Memory("sixteen", 60)
    locations = [location for _, location in memory.written]
    ranges = [(locations[20], locations[30]), (locations[10], locations[25]), (locations[30], locations[31] + 1)]
    ranges.append((locations[11], locations[12]))  # inside another
    hits, _, _, damaged = memory.view.search(memory.vectors[15].tobytes(), 60, excluded=ranges)
    assert {digest for digest, *_ in hits} == {digest_of(row) for row in range(60) if not 10 <= row <= 31}
    assert damaged == []


def test_all_that_was_met_is_told_once_however_many_searches_it_took() -> None:
    memory = Memory("sixteen", 400)
    query = datasets.make("sixteen", 2, 1)[0]
    best = memory.best(query, 30, set())
    bad = {row for row in range(400) if digest_of(row) in best[:24]}
    for row in bad:
        memory.damage(row, OFFSETS["metadata"])
    hits, _, _, damaged = memory.view.search(query.tobytes(), 1)
    assert [digest for digest, *_ in hits] == best[24:25]
    assert sorted(damaged) == sorted(memory.written[row][1] for row in bad)


def test_codes_that_are_not_of_their_bodies_end_no_search_and_take_no_place() -> None:
    """As of a segment that somebody forged: its digest is right."""
    memory = Memory("sixteen", 400)
    [(head, rows, _, _)] = memory.view.sizes
    data = bytearray(memoryview(memory.view.build([head])))
    query = datasets.make("sixteen", 2, 1)[0]
    best = memory.best(query, 40, set())
    bad = {row for row in range(400) if digest_of(row) in best[:30]}
    scales = 64 + rows * 64
    for row in bad:  # rows stand by location, so in the order in which they were written
        (scale,) = struct.unpack_from("<f", data, scales + 4 * row)
        struct.pack_into("<f", data, scales + 4 * row, scale * 1.2)
    data[32:64] = hashlib.sha256(data[:32] + data[64:]).digest()
    space = Space(memory.vectors.shape[1], memory.segments.maps)
    space.adopt(Segment(data), [], 0)
    locations = [location for _, location in memory.written]
    assert space.reconcile(struct.pack(f"<{len(locations)}Q", *locations)) == []
    hits, _, _, damaged = space.publish().search(query.tobytes(), 1)
    assert [digest for digest, *_ in hits] == best[30:31]
    assert sorted(damaged) == sorted(memory.written[row][1] for row in bad)


@pytest.mark.parametrize("number", [2**20, 2**40, 2**63])
def test_a_segment_number_that_no_folder_has_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="number must be below 1048576"):
        BodyMaps().put(number, b"")
