"""Who gets which proof, against which checkpoint; and challenges of a real node, at its Service."""

from __future__ import annotations

import os
import struct

import msgspec
import pytest
import trio

from engram import cid as cids
from engram.errors import BadRequest, Busy, Forbidden, NotFound, TooLarge, Unauthenticated, Unavailable, Unprocessable
from engram.events import verify_consistency
from engram.identity import ANONYMOUS, OPERATOR, Caller, NodeKey
from engram.node import Config, real_world, running
from engram.proofs import Challenger, Nonce, Outcome, check_commitment, check_proof, check_receipt
from engram.wire import (
    Actors,
    ChallengeAnswer,
    ChallengePayloads,
    Delete,
    Get,
    GetCommitment,
    GetConsistency,
    GetProof,
    Item,
    KeySet,
    NamespaceCreate,
    Put,
    PutMany,
    Status,
    checked,
)

ADA, BOB, VALIDATOR, STRANGER = (NodeKey(bytes([seed]) * 32) for seed in (1, 2, 3, 4))
UNKNOWN = "v1::" + "0" * 64


def of(key: NodeKey) -> Caller:
    return Caller(key.public)


def vector(*head: float, dim: int = 384) -> bytes:
    return struct.pack(f"<{dim}f", *head, *[0.0] * (dim - len(head)))


@pytest.fixture
async def service(tmp_path):
    config = Config(data_dir=tmp_path / "data", challengers=(VALIDATOR.address,))
    async with running(config, real_world(), embedded=True) as service:
        yield service


async def put(service, number, caller=OPERATOR, **more):
    return await service.call(Put(vector=vector(number), **more), caller)


# -- proofs -----------------------------------------------------------------------------------------------------------


async def test_what_was_just_put_is_proved_to_who_has_a_key(service):
    done = await put(service, 1.0)
    for caller in (OPERATOR, of(ADA), of(VALIDATOR)):
        proof = await service.call(GetProof(cid=done.cid), caller)
        proved = check_proof(proof, service._store.key.public)
        assert (proof.present, proof.cid) == (True, done.cid)
        assert proved.committed.size > done.position


async def test_a_proof_is_against_the_checkpoint_that_there_is_where_that_says_the_same(service):
    done = await put(service, 1.0)
    first = await service.call(GetProof(cid=done.cid))
    position = (await service.call(Status())).position
    await put(service, 2.0)
    again = await service.call(GetProof(cid=done.cid))
    assert again.commitment == first.commitment
    assert (await service.call(Status())).position == position + 1  # the put, and no checkpoint
    later = await service.call(GetProof(cid=done.cid, min_position=position + 1))
    assert check_proof(later).committed.size > position + 1


async def test_who_has_no_key_gets_the_last_checkpoint_and_has_none_signed(service):
    done = await put(service, 1.0)
    assert check_proof(await service.call(GetProof(cid=done.cid), ANONYMOUS)).value  # the first of all
    later = await put(service, 2.0)
    position = (await service.call(Status())).position
    with pytest.raises(Unavailable, match="newer than the last checkpoint"):
        await service.call(GetProof(cid=later.cid), ANONYMOUS)
    with pytest.raises(Unavailable, match="min_position"):
        await service.call(GetProof(cid=done.cid, min_position=later.position + 1), ANONYMOUS)
    assert (await service.call(Status())).position == position
    await service.call(GetProof(cid=later.cid), of(ADA))
    assert (await service.call(GetProof(cid=later.cid), ANONYMOUS)).present


async def test_that_a_memory_is_not_held_is_proved_to_operator_and_challengers_alone(service):
    await put(service, 1.0)
    for caller in (OPERATOR, of(VALIDATOR)):
        proof = await service.call(GetProof(cid=UNKNOWN), caller)
        assert (proof.present, check_proof(proof).value) == (False, None)
    for caller in (of(ADA), ANONYMOUS):
        with pytest.raises(NotFound) as caught:
            await service.call(GetProof(cid=UNKNOWN), caller)
        with pytest.raises(NotFound) as got:
            await service.call(Get(cid=UNKNOWN), caller)
        assert caught.value.message == got.value.message


