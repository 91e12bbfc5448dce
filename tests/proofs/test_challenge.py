"""A challenge from end to end: what an honest node earns, and what each way of not being one does."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proof_world import NODE, NOW_MS, USER, VALIDATOR, leaf_of, payload, sha, state_of, tombstone_of, world

from engram import proofs
from engram.errors import (
    Busy,
    Conflict,
    DeadlineExceeded,
    EngramError,
    Forbidden,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from engram.identity import NodeKey, fast_message
from engram.limits import LIMITS
from engram.proofs import Outcome
from engram.wire import Slow


def replaced(struct, **fields):
    return msgspec.structs.replace(struct, **fields)


def verdict(transcript):
    judged = proofs.check_transcript(proofs.read(proofs.write(transcript)), NODE.public)
    assert judged.outcome == transcript.judgement.verdict
    return judged


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(1, 40), m=st.integers(1, 60), number=st.integers(0, 2**32))
def test_an_honest_node_passes_whatever_is_drawn(count, m, number):
    of = world(count)
    judged = verdict(of.run(of.challenger(m=m, number=number)))
    assert judged.outcome == Outcome.PASS
    assert 1 <= judged.samples <= min(m, count)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(1, 30), held=st.sets(st.integers(0, 29)), absent=st.sets(st.binary(min_size=32, max_size=32)))
def test_an_honest_node_passes_by_key_and_shows_what_it_does_not_hold(count, held, absent):
    of = world(count)
    wanted = {leaf_of(of.payloads[at])[0] for at in held if at < count}
    keys = tuple(sorted(wanted | absent))
    if not keys:
        return
    judged = verdict(of.run(of.challenger(keys=keys)))
    assert judged.outcome == Outcome.PASS
    assert judged.samples == len(wanted)
    assert ("not to be held" in judged.reason) == (len(keys) > len(wanted))


def test_the_most_that_may_be_asked_for():
    of = world(3)
    assert verdict(of.run(of.challenger(m=LIMITS.challenge_records))).outcome == Outcome.PASS


def test_what_exceeds_4_mib_comes_in_parts():
    of = world(12, size=900_000)
    challenger = of.challenger(m=60)
    requests = []
    while (request := challenger.request) is not None:
        requests.append(request)
        answer = of.answer(request)
        sent = getattr(answer, "payloads", [])
        assert sum(map(len, sent)) <= LIMITS.challenge_part_bytes
        challenger.take(answer, 1)
    transcript = challenger.conclude()
    assert verdict(transcript).outcome == Outcome.PASS
    assert len(transcript.slow.payloads) == 12
    assert [type(each).__name__ for each in requests] == [
        "Challenge",
        "ChallengeAnswer",
        "ChallengePayloads",
        "ChallengePayloads",
    ]


# -- what a node does not have ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [None, b"rotten"])
def test_a_record_that_is_lost_or_rotten_is_missing(lost):
    of = world(4)
    of.shelf.payloads[:] = [lost] * 4
    with pytest.raises(NotFound, match="not here, or not whole"):
        of.answer(of.challenger(number=2).request)
    judged = verdict(of.run(of.challenger()))
    assert judged.outcome == Outcome.MISSING


def test_another_record_in_its_place_is_missing_too():
    of = world(4)
    of.shelf.payloads[:] = of.shelf.payloads[::-1]
    assert verdict(of.run(of.challenger())).outcome == Outcome.MISSING


@pytest.mark.parametrize("by_key", [False, True])
def test_an_erased_record_ends_the_chain_with_its_owners_tombstone(by_key):
    of = world(6)
    of.shelf.erase(2, tombstone_of(of.payloads[2]))
    keys = tuple(sorted(leaf_of(each)[0] for each in of.payloads)) if by_key else ()
    judged = verdict(of.run(of.challenger(m=40, keys=keys)))
    assert judged.outcome == Outcome.ERASED
    assert judged.owner == USER.public


@pytest.mark.parametrize("signer", [NODE, USER])
@pytest.mark.parametrize("hours", [0, 2])
def test_a_node_signs_for_an_erasure_that_nobody_has_signed(signer, hours):
    of = world(6)
    issued_ms = NOW_MS - 1000 - hours * 3_600_000  # long ago: another held the same, and has deleted it since
    of.shelf.erase(2, tombstone_of(of.payloads[2], signer, issued_ms=issued_ms, signed=False))
    judged = verdict(of.run(of.challenger(m=40)))
    assert (judged.outcome, judged.owner) == (Outcome.ERASED, NODE.public)


@pytest.mark.parametrize(
    "excuse",
    [
        lambda of: tombstone_of(of.payloads[3]),
        lambda of: tombstone_of(of.payloads[2], signed=False),
        lambda of: tombstone_of(of.payloads[2], issued_ms=NOW_MS - 32 * 60 * 1000),
        lambda of: tombstone_of(of.payloads[2], issued_ms=NOW_MS + 10 * 60 * 1000),
        lambda of: tombstone_of(of.payloads[2]).replace(USER.public, VALIDATOR.public),
        lambda of: tombstone_of(of.payloads[2]).replace(b"\xa5erase\xc3", b"\xa5erase\xc2"),
        lambda of: of.state.event,
    ],
    ids=["of another", "unsigned", "old", "of the future", "of another owner", "no erasure", "no deletion"],
)
def test_an_excuse_that_does_not_hold_is_none(excuse):
    of = world(6)
    of.shelf.erase(2, tombstone_of(of.payloads[2]))
    challenger = of.challenger(m=40)
    challenger.take(of.answer(challenger.request), 1)
    challenger.take(replaced(of.answer(challenger.request), tombstone=excuse(of)), 1)
    assert challenger.judged.outcome == Outcome.MISSING


def test_nobody_frames_a_node_by_cutting_its_leaves_elsewhere():
    """The leaves are signed one behind the other: an empty one between them left the signature good, and was INVALID."""
    of = world(6)
    transcript = of.run(of.challenger(m=4))
    leaves = transcript.slow.leaves
    for cut in ([b"", *leaves], [leaves[0][:32], leaves[0][32:], *leaves[1:]], [b"".join(leaves)]):
        assert judge(replaced(transcript, slow=replaced(transcript.slow, leaves=cut))).outcome == Outcome.LATE


def test_nobody_frames_a_node_by_taking_its_tombstone_away():
    of = world(6)
    of.shelf.erase(2, tombstone_of(of.payloads[2]))
    transcript = of.run(of.challenger(m=40))
    framed = replaced(transcript, slow=replaced(transcript.slow, tombstone=None))
    assert judge(framed).outcome == Outcome.MISSING


def judge(transcript):
    return proofs.judge(transcript, proofs.check_commitment(transcript.commitment))


def test_what_is_erased_between_the_phases_is_refused():
    of = world(2)
    challenger = of.challenger()
    challenger.take(of.answer(challenger.request), 1)
    of.shelf.erase(0, tombstone_of(of.payloads[0]))
    with pytest.raises(Conflict, match="erased while"):
        of.answer(challenger.request)
    assert of.run(challenger).judgement.verdict == Outcome.REFUSED


# -- times, silence, refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "earns"),
    [
        (Unavailable("no route"), Outcome.UNREACHABLE),
        (DeadlineExceeded("nothing came"), Outcome.UNREACHABLE),
        (NotFound("lost it"), Outcome.MISSING),
        (Forbidden("not you"), Outcome.REFUSED),
        (Busy("later"), Outcome.REFUSED),
        (EngramError("of another version"), Outcome.REFUSED),
    ],
    ids=lambda value: value.name if isinstance(value, Outcome) else type(value).__name__,
)
def test_an_error_in_phase_a(error, earns):
    challenger = world(2).challenger()
    challenger.fail(error, 500)
    assert verdict(challenger.conclude()).outcome == earns


@pytest.mark.parametrize(
    ("error", "earns"),
    [
        (Unavailable("no route"), Outcome.LATE),
        (DeadlineExceeded("nothing came"), Outcome.LATE),
        (NotFound("lost it"), Outcome.MISSING),
        (Unprocessable("no such challenge"), Outcome.REFUSED),
    ],
    ids=lambda value: value.name if isinstance(value, Outcome) else type(value).__name__,
)
def test_an_error_in_phase_b(error, earns):
    of = world(2)
    challenger = of.challenger()
    challenger.take(of.answer(challenger.request), 1)
    challenger.fail(error, 500)
    assert verdict(challenger.conclude()).outcome == earns


def test_the_last_millisecond_is_in_time_and_the_next_is_late():
    of = world(5)
    for number, (a_ms, b_ms, earns) in enumerate(
        [
            (500, 5000, Outcome.PASS),
            (501, 1, Outcome.LATE),
            (1, 5001, Outcome.LATE),
        ]
    ):
        challenger = of.challenger(number=number, t1_ms=500, t2_ms=5000)
        challenger.take(of.answer(challenger.request), a_ms)
        if challenger.request:
            challenger.take(of.answer(challenger.request), b_ms)
        assert verdict(challenger.conclude()).outcome == earns


def test_parts_share_the_time_of_phase_b():
    of = world(12, size=900_000)
    challenger = of.challenger(m=60, t2_ms=1000)
    challenger.take(of.answer(challenger.request), 1)
    challenger.take(of.answer(challenger.request), 900)
    assert challenger.patience_ms <= 1100
    challenger.take(of.answer(challenger.request), 101)
    assert challenger.request is None
    assert verdict(challenger.conclude()).outcome == Outcome.LATE


def test_a_node_without_records_has_nothing_to_show():
    of = world(0)
    challenger = of.challenger()
    assert challenger.request is None
    assert verdict(challenger.conclude()).outcome == Outcome.REFUSED


# -- lies ------------------------------------------------------------------------------------------------------------


def signed_fast(fast, **fields):
    fast = replaced(fast, **fields)
    return replaced(fast, signature=NODE.sign(fast_message(fast.chal_id, fast.seed)))


def signed_slow(slow, **fields):
    from engram.identity import slow_message

    slow = replaced(slow, **fields)
    if "total" not in fields:
        slow = replaced(slow, total=len(slow.payloads))
    message = slow_message(slow.chal_id, slow.multiproof, slow.leaves, [sha(each) for each in slow.payloads])
    return replaced(slow, signature=NODE.sign(message))


LIES = {
    "a seed that is not reached": (lambda fast: signed_fast(fast, seed=sha(b"guess")), lambda slow: slow),
    "no payloads": (lambda fast: fast, lambda slow: signed_slow(slow, payloads=[])),
    "one payload too few": (lambda fast: fast, lambda slow: signed_slow(slow, payloads=slow.payloads[:-1])),
    "one payload too many": (lambda fast: fast, lambda slow: signed_slow(slow, payloads=[*slow.payloads, payload(99)])),
    "payloads in another order": (lambda fast: fast, lambda slow: signed_slow(slow, payloads=slow.payloads[::-1])),
    "another record": (lambda fast: fast, lambda slow: signed_slow(slow, payloads=[payload(99), *slow.payloads[1:]])),
    "no record": (lambda fast: fast, lambda slow: signed_slow(slow, payloads=[b"junk", *slow.payloads[1:]])),
    "no leaves": (lambda fast: fast, lambda slow: signed_slow(slow, leaves=[])),
    "a leaf of its own": (lambda fast: fast, lambda slow: signed_slow(slow, leaves=[bytes(64), *slow.leaves[1:]])),
    "a multiproof cut short": (lambda fast: fast, lambda slow: signed_slow(slow, multiproof=slow.multiproof[:-1])),
}


@pytest.mark.parametrize("name", LIES)
def test_what_it_has_signed_and_cannot_be_is_invalid(name):
    of = world(30)
    phase_a, phase_b = LIES[name]
    challenger = of.challenger(m=6)
    challenger.take(phase_a(of.answer(challenger.request)), 1)
    challenger.take(phase_b(of.answer(challenger.request)), 1)
    transcript = challenger.conclude()
    assert verdict(transcript).outcome == Outcome.INVALID
    evidence = proofs.read(proofs.write(proofs.evidence_of(transcript)))
    assert "no honest node" in proofs.check_evidence(evidence, NODE.public)


@pytest.mark.parametrize("name", [name for name in LIES if name != "a seed that is not reached"])
def test_what_it_has_not_signed_is_late(name):
    of = world(30)
    challenger = of.challenger(m=6)
    challenger.take(of.answer(challenger.request), 1)
    slow = of.answer(challenger.request)
    challenger.take(replaced(LIES[name][1](slow), signature=slow.signature), 1)
    assert verdict(challenger.conclude()).outcome == Outcome.LATE


@pytest.mark.parametrize(
    "fields",
    [{"chal_id": sha(b"another")}, {"seed": b""}, {"seed": sha(b"another")}, {"signature": b""}, {"chal_id": b""}],
    ids=repr,
)
def test_an_answer_in_phase_a_that_nobody_has_signed_is_late(fields):
    of = world(3)
    challenger = of.challenger()
    challenger.take(replaced(of.answer(challenger.request), **fields), 1)
    assert challenger.request is None
    assert verdict(challenger.conclude()).outcome == Outcome.LATE


@pytest.mark.parametrize(
    "fields", [{"total": -1}, {"total": 9}, {"total": 0}, {"payloads": [bytes(LIMITS.payload_bytes + 1)]}], ids=str
)
def test_an_answer_in_phase_b_that_is_none_is_late(fields):
    of = world(30)
    challenger = of.challenger(m=8)
    challenger.take(of.answer(challenger.request), 1)
    challenger.take(replaced(of.answer(challenger.request), **fields), 1)
    assert challenger.request is None
    assert verdict(challenger.conclude()).outcome == Outcome.LATE


def test_a_part_that_is_empty_or_of_another_challenge_ends_it():
    for fields in ({"payloads": []}, {"chal_id": bytes(32)}):
        of = world(12, size=900_000)
        challenger = of.challenger(m=60)
        challenger.take(of.answer(challenger.request), 1)
        challenger.take(of.answer(challenger.request), 1)
        challenger.take(replaced(of.answer(challenger.request), **fields), 1)
        assert challenger.request is None
        assert verdict(challenger.conclude()).outcome == Outcome.LATE


def test_a_slow_node_that_lies_has_lied():
    of = world(30)
    challenger = of.challenger(m=6, t2_ms=10)
    challenger.take(of.answer(challenger.request), 1)
    challenger.take(LIES["no record"][1](of.answer(challenger.request)), 10_000)
    assert challenger.judged.outcome == Outcome.INVALID


def test_the_wrong_answer_to_a_request_is_a_mistake_of_whoever_drives():
    challenger = world(2).challenger()
    with pytest.raises(TypeError):
        challenger.take(Slow(chal_id=b"", leaves=[], multiproof=b"", payloads=[], total=0, signature=b""), 1)
    with pytest.raises(TypeError, match="not over"):
        challenger.conclude()


# -- who may ask -----------------------------------------------------------------------------------------------------


def admit(of, challenge, now_ms=NOW_MS):
    return of.prover.admit(challenge, [of.state], now_ms)


def test_a_stranger_is_forbidden():
    of = world(2)
    stranger = NodeKey(sha(b"stranger"))
    challenge = of.challenger().request
    with pytest.raises(Forbidden, match="may not challenge this node"):
        admit(of, replaced(challenge, validator=stranger.public))


def test_the_nodes_own_key_may():
    of = world(2)
    nonce = proofs.Nonce(sha(b"own"))
    own = proofs.Challenger(NODE, NODE.public, proofs.commitment_of(of.state), nonce, now_unix_ms=NOW_MS)
    assert verdict(of.run(own)).outcome == Outcome.PASS


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"miner": VALIDATOR.public}, Unprocessable, "miner"),
        ({"issued_unix_ms": NOW_MS + 60_001}, Unprocessable, "clocks"),
        ({"issued_unix_ms": NOW_MS - 60_001}, Unprocessable, "clocks"),
        ({"t1_ms": 0}, Unprocessable, "t1_ms"),
        ({"t1_ms": 60_001}, Unprocessable, "t1_ms"),
        ({"t2_ms": 600_001}, Unprocessable, "t2_ms"),
        ({"log_size": 9}, Unprocessable, "commitment"),
        ({"mode": 1}, Unprocessable, "mode"),
        ({"mode": 3}, Unprocessable, "keys"),
        ({"mode": 3, "m": 2, "keys": [b"\1" * 32, b"\1" * 32]}, Unprocessable, "ascend"),
        ({"mode": 3, "m": 2, "keys": [b"\2" * 32, b"\1" * 32]}, Unprocessable, "ascend"),
        ({"keys": [b"\1" * 32]}, Unprocessable, "keys"),
        ({"signature": bytes(64)}, Unauthenticated, "signature"),
        ({"nonce": bytes(32)}, Unauthenticated, "signature"),
        ({"epoch": 1}, Unauthenticated, "signature"),
        ({"netuid": 1}, Unauthenticated, "signature"),
    ],
    ids=str,
)
def test_what_is_not_answered(fields, error, match):
    of = world(2)
    with pytest.raises(error, match=match):
        admit(of, replaced(of.challenger().request, **fields))
    assert len(of.prover) == 0


def test_a_challenge_is_answered_once():
    of = world(2)
    challenge = of.challenger().request
    answering = admit(of, challenge)
    with pytest.raises(Conflict, match="asked before"):
        admit(of, challenge)
    of.prover.drop(answering)
    with pytest.raises(Conflict, match="asked before"):
        admit(of, challenge)


def test_a_replay_is_refused_as_long_as_its_time_would_be_good():
    of = world(2)
    challenge = of.challenger(t1_ms=1, t2_ms=1).request
    admit(of, challenge)
    with pytest.raises(Conflict):
        admit(of, challenge, NOW_MS + 60_000)
    with pytest.raises(Unprocessable, match="clocks"):
        admit(of, challenge, NOW_MS + 60_001)


def test_so_many_challenges_are_open_and_no_more():
    of = world(2)
    opened = [admit(of, of.challenger(number=number).request) for number in range(16)]
    with pytest.raises(Busy) as refused:
        admit(of, of.challenger(number=16).request)
    assert refused.value.retry_after_s > 0
    of.prover.drop(opened[0])
    admit(of, of.challenger(number=16).request)
    assert len(of.prover) == 16


def test_an_open_challenge_ends_by_itself():
    of = world(2)
    answering = admit(of, of.challenger(t1_ms=1000, t2_ms=1000).request)
    assert of.prover.find(answering.chal_id, NOW_MS + 12_000) is answering
    with pytest.raises(Unprocessable, match="no challenge of this id is open"):
        of.prover.find(answering.chal_id, NOW_MS + 12_001)
    assert len(of.prover) == 0


def test_no_more_challenges_are_remembered_than_there_is_room_for():
    of = world(2)
    prover = proofs.Prover(NODE, of.shelf, [VALIDATOR.public], limits=proofs.ProverLimits(remembered=3))
    for number in range(3):
        prover.drop(prover.admit(of.challenger(number=number).request, [of.state], NOW_MS))
    with pytest.raises(Busy, match="remembers"):
        prover.admit(of.challenger(number=3).request, [of.state], NOW_MS)


def test_phase_b_waits_for_phase_a_and_starts_where_there_is_something():
    of = world(2)
    answering = admit(of, of.challenger().request)
    with pytest.raises(Unprocessable, match="phase A"):
        answering.slow()
    answering.fast()
    for start in (-1, 2, 2**63):
        with pytest.raises(Unprocessable, match="from"):
            answering.payloads(start)


def test_each_generation_is_challenged_as_it_was():
    of = world(4)
    later = state_of([*of.payloads, payload(77)], before=[of.state.event, of.state.event])
    assert of.state.size != later.size
    challenger = of.challenger()
    answering = of.prover.admit(challenger.request, [later, of.state], NOW_MS)
    challenger.take(answering.fast(), 1)
    challenger.take(answering.slow(), 1)
    assert challenger.judged.outcome == Outcome.PASS


# -- the commitment --------------------------------------------------------------------------------------------------


def test_another_nodes_commitment_is_not_challenged():
    other = state_of([payload(1)], NodeKey(sha(b"other")))
    with pytest.raises(proofs.DoesNotHold, match="not of this node"):
        proofs.Challenger(
            VALIDATOR, NODE.public, proofs.commitment_of(other), proofs.Nonce(bytes(32)), now_unix_ms=NOW_MS
        )


def test_the_event_of_a_challenge_says_what_its_transcript_does():
    of = world(3)
    challenger = of.challenger()
    transcript = of.run(challenger)
    event = proofs.event_of(transcript, challenger.chal_id)
    assert (event.verdict, event.evidence) == (0, proofs.evidence_hash(transcript))
    assert event.miner == NODE.public


def test_a_verdict_of_which_nothing_is_kept_is_signed_over_nothing():
    of = world(3)
    challenger = of.challenger()
    of.run(challenger)
    transcript = challenger.conclude(keep=False)
    assert transcript.judgement.evidence == bytes(32)
    assert verdict(transcript).outcome == Outcome.PASS


def test_the_hash_of_evidence_is_that_of_canonical_json():
    import rfc8785

    of = world(3)
    transcript = of.run(of.challenger())
    plain = msgspec.to_builtins(transcript)
    del plain["judgement"]
    assert proofs.evidence_hash(transcript) == sha(rfc8785.dumps(plain))


def test_a_drawn_nonce_is_made_again():
    of = world(3)
    drawn = proofs.draw_nonce(sha(b"block"), sha(b"secret"))
    challenger = proofs.Challenger(
        VALIDATOR, NODE.public, proofs.commitment_of(of.state), drawn, now_unix_ms=NOW_MS, m=2
    )
    transcript = of.run(challenger)
    assert verdict(transcript).outcome == Outcome.PASS
    for fields in ({"secret": sha(b"other")}, {"secret": None}, {"block_hash": None}, {"block_hash": b""}):
        with pytest.raises(proofs.DoesNotHold, match="nonce"):
            proofs.check_transcript(replaced(transcript, **fields))
