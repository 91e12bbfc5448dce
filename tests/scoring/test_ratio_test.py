from __future__ import annotations

import math
import random

import pytest

from engram.proofs import Outcome
from engram.scoring import ERASED_A_WINDOW, ERASED_OF_ALL, RatioTest, Standing, Verdict, condemn, detection, fold

TEST = RatioTest()


def verdicts(lost: float, m: int, rng: random.Random):
    """What a miner earns that answers for what it has, and says so where it has not."""
    while True:
        shown = all(rng.random() >= lost for _ in range(m))
        yield Verdict(outcome=Outcome.PASS if shown else Outcome.MISSING, records=m)


def decided(lost: float, m: int, seed: int, most: int = 10_000):
    """Give how the test ends, and after how many challenges."""
    standing = Standing()
    for number, verdict in enumerate(verdicts(lost, m, random.Random(seed)), 1):
        standing = fold(standing, verdict)
        if standing.decision or number == most:
            return standing.decision, number
    raise AssertionError


def test_the_bounds_are_walds():
    assert math.isclose(TEST.loses_at, math.log((1 - 1e-3) / 1e-6))
    assert math.isclose(TEST.keeps_at, math.log(1e-3 / (1 - 1e-6)))


def test_one_record_is_the_textbooks_sample():
    assert math.isclose(TEST.shown(1), math.log((1 - 0.05) / (1 - 0.001)))
    assert math.isclose(TEST.missing(1), math.log(0.05 / 0.001))
    assert math.isclose(TEST.missing(64), math.log((1 - 0.95**64) / (1 - 0.999**64)))


@pytest.mark.parametrize("m", [1, 16, 64, 256])
def test_who_lost_5_percent_is_found_and_who_lost_none_never(m):
    """Beta is one in a thousand, of which these seeds have one."""
    assert sum(decided(0.05, m, seed)[0] == "loses" for seed in range(60)) >= 59
    assert all(decided(0.0, m, seed)[0] == "keeps" for seed in range(3))


@pytest.mark.parametrize("m", [1, 16, 64])
def test_who_lost_one_in_a_thousand_keeps(m):
    """Alpha is one in a million; of 300 none is condemned, and beta would let 0.3 of those at 5 % go."""
    assert all(decided(0.001, m, seed)[0] == "keeps" for seed in range(300))


def test_it_takes_few_challenges():
    taken = [decided(0.05, 64, seed)[1] for seed in range(200)]
    assert sum(taken) / len(taken) < 10


@pytest.mark.parametrize("lost", [0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("m", [16, 64, 256])
def test_detection_is_as_the_formula_has_it(lost, m):
    rng, rounds = random.Random(m), 1500
    found = sum(any(rng.random() < lost for _ in range(m)) for _ in range(rounds))
    expected = detection(lost, m)
    assert math.isclose(expected, 1 - (1 - lost) ** m)
    assert abs(found / rounds - expected) < 5 * math.sqrt(max(expected * (1 - expected), 1e-4) / rounds)


def test_detection_over_challenges():
    assert math.isclose(detection(0.01, 64, 3), 1 - 0.99**192)
    assert detection(1.0, 1) == 1.0


@pytest.mark.parametrize("bad", [{"p0": 0.0}, {"p0": 0.1}, {"p1": 1.0}, {"alpha": 0.0}, {"beta": 0.6}])
def test_a_test_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match="ratio test"):
        RatioTest(**bad)


def counted(*outcomes: Outcome, m: int = 64, owner: bytes | None = None, epoch: int = 0) -> Standing:
    standing = Standing()
    for outcome in outcomes:
        standing = fold(standing, Verdict(outcome=outcome, records=m, owner=owner, epoch=epoch))
    return standing


def test_the_seeds_rule():
    assert counted(Outcome.PASS, Outcome.LATE).weight == 0.5
    assert counted(Outcome.PASS, Outcome.LATE, Outcome.REFUSED).weight == 0
    assert Standing().weight == 1


@pytest.mark.parametrize("outcome", [Outcome.LATE, Outcome.REFUSED, Outcome.UNREACHABLE])
def test_silence_samples_nothing_and_is_not_passed(outcome):
    standing = counted(*[outcome] * 100)
    assert (standing.ratio, standing.samples, standing.misses) == (0, 0, 0)
    assert standing.weight == 0


def test_evidence_ends_it_whatever_else_was():
    passes = [Outcome.PASS] * 50
    assert counted(*passes, Outcome.INVALID, *passes).weight == 0
    assert condemn(counted(*passes)).weight == 0


def test_an_erased_record_is_neither_pass_nor_miss():
    standing = counted(*[Outcome.PASS] * 2, *[Outcome.ERASED] * ERASED_A_WINDOW, owner=b"o")
    assert (standing.challenges, standing.misses) == (2, 0)


def test_an_owner_that_has_ever_more_erased_hides_what_is_lost():
    standing = counted(*[Outcome.ERASED] * (ERASED_A_WINDOW + 2), owner=b"o")
    assert (standing.challenges, standing.misses) == (2, 2)
    for epoch in range(0, 80, 8):
        standing = fold(standing, Verdict(outcome=Outcome.ERASED, records=64, owner=b"o", epoch=epoch + 8))
    assert standing.misses == 2
    assert len(standing.erased) == 1


def test_owners_that_nobody_knows_do_not_hide_more():
    """Anyone can sign a tombstone: a miner that makes an owner for each lost record gets as far as this."""
    standing = Standing()
    for number in range(200):
        standing = fold(standing, Verdict(outcome=Outcome.ERASED, records=64, owner=number.to_bytes(32)))
    assert standing.misses == 200 - ERASED_OF_ALL
    assert standing.weight == 0
    assert len(standing.erased) <= ERASED_OF_ALL


@pytest.mark.parametrize("a_window", [1, 4, 8])
def test_who_has_an_excuse_each_time_has_no_weight(a_window):
    """It kept 32 bytes a record, and makes an owner and a tombstone for whatever is asked for, seldom enough."""
    standing = Standing()
    for number in range(80):
        epoch = number * 8 // a_window
        standing = fold(standing, Verdict(outcome=Outcome.ERASED, records=64, owner=number.to_bytes(32), epoch=epoch))
    assert standing.weight == 0


def test_some_excuses_among_many_passes_cost_nothing():
    assert counted(*[Outcome.PASS] * 20, *[Outcome.ERASED] * ERASED_A_WINDOW, owner=b"o").weight == 1


def test_who_mends_its_ways_is_tested_anew():
    standing = counted(*[Outcome.MISSING] * 10)
    assert standing.decision == "loses"
    for _ in range(20):
        standing = fold(standing, Verdict(outcome=Outcome.PASS, records=64))
    assert standing.decision == "keeps"