async def test_anothers_memory_answers_as_an_unknown_one(service):
    await service.call(NamespaceCreate(name="notes"), of(ADA))
    done = await put(service, 1.0, of(ADA), namespace="notes", key="mine")
    assert (await service.call(GetProof(cid=done.cid, namespace="notes"), of(ADA))).present
    assert (await service.call(GetProof(key="mine", namespace="notes"), of(ADA))).present
    for caller in (of(BOB), ANONYMOUS):
        for request in (GetProof(cid=done.cid), GetProof(cid=done.cid, namespace="notes")):
            unknown = msgspec.structs.replace(request, cid=UNKNOWN)
            with pytest.raises(NotFound) as caught:
                await service.call(request, caller)
            with pytest.raises(NotFound) as other:
                await service.call(unknown, caller)
            assert caught.value.message.replace(done.cid, UNKNOWN) == other.value.message


async def test_what_a_key_names_now_is_proved(service):
    first, second = await put(service, 1.0, key="doc"), await put(service, 2.0)
    proof = await service.call(GetProof(key="doc"), of(ADA))
    assert cids.from_digest(check_proof(proof).value) == first.cid
    await service.call(KeySet(key="doc", cid=second.cid))
    proof = await service.call(GetProof(key="doc"), of(ADA))
    assert cids.from_digest(check_proof(proof).value) == second.cid
    with pytest.raises(NotFound):
        await service.call(GetProof(key="other"), of(ADA))
    absent = await service.call(GetProof(key="other"), OPERATOR)
    assert (absent.present, check_proof(absent).value) == (False, None)


async def test_what_was_deleted_is_proved_to_be_gone(service):
    done = await put(service, 1.0)
    await service.call(GetProof(cid=done.cid))
    await service.call(Delete(cid=done.cid))
    assert not (await service.call(GetProof(cid=done.cid))).present
    with pytest.raises(NotFound):
        await service.call(GetProof(cid=done.cid), of(ADA))


@pytest.mark.parametrize("fields", [{}, {"cid": UNKNOWN, "key": "k"}])
async def test_a_proof_is_of_one_thing(service, fields):
    with pytest.raises(BadRequest, match="either cid or key"):
        await service.call(GetProof(**fields))


async def test_a_write_is_answered_with_its_receipt(service):
    done = await put(service, 1.0)
    assert check_receipt(done.receipt, service._store.key.public)
    assert (await put(service, 1.0)).receipt == done.receipt  # whose answer was lost, perhaps


# -- the log ----------------------------------------------------------------------------------------------------------


async def test_the_log_is_proved_to_go_on_from_what_was_signed_before(service):
    await put(service, 1.0)
    before = check_commitment(await service.call(GetCommitment()))
    for number in range(2, 300):
        await put(service, float(number))
    await service.call(GetProof(cid=UNKNOWN, min_position=service.reads.position))
    proof = await service.call(GetProof(cid=UNKNOWN))
    now = check_commitment(proof.commitment)
    for caller in (OPERATOR, ANONYMOUS):
        path = (await service.call(GetConsistency(first=before.size, second=now.size), caller)).path
        assert verify_consistency(before.size, before.root, now.size, now.root, path)
        assert not verify_consistency(before.size, bytes(32), now.size, now.root, path)


@pytest.mark.parametrize(("first", "second"), [(5, 4), (-1, 4), (0, 2**62 + 1)])
async def test_sizes_that_no_log_had_are_refused(service, first, second):
    with pytest.raises(Unprocessable):
        await service.call(GetConsistency(first=first, second=second))


async def test_a_size_that_the_log_has_not_reached_is_unavailable(service, autojump_clock):
    with pytest.raises(Unavailable) as refused:
        await service.call(GetConsistency(first=0, second=10**6))
    assert refused.value.field == "second"
    assert "min_position" not in refused.value.message


async def test_of_strangers_one_at_a_time_has_the_log_read(service):
    await put(service, 1.0)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(service.call, GetConsistency(first=0, second=2), ANONYMOUS)
        with trio.fail_after(5):
            await service.call(GetConsistency(first=1, second=2))


# -- challenges -------------------------------------------------------------------------------------------------------


async def challenger_of(service, key=VALIDATOR, caller=None, **terms):
    commitment = await service.call(GetCommitment(), caller or of(key))
    now_ms = real_world().clock.now_ns() // 1_000_000
    return Challenger(
        key, service._store.key.public, commitment, Nonce(os.urandom(32)), now_unix_ms=now_ms, **({"m": 8} | terms)
    )


