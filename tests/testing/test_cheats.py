"""Each way not to be an honest miner, and the verdict that it earns; an honest one is wronged by none.

`docs/simulation.md` has the table. Times are virtual, stores, provers, challengers and verdicts the real ones.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from engram.errors import EngramError
from engram.proofs import DoesNotHold, Outcome, check_evidence, check_transcript, evidence_of, read, verify, write
from engram.scoring import Standing, Verdict, condemn, fold
from engram.testing import (
    VALIDATOR,
    Costs,
    challenged,
    duel,
    evidence_of_fork,
    evidence_of_rollback,
    forked,
    ordeal,
    rolled_back,
)
from engram.testing import _miners as miners
from engram.wire import Receipt

SEEDS = range(12)
VERDICTS = {
    miners.Miner: Outcome.PASS,
    miners.HashOnly: Outcome.MISSING,
    miners.Forger: Outcome.INVALID,
    miners.Excusing: Outcome.ERASED,
    miners.OnDemand: Outcome.LATE,
    miners.ReEmbedding: Outcome.PASS,
    miners.Junk: Outcome.PASS,
    miners.Late: Outcome.LATE,
    miners.LateAtLast: Outcome.LATE,
    miners.Refusing: Outcome.REFUSED,
    miners.Silent: Outcome.UNREACHABLE,
    miners.SilentAtLast: Outcome.LATE,
}


@pytest.mark.parametrize("kind", VERDICTS, ids=lambda kind: kind.__name__)
def test_each_way_earns_its_verdict_whatever_is_drawn(kind):
    for seed in SEEDS:
        assert duel(seed, kind).outcome == VERDICTS[kind], seed


def test_what_is_forged_is_evidence_that_anyone_can_verify():
    evidence = evidence_of(duel(1, miners.Forger).transcript)
    finding = verify(read(write(evidence)), evidence.node)
    assert (finding.kind, condemn(Standing()).weight) == ("evidence", 0)


def test_an_honest_transcript_is_no_evidence():
    with pytest.raises(DoesNotHold):
        evidence_of(duel(1).transcript)


@pytest.mark.parametrize(("fetch_ms", "t1_ms"), [(1, 100), (10, 500), (31, 2_000), (45, 2_000), (120, 2_000)])
def test_fetching_on_demand_takes_a_way_there_and_back_a_record(fetch_ms, t1_ms):
    """The chain tells the next record only when the one before is there: nothing is fetched ahead, or side by side."""
    for seed in range(4):
        fought = duel(seed, miners.OnDemand, t1_ms=t1_ms, costs=Costs(fetch_ms=fetch_ms), link_ms=20)
        fetched = (fought.a_ms - 20) / fetch_ms
        assert fetched == int(fetched)
        assert 40 <= fetched <= 64  # of 200 records, some are drawn again
        assert fought.outcome == (Outcome.PASS if fought.a_ms <= t1_ms else Outcome.LATE)


def test_who_embeds_again_is_late_where_t1_is_nearer_than_its_model():
    assert duel(1, miners.ReEmbedding, t1_ms=2_000).outcome == Outcome.PASS
    assert duel(1, miners.ReEmbedding, t1_ms=200).outcome == Outcome.LATE
    assert duel(1, t1_ms=200).outcome == Outcome.PASS


def test_junk_passes_by_rank_and_shows_by_key_that_it_holds_nothing_of_what_was_put():
    """PASS says: it holds what it has committed to. What it should hold is asked for by key; `samples` counts it."""
    for seed in SEEDS:
        wanted = range(10)
        honest, junk = duel(seed, wanted=wanted), duel(seed, miners.Junk, wanted=wanted)
        assert (honest.outcome, honest.samples) == (Outcome.PASS, 10)
        assert (junk.outcome, junk.samples) == (Outcome.PASS, 0)


def test_a_forked_log_passes_and_two_of_its_checkpoints_condemn_it():
    for seed in range(4):
        one, other = forked(seed)
        assert {challenged(miner, seed).outcome for miner in (one, other)} == {Outcome.PASS}
        evidence = read(write(evidence_of_fork(one, other)))
        assert "two roots" in check_evidence(evidence, one.store.key.public)


def test_one_log_is_no_fork():
    with pytest.raises(DoesNotHold):
        evidence_of_fork(miners.Miner(3, []), miners.Miner(3, []))


def test_a_log_that_was_rolled_back_passes_and_an_old_receipt_condemns_it():
    for seed in range(4):
        receipt, node = rolled_back(seed)
        assert challenged(node, seed).outcome == Outcome.PASS
        evidence = read(write(evidence_of_rollback(receipt, node)))
        assert "two histories" in check_evidence(evidence, node.store.key.public)


def test_a_receipt_of_the_history_that_goes_on_is_no_evidence():
    for seed in range(3):
        node = miners.Miner(seed, [])
        [done] = node.put([500])
        node.store.commitment(node.now_ns)
        with pytest.raises(EngramError):
            evidence_of_rollback(receipt_of(done), node)


def receipt_of(done):
    return msgspec.convert(done.receipt, Receipt, from_attributes=True)


def judged_often(kind, challenges=60, m=16, records=200):
    """Challenge one miner again and again, and give its standing; each time for what it has committed to."""
    miner, standing = kind(5, [VALIDATOR.public], records), Standing()
    for number in range(challenges):
        fought = challenged(miner, number, m=m)
        owner = check_transcript(fought.transcript, miner.store.key.public).owner
        standing = fold(standing, Verdict(outcome=fought.outcome, records=m, epoch=number, owner=owner))
        miner.prover._open.clear()  # its time is over
    return standing


@pytest.mark.parametrize(
    "kind", [miners.HashOnly, miners.Late, miners.Refusing, miners.Silent, miners.Lossy, miners.Excusing]
)
def test_who_does_not_show_its_records_has_no_weight_in_the_end(kind):
    assert judged_often(kind).weight == 0


def test_an_honest_miner_keeps_its_weight():
    standing = judged_often(miners.Miner)
    assert (standing.weight, standing.decision, standing.misses) == (1.0, "keeps", 0)


def tried(seeds):
    outcomes = Counter()
    for seed in seeds:
        fought = ordeal(seed)
        assert fought.outcome not in {Outcome.INVALID, Outcome.MISSING}, (seed, fought.reason)
        outcomes[fought.outcome] += 1
    return outcomes


def test_an_honest_miner_is_never_invalid_nor_missing_whatever_happens_to_it():
    outcomes = tried(range(60))
    wanted = {Outcome.PASS, Outcome.LATE, Outcome.REFUSED, Outcome.UNREACHABLE}
    assert outcomes.keys() >= wanted, "the ordeal does not reach what it should"


@pytest.mark.slow
def test_an_honest_miner_is_never_invalid_over_thousands_of_ordeals():
    outcomes = tried(range(60, 3060))
    assert outcomes.keys() == set(Outcome) - {Outcome.INVALID, Outcome.MISSING}


def test_one_seed_goes_one_way():
    assert ordeal(11).transcript == ordeal(11).transcript
