from __future__ import annotations

import hashlib

import golden
import pytest
from proof_world import NODE, NOW_MS, VALIDATOR, Shelf, State, leaf_of, sha

from engram import identity, proofs
from engram.native import _core
from engram.wire import Challenge, Commitment, Receipt

CASES = golden.load("challenge")
CHECKPOINT = golden.FORMATS["checkpoint"]
COMMITMENT = Commitment(
    checkpoint=CHECKPOINT["note"].encode(),
    event=bytes.fromhex(CHECKPOINT["commitment"]["event_hex"]),
    path=[bytes.fromhex(each) for each in CHECKPOINT["commitment"]["path_hex"]],
)
GIVES = CHECKPOINT["commitment"]["gives"]
LOG_ROOT = bytes.fromhex(GIVES["log_root_hex"])
RECORDS = [bytes.fromhex(each) for each in CASES["cases"][0]["records_by_rank_hex"]]


def records_of(case):
    """Give the n records of a case, by rank."""
    from proof_world import payload

    return sorted((payload(number) for number in range(case["n"])), key=leaf_of)


def challenge_of(case) -> Challenge:
    return Challenge(
        netuid=450,
        epoch=10,
        mode=case["mode"],
        m=case["m"],
        validator=VALIDATOR.public,
        miner=NODE.public,
        log_size=GIVES["size"],
        nonce=bytes(range(0x64, 0x84)),
        keys=[bytes.fromhex(each) for each in case.get("keys_hex", [])],
        issued_unix_ms=1_700_000_000_123,
        t1_ms=500,
        t2_ms=5000,
        signature=b"",
    )


def test_the_records_are_the_golden_ones():
    assert records_of(CASES["cases"][0]) == RECORDS


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: f"mode {case['mode']}, n {case['n']}")
def test_a_prover_gives_the_golden_answers(case):
    payloads = records_of(case)
    rows = [b"".join(leaf_of(each)) + at.to_bytes(8, "little") for at, each in enumerate(payloads)]
    view = _core.Trie(b"".join(rows)).commit()
    assert view.root.hex() == case["state_root_hex"]
    state = State(COMMITMENT.checkpoint, COMMITMENT.event, COMMITMENT.path, GIVES["size"], LOG_ROOT, view, view)
    challenge = challenge_of(case)
    chal_id = proofs.challenge_id(challenge, LOG_ROOT, view.root, len(view))
    assert chal_id.hex() == case["chal_id_hex"]
    assert proofs.query_of(case["mode"], challenge.keys).hex() == case.get("query_hex", "00" * 32)
    signed = replaced(challenge, signature=VALIDATOR.sign(identity.ask_message(chal_id)))
    answering = proofs.Prover(NODE, Shelf(list(payloads)), [VALIDATOR.public]).admit(signed, [state], NOW_MS)
    fast, slow = answering.fast(), answering.slow()
    assert fast.seed.hex() == case["seed_m_hex"]
    assert fast.signature.hex() == case.get("fast_signature_hex", fast.signature.hex())
    assert [leaf.hex() for leaf in slow.leaves] == case["leaves_hex"]
    assert slow.multiproof.hex() == case["multiproof_hex"]
    assert slow.payloads == [payloads[rank] for rank in case["payloads_by_rank"]]
    assert slow.signature.hex() == case.get("slow_signature_hex", slow.signature.hex())


def replaced(struct, **fields):
    import msgspec

    return msgspec.structs.replace(struct, **fields)


def test_the_golden_commitment():
    found = proofs.check_commitment(COMMITMENT, NODE.public)
    assert (found.size, found.root) == (GIVES["size"], LOG_ROOT)
    assert (found.state.records.root.hex(), found.state.records.count) == (
        GIVES["records_root_hex"],
        GIVES["records_count"],
    )


def test_the_golden_receipt():
    case = CHECKPOINT["receipt"]
    receipt = Receipt(
        event=bytes.fromhex(case["event_hex"]),
        position=case["position"],
        size=case["size"],
        root=bytes.fromhex(case["root_hex"]),
        time_unix_ns=case["time_unix_ns"],
        path=[bytes.fromhex(each) for each in case["path_hex"]],
        signature=bytes.fromhex(case["signature_hex"]),
    )
    assert proofs.verify(proofs.read(proofs.write(receipt)), NODE.public).kind == "receipt"


def test_the_golden_checkpoint():
    found = proofs.verify(proofs.read(CHECKPOINT["note"].encode()))
    assert (found.node, found.facts["size"]) == (NODE.address, 6)


@pytest.mark.parametrize("case", CHECKPOINT["refused_notes"], ids=lambda case: case["why"])
def test_golden_notes_that_do_not_hold(case):
    old, new = case.get("replace_all", ("", ""))
    note = CHECKPOINT["note"].replace(old, new) if old else case["note"]
    with pytest.raises((proofs.DoesNotHold, proofs.Unreadable)):
        proofs.verify(proofs.read(note.encode()), NODE.public)


def test_the_signed_messages_of_a_challenge_are_the_golden_ones():
    cases = {case["name"]: case for case in golden.FORMATS["signed"]["messages"]}
    chal_id = sha(b"challenge")
    payloads = [sha(b"one"), sha(b"two")]
    slow = identity.slow_message(chal_id, b"\0\1", [b"\3" * 64, b"\4" * 64], payloads)
    made = {
        "ask": (VALIDATOR, identity.ask_message(chal_id)),
        "fast": (NODE, identity.fast_message(chal_id, sha(b"seed"))),
        "slow": (NODE, slow),
        "verdict": (VALIDATOR, identity.verdict_message(chal_id, proofs.Outcome.PASS, 120, 900, sha(b"evidence"))),
        "verdict without evidence": (
            VALIDATOR,
            identity.verdict_message(chal_id, proofs.Outcome.UNREACHABLE, 500, 0, bytes(32)),
        ),
    }
    for name, (key, message) in made.items():
        assert message.hex() == cases[name]["message_hex"], name
        assert key.sign(message).hex() == cases[name].get("signature_hex", key.sign(message).hex()), name


def test_the_golden_nonce():
    case = golden.FORMATS["names"]["challenge_nonce"]
    drawn = proofs.draw_nonce(bytes.fromhex(case["block_hash_hex"]), bytes.fromhex(case["secret_hex"]))
    assert drawn.nonce.hex() == case["nonce_hex"]


def test_the_golden_proof_of_the_first_engram():
    case = CASES["v1_hmac_absent_validator"]
    key = proofs.key_v1(bytes.fromhex(case["nonce_hex"]))
    assert key.hex() == case["hmac_key_hex"]
    embedding_hash = proofs.embedding_hash_v1(bytes.fromhex(case["f32le_hex"]))
    assert proofs.prove_v1(key, [embedding_hash]) == [case["proof_hex"]]
    assert proofs.verify_v1(key, [embedding_hash], [case["proof_hex"]]) == [True]


def test_a_batch_of_the_first_engrams_proofs_has_the_number_before_each():
    key, hashes = proofs.key_v1(bytes(32), b"\1" * 32), [hashlib.sha256(bytes([at])).hexdigest() for at in range(3)]
    batch = proofs.prove_v1(key, hashes, batch=True)
    assert proofs.verify_v1(key, hashes, batch, batch=True) == [True] * 3
    assert proofs.verify_v1(key, hashes, batch[::-1], batch=True) == [False, True, False]
    assert proofs.prove_v1(key, [None, *hashes[1:]], batch=True) == [None, *batch[1:]]
    assert proofs.verify_v1(key, ["", "é" * 64, hashes[2]], batch, batch=True) == [False, False, True]
