from __future__ import annotations

import random

import pytest

from engram.index import Measure, RecallTally

NS, OTHER = bytes(32), bytes([1]) * 32


def replays(tally, recall, count, *, seed, start_s=0.0, ns=NS):
    """Add `count` replays of ten rows each, a second apart; give (number, measure) of what is kept."""
    rng = random.Random(seed)
    for number in range(count):
        found = sum(rng.random() < recall for _ in range(10))
        kept = tally.add(ns, "fast", 10, found, start_s + number)
        if kept is not None:
            tally.keep(ns, kept)
            yield number, kept


@pytest.mark.parametrize("seed", range(5))
def test_a_mode_that_misses_rows_is_widened_within_minutes(seed):
    tally = RecallTally()
    number, kept = next((at, kept) for at, kept in replays(tally, 0.95, 600, seed=seed) if kept.widening > 1)
    assert number < 300
    assert kept.widening == 2
    assert tally.widening(NS) == 2
    assert tally.widening(OTHER) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_mode_that_finds_them_is_left_alone_for_a_day_and_measured_every_hour(seed):
    kept = [measure for _, measure in replays(RecallTally(), 0.999, 86_400, seed=seed)]
    assert {measure.widening for measure in kept} == {1}
    assert len(kept) == 24  # the first one after a minute
    assert all(0.997 < measure.recall <= 1.0 for measure in kept[1:])


def test_what_an_hour_shows_to_be_a_little_too_low_is_widened_too():
    kept = [measure for _, measure in replays(RecallTally(), 0.993, 7300, seed=1)]
    assert kept[-1].widening > 1


def test_a_widening_is_carried_on_and_ends_somewhere():
    tally = RecallTally([(NS, Measure("fast", 9, 90, 80, 8))])
    widenings = [measure.widening for _, measure in replays(tally, 0.5, 3000, seed=1)]
    assert widenings[:4] == [16, 32, 64, 64]
    assert set(widenings[3:]) == {64}


def test_another_mode_begins_a_sum_of_its_own_and_is_told_of():
    tally = RecallTally([(NS, Measure("graph", 9, 90, 90))])
    assert tally.latest(NS) == Measure("graph", 9, 90, 90)
    assert tally.add(NS, "graph", 10, 10, 0.0) is None
    first = [tally.add(NS, "fast", 10, 10, 1.0 + number) for number in range(64)]
    assert first == [None] * 63 + [Measure("fast", 64, 640, 640)]
    assert tally.add(NS, "fast", 10, 10, 66.0) == Measure("fast", 65, 650, 650)  # it was not kept, so it still is to be
    tally.keep(NS, first[-1])
    assert tally.latest(NS) == first[-1]
    assert tally.add(NS, "fast", 10, 10, 67.0) is None
    assert tally.latest(OTHER) is None


def test_the_running_sum_is_what_is_known_best():
    tally = RecallTally([(NS, Measure("fast", 9, 90, 80))])
    tally.add(NS, "fast", 10, 9, 0.0)
    assert tally.latest(NS) == Measure("fast", 1, 10, 9)
    assert tally.latest(NS).recall == 0.9