async def drive(service, challenger, caller):
    while challenger.request is not None:
        challenger.take(await service.call(challenger.request, caller), 1)
    return challenger.judged


async def many(service, count=50):
    done = await service.call(PutMany(items=[Item(vector=vector(1.0, number)) for number in range(count)]))
    return [item.cid for item in done.items]


async def test_a_challenge_by_a_named_key_and_by_the_nodes_own_is_passed(service):
    kept = await many(service)
    keys = sorted(cids.key_of(cids.digest_of(cid)) for cid in kept[:5])
    own = service._store.key
    for key, caller in ((VALIDATOR, of(VALIDATOR)), (VALIDATOR, OPERATOR), (own, OPERATOR), (own, of(own))):
        for terms in ({}, {"keys": keys}):
            challenger = await challenger_of(service, key, caller, **terms)
            judged = await drive(service, challenger, caller)
            assert judged.outcome == Outcome.PASS, judged
    said = (await service.call(Status())).challenges
    assert (said.answered, said.shown, said.missing, said.refused) == (8, 8, 0, 0)


async def test_a_challenge_shows_other_peoples_namespaces(service):
    await service.call(NamespaceCreate(name="notes"), of(ADA))
    await put(service, 1.0, of(ADA), namespace="notes")
    judged = await drive(service, challenger := await challenger_of(service), of(VALIDATOR))
    assert (judged.outcome, judged.samples) == (Outcome.PASS, 1)
    assert challenger.conclude().slow.payloads[0].count(vector(1.0)) == 1


async def test_what_is_too_large_for_one_message_comes_in_parts(service):
    await service.call(NamespaceCreate(name="large", dim=1, model_version="mine/1"), of(ADA))
    for number in range(7):
        await service.call(Put(text=f"{number} " * 450_000, vector=[1.0], namespace="large"), of(ADA))
    challenger = await challenger_of(service, m=64)
    parts = []
    while challenger.request is not None:
        answer = await service.call(challenger.request, of(VALIDATOR))
        parts.append(len(getattr(answer, "payloads", ())))
        challenger.take(answer, 1)
    assert challenger.judged.outcome == Outcome.PASS
    assert parts == [0, 4, 3]


async def test_a_stranger_may_not_challenge(service):
    await many(service)
    challenger = await challenger_of(service, STRANGER)
    with pytest.raises(Forbidden, match="challengers"):
        await service.call(challenger.request, of(STRANGER))
    with pytest.raises(Forbidden):
        await service.call(challenger.request, OPERATOR)
    for caller in (ANONYMOUS, of(ADA)):
        named = await challenger_of(service)
        with pytest.raises(Unauthenticated, match="proves that very key"):
            await service.call(named.request, caller)


async def test_phase_b_is_for_who_had_phase_a(service):
    await many(service)
    challenger = await challenger_of(service)
    await service.call(challenger.request, of(VALIDATOR))
    for caller in (ANONYMOUS, of(ADA)):
        for request in (
            ChallengeAnswer(chal_id=challenger.chal_id),
            ChallengePayloads(chal_id=challenger.chal_id, start=0),
        ):
            with pytest.raises(Unprocessable) as caught:
                await service.call(request, caller)
            with pytest.raises(Unprocessable) as other:
                await service.call(msgspec.structs.replace(request, chal_id=bytes(32)), caller)
            assert caught.value.message == other.value.message
    assert (await service.call(ChallengeAnswer(chal_id=challenger.chal_id), of(VALIDATOR))).total


async def test_a_challenge_of_records_that_went_meanwhile_is_answered(service):
    """The state that was committed to stays challengeable, whatever is put and deleted after it."""
    kept = await many(service)
    challenger = await challenger_of(service)
    for cid in kept[:40]:
        await service.call(Delete(cid=cid))
    await service.call(GetProof(cid=kept[-1], min_position=(await service.call(Status())).position))
    assert (await drive(service, challenger, of(VALIDATOR))).outcome == Outcome.PASS


@pytest.mark.parametrize("who", [OPERATOR, of(ADA)], ids=["operator", "its owner"])
async def test_a_record_that_was_erased_meanwhile_is_excused_whoever_had_it_erased(service, who):
    """Who calls over a connection signs no tombstone: the node does, or anybody could make it miss records."""
    done = await put(service, 1.0, who)
    challenger = await challenger_of(service)
    await service.call(Delete(cid=done.cid, erase=True), who)
    assert (await drive(service, challenger, of(VALIDATOR))).outcome == Outcome.ERASED


