"""0 mutants accepted, and each judged as an oracle does that was written from the formats alone."""

from __future__ import annotations

import random

import proof_mutants
import pytest

from engram import proofs
from engram.proofs import Outcome


def test_the_oracle_passes_what_is_honest():
    rng = random.Random(5)
    for _ in range(60):
        transcript, _ = proof_mutants.honest(rng)
        assert proof_mutants.product_verdict(transcript) == proof_mutants.oracle_verdict(transcript) == "PASS"
        document, _ = proof_mutants.documents(rng)
        assert proof_mutants.product_accepts(document)
        assert proof_mutants.oracle_accepts(document)


def test_no_mutant_is_accepted_and_all_are_judged_as_the_oracle_does():
    tallies = proof_mutants.run(2800, 1)
    assert [wrong for tally in tallies.values() for wrong in tally.wrong] == []
    assert all(tally.mutants > 50 for tally in tallies.values())


@pytest.mark.slow
def test_no_mutant_of_100_000_is_accepted():
    tallies = proof_mutants.run(130_000, 3)
    assert [wrong for tally in tallies.values() for wrong in tally.wrong] == []
    assert sum(tally.mutants for tally in tallies.values()) >= 100_000


def test_no_byte_of_an_answer_is_free():
    """Every byte that the miner sends, one after the other; the wrong ones are never PASS, and never INVALID."""
    transcript, _ = proof_mutants.honest(random.Random(8))
    committed = proofs.check_commitment(transcript.commitment)
    for name in ("chal_id", "multiproof", "signature"):
        data = getattr(transcript.slow, name)
        for at in range(len(data)):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            mutant = proof_mutants.with_slow(transcript, **{name: changed})
            assert proofs.judge(mutant, committed).outcome == Outcome.LATE


def test_a_verifier_that_did_not_look_would_be_found(monkeypatch):
    """The mutants find a verifier that leaves the leaves' places out of what it compares."""
    from engram.proofs import _judge

    show, drawn = _judge.show, {}

    def careless(challenge, chal_id, trie, slow):
        return show(challenge, chal_id, trie, drawn.get(chal_id, slow))

    monkeypatch.setattr(_judge, "show", careless)
    rng = random.Random(1)
    wrong = 0
    for _ in range(40):
        transcript, of = proof_mutants.honest(rng)
        if transcript.challenge.mode == 0 and len(of.payloads) > 2:
            mutant = proof_mutants.sign(relying_on_less(transcript, of))
            drawn[mutant.slow.chal_id] = transcript.slow
            wrong += proof_mutants.product_verdict(mutant) == "PASS"
            assert proof_mutants.oracle_verdict(mutant) == "INVALID"
    assert wrong


def relying_on_less(transcript, of):
    """Prove other leaves than those that were drawn."""
    leaves, multiproof = of.state.records.prove([0])
    if leaves == transcript.slow.leaves:
        leaves, multiproof = of.state.records.prove([1])
    return proof_mutants.with_slow(transcript, leaves=leaves, multiproof=multiproof)