async def test_a_flipped_body_is_missing_and_the_node_lives(service, tmp_path):
    await many(service, 3)
    challengers = [await challenger_of(service) for _ in range(20)]
    [segment] = (tmp_path / "data" / "bodies").glob("*.seg")
    data = bytearray(segment.read_bytes())
    for at in range(64 + 64, len(data), 512):
        data[at] ^= 1
    with segment.open("r+b") as file:
        file.write(data)
    for challenger in challengers:  # each leaves its place to the next: they are more than a validator may have open
        with pytest.raises(NotFound, match="not here, or not whole"):
            await service.call(challenger.request, of(VALIDATOR))
    assert (await service.call(Status())).challenges.missing == 20


async def test_a_thousand_challenges_at_once_are_answered_or_told_to_come_again(service):
    await many(service)
    challengers = [await challenger_of(service) for _ in range(1000)]
    outcomes: list[str] = []

    async def ask(challenger):
        try:
            await service.call(challenger.request, of(VALIDATOR))
            outcomes.append("ok")
        except Busy:
            outcomes.append("busy")

    async with trio.open_nursery() as nursery:
        for challenger in challengers:
            nursery.start_soon(ask, challenger)
    assert len(outcomes) == 1000
    assert 1 <= outcomes.count("ok") <= 64
    assert (await put(service, 7.0)).created  # and nothing else has suffered


async def test_a_challenger_that_goes_away_leaves_its_place_to_others(service):
    await many(service)
    for _ in range(30):
        challenger = await challenger_of(service)
        with trio.move_on_after(0):
            await service.call(challenger.request, of(VALIDATOR))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert (await drive(service, await challenger_of(service), of(VALIDATOR))).outcome == Outcome.PASS


@pytest.mark.parametrize(
    "fields",
    [
        {"m": 0}, {"m": 1025}, {"m": -1}, {"m": 2**70}, {"mode": 1}, {"mode": 255}, {"mode": 2**63}, {"mode": -1},
        {"epoch": -1}, {"epoch": 2**64}, {"netuid": 65536}, {"netuid": -1}, {"t1_ms": 0}, {"t1_ms": 2**32},
        {"t2_ms": -5}, {"log_size": 2**63}, {"log_size": 2**64}, {"log_size": -1}, {"issued_unix_ms": 0},
        {"issued_unix_ms": 2**64}, {"nonce": b""}, {"nonce": b"x" * 5000}, {"miner": b"x"}, {"signature": b""},
        {"signature": b"x" * 64}, {"keys": [b"k" * 32]}, {"mode": 3, "keys": [b""] * 8},
        {"mode": 3, "keys": [b"k" * 33] * 8}, {"mode": 3, "keys": []}, {"mode": 3, "m": 1024, "keys": [bytes(32)] * 2000},
    ],
    ids=str,
)  # fmt: skip
async def test_hostile_terms_are_refused(service, fields):
    await put(service, 1.0)
    challenger = await challenger_of(service)
    for caller in (of(VALIDATOR), OPERATOR):
        with pytest.raises((BadRequest, TooLarge, Unprocessable, Unauthenticated)):
            await service.call(checked(msgspec.structs.replace(challenger.request, **fields)), caller)
    assert (await service.call(Actors())).dead_letters == []


async def test_whether_another_had_a_memory_before_is_not_proved_to_who_puts_it_too(service):
    await service.call(NamespaceCreate(name="notes"), of(ADA))
    await service.call(NamespaceCreate(name="guesses"), of(BOB))
    await put(service, 1.0, of(ADA), namespace="notes")
    await put(service, 2.0, of(ADA), namespace="notes", key="old")
    await service.call(GetProof(key="old", namespace="notes"), of(ADA))  # has a checkpoint signed
    guess = await put(service, 1.0, of(BOB), namespace="guesses")
    proof = await service.call(GetProof(cid=guess.cid, namespace="guesses"), of(BOB))
    assert check_proof(proof).committed.size > guess.position
    public = await put(service, 2.0)
    with pytest.raises(Unavailable, match="newer than the last checkpoint"):
        await service.call(GetProof(cid=public.cid), ANONYMOUS)
