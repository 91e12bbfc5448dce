"""Documents as files: read strictly, verified offline, and said in words."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proof_mutants import cid_of, receipt_of
from proof_world import NODE, USER, VALIDATOR, leaf_of, log_of, payload, sha, state_of, world

from engram import events, proofs
from engram.identity import ask_message
from engram.proofs import DoesNotHold, Said, Unreadable
from engram.proofs._transcript import sign_judgement
from engram.wire import Receipt

PAYLOADS = [payload(number) for number in range(7)]
NOTES = sha(b"notes")
STATE = state_of(PAYLOADS, heads={(bytes(32), "doc-17"): b"\7" * 32, (NOTES, "doc-17"): b"\x08" * 32})
PROOF = proofs.prove_record(STATE, cid_of(PAYLOADS[3]))
TEXT = proofs.write(PROOF)


def replaced(struct, **fields):
    return msgspec.structs.replace(struct, **fields)


def verified(document, node=NODE.public):
    return proofs.verify(proofs.read(proofs.write(document)), node)


def edited(**fields) -> bytes:
    return json.dumps(json.loads(TEXT) | fields).encode()


# -- what a proof says -----------------------------------------------------------------------------------------------


def test_a_record_that_is_held():
    found = verified(PROOF)
    assert found.kind == "proof"
    assert found.node == NODE.address
    assert found.facts["payload_sha256"] == leaf_of(PAYLOADS[3])[1].hex()
    assert (found.facts["size"], found.facts["records"]) == (STATE.size, 7)
    assert any("held the record v1::" in each for each in found.shown)
    assert any("bytes" in each for each in found.not_shown)


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_a_record_that_is_not_held(count):
    state = state_of([payload(number) for number in range(count)])
    found = verified(proofs.prove_record(state, cid_of(payload(99))))
    assert found.facts["present"] is False
    assert "held no record" in found.shown[0]


def test_what_a_key_names_in_each_namespace():
    for namespace, digest, where in (
        (bytes(32), b"\7" * 32, "the public namespace"),
        (NOTES, b"\x08" * 32, NOTES.hex()),
    ):
        found = verified(proofs.prove_key(STATE, namespace, "doc-17"))
        assert found.facts["cid"] == "v1::" + digest.hex()
        assert where in found.shown[0]


@pytest.mark.parametrize(("namespace", "key"), [(bytes(32), "doc-18"), (sha(b"other"), "doc-17")])
def test_a_key_that_names_nothing(namespace, key):
    found = verified(proofs.prove_key(STATE, namespace, key))
    assert (found.facts["present"], found.facts["cid"]) == (False, None)


def test_whose_it_is_is_left_open_unless_it_is_pinned():
    assert any("pin" in each for each in verified(PROOF, None).not_shown)
    assert not any("pin" in each for each in verified(PROOF).not_shown)
    with pytest.raises(DoesNotHold, match="not of this node's key"):
        verified(PROOF, VALIDATOR.public)


def test_a_bare_checkpoint():
    found = proofs.verify(proofs.read(STATE.note))
    assert (found.kind, found.node, found.facts["size"]) == ("checkpoint", NODE.address, STATE.size)


def test_a_checkpoint_has_one_way_to_be_written():
    """The base64 of 68 bytes has two bits to spare; a note with them set verified, and was another file."""
    letter = STATE.note.rstrip(b"\n")[-2:-1]
    others = [bytes([each]) for each in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"]
    for other in others:
        if other != letter:
            note = STATE.note.rstrip(b"\n")[:-2] + other + b"=\n"
            with pytest.raises(DoesNotHold):
                proofs.verify(proofs.read(note))


# -- read strictly ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"format":"engram/proof/2"}',
        b'{"format":7}',
        b'{"format":"engram/proof/1"}',
        b'{"format":null,"format":"engram/proof/1"}',
        b'{"a":' * 1000,
        b"[" * 100_000,
        TEXT + b"{}",
        TEXT[:-1],
        edited(cid=7),
        edited(trie="edges"),
        edited(present=1),
        edited(surplus=1),
        edited(leaves="AAAA"),
        edited(leaves=[7]),
        edited(multiproof="A"),
        edited(multiproof="AB=="),
        edited(multiproof="AA==\n"),
        edited(multiproof="QUFB QUFB"),
        edited(commitment={}),
        edited(commitment=json.loads(TEXT)["commitment"] | {"time": 1}),
        edited(path=[]),
        TEXT.replace(b'"present":', b'"present":true,"present":'),
        TEXT.replace(b'"present":true', b'"present":NaN'),
        TEXT.replace(b"v1::", b"\\ud800"),
    ],
    ids=lambda data: repr(data[:40]) + str(len(data)),
)
def test_what_is_no_document_is_refused_as_such(data):
    with pytest.raises(Unreadable):
        proofs.read(data)


def test_a_field_that_is_not_known_is_named():
    with pytest.raises(Unreadable, match=r"`commitment\.time`") as refused:
        proofs.read(edited(commitment=json.loads(TEXT)["commitment"] | {"time": 1}))
    assert refused.value.field == "commitment.time"


def test_blanks_order_and_null_are_nobodys():
    whole = json.loads(TEXT) | {"ns": None, "key": None}
    data = json.dumps(dict(reversed(whole.items())), indent=3).encode()
    assert proofs.read(data) == PROOF


def test_more_than_a_document_has_is_not_read(monkeypatch):
    monkeypatch.setattr("engram.proofs._read.DOCUMENT_BYTES", 1000)
    with pytest.raises(Unreadable, match="1,000 bytes"):
        proofs.read(b" " * 1001)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)))
def test_random_bytes_are_no_document(data):
    with pytest.raises((Unreadable, DoesNotHold)):
        proofs.verify(proofs.read(data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["proof", "receipt", "transcript", "evidence"]), st.dictionaries(st.sampled_from(
    ["trie", "present", "commitment", "leaves", "multiproof", "cid", "ns", "key", "event", "position", "size", "root", "time_unix_ns", "path", "signature", "challenge", "a_ms", "b_ms", "fast", "slow", "failure", "network", "block_hash", "secret", "judgement", "kind", "node", "transcript", "first", "second"]), json_values))  # fmt: skip
def test_random_json_never_holds_and_never_breaks_the_reader(kind, fields):
    data = json.dumps({"format": f"engram/{kind}/1"} | fields).encode("utf-8", "surrogatepass")
    with pytest.raises((Unreadable, DoesNotHold)):
        proofs.verify(proofs.read(data))


# -- proofs that do not hold -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"present": False},
        {"cid": cid_of(PAYLOADS[4])},
        {"cid": cid_of(PAYLOADS[4]), "present": False},
        {"cid": "sha256:" + "0" * 64},
        {"cid": None},
        {"key": "doc-17"},
        {"ns": bytes(32)},
        {"trie": "heads"},
        {"trie": "heads", "cid": None, "ns": bytes(31), "key": "doc-17"},
        {"trie": "heads", "cid": None, "ns": bytes(32), "key": ""},
        {"trie": "heads", "cid": None, "ns": bytes(32), "key": "k" * 513},
        {"leaves": []},
        {"leaves": [b"".join(leaf_of(PAYLOADS[4]))]},
        {"leaves": [PROOF.leaves[0][:63]]},
        {"multiproof": b""},
        {"multiproof": PROOF.multiproof + b"\0"},
        {"commitment": proofs.commitment_of(state_of(PAYLOADS[:6]))},
    ],
    ids=" ".join,
)
def test_a_proof_of_something_else_does_not_hold(fields):
    with pytest.raises(DoesNotHold):
        verified(replaced(PROOF, **fields))


def test_sizes_that_a_stranger_chose_cost_nothing():
    with pytest.raises(DoesNotHold):
        verified(replaced(PROOF, multiproof=b"\1" * 100_000))
    with pytest.raises(Unreadable, match="leaves"):
        verified(replaced(PROOF, leaves=[bytes(64)] * 2))


# -- receipts --------------------------------------------------------------------------------------------------------


def test_a_receipt_needs_its_node():
    with pytest.raises(Unreadable, match="does not name its node"):
        verified(receipt_of(STATE), None)
    found = verified(receipt_of(STATE))
    assert (found.facts["event"], found.facts["position"]) == ("state_committed.1", 1)
    assert "position 1 " in found.shown[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"position": 0},
        {"position": -1},
        {"size": 3},
        {"size": 2**70},
        {"root": b""},
        {"time_unix_ns": 78},
        {"time_unix_ns": -1},
        {"path": []},
        {"path": [bytes(31)]},
        {"event": b"\xc1"},
        {"event": events.encode(events.LogCreated(format=1, node_key=NODE.public))},
        {"signature": b""},
    ],
    ids=" ".join,
)
def test_a_receipt_of_something_else_does_not_hold(fields):
    with pytest.raises((DoesNotHold, Unreadable)):
        verified(replaced(receipt_of(STATE), **fields))


# -- transcripts -----------------------------------------------------------------------------------------------------


def test_a_transcript_stands_alone():
    of = world(9)
    found = verified(of.run(of.challenger(m=4)))
    assert found.facts["verdict"] == "PASS"
    assert any("validator's word" in each for each in found.not_shown)


@pytest.mark.parametrize("node", [VALIDATOR.public, bytes(32)])
def test_a_transcript_of_another_node_does_not_hold(node):
    of = world(9)
    with pytest.raises(DoesNotHold, match="another node"):
        verified(of.run(of.challenger(m=4)), node)


def test_a_validator_that_says_otherwise_than_it_was_is_found_out():
    of = world(9)
    transcript = of.run(of.challenger(m=4))
    judgement = transcript.judgement
    for fields, match in (
        ({"verdict": 1}, "says 1, and what stands in it is 0 PASS"),
        ({"reason": "because"}, "reason"),
        ({"evidence": sha(b"other")}, "another transcript"),
        ({"signature": bytes(64)}, "not signed by the validator"),
    ):
        with pytest.raises(DoesNotHold, match=match):
            verified(replaced(transcript, judgement=replaced(judgement, **fields)))
    with pytest.raises(DoesNotHold, match="no verdict"):
        verified(replaced(transcript, judgement=None))


@pytest.mark.parametrize(
    ("fields", "signed", "match"),
    [
        ({"log_size": 7}, True, "not the one that was challenged"),
        ({"miner": USER.public}, True, "not of this node's key"),
        ({}, False, "not signed by its validator"),
    ],
    ids=["another size", "another node's commitment", "unsigned"],
)
def test_a_verdict_is_about_what_was_asked(fields, signed, match):
    """The validator has signed all of it; nothing was answered, since no record was held."""
    of = world(0)
    challenger = of.challenger()
    transcript = of.run(challenger)
    challenge = replaced(transcript.challenge, **fields)
    chal_id = proofs.challenge_id(challenge, of.state.root, of.state.records.root, 0)
    signature = VALIDATOR.sign(ask_message(chal_id)) if signed else bytes(64)
    transcript = replaced(transcript, challenge=replaced(challenge, signature=signature), judgement=None)
    judgement = sign_judgement(transcript, chal_id, challenger.judged, VALIDATOR, keep=True)
    with pytest.raises(DoesNotHold, match=match):
        verified(replaced(transcript, judgement=judgement), None)


def test_times_are_under_the_validators_signature():
    of = world(9)
    transcript = of.run(of.challenger(m=4))
    with pytest.raises(DoesNotHold):
        verified(replaced(transcript, a_ms=2))


def test_a_redacted_transcript_cannot_be_verified():
    of = world(9)
    transcript = of.run(of.challenger(m=4))
    hidden = replaced(transcript.slow, payloads=[sha(each) for each in transcript.slow.payloads])
    with pytest.raises(DoesNotHold):
        verified(replaced(transcript, slow=hidden))


# -- evidence --------------------------------------------------------------------------------------------------------


def history(*letters: str) -> list[bytes]:
    created = events.encode(events.LogCreated(format=1, node_key=NODE.public))
    more = [msgspec.msgpack.encode({"type": "example.1", "is": letter}) for letter in letters]
    return [created, *more]


def receipt_for(written: list[bytes], position: int, key=NODE) -> Receipt:
    from engram.identity import receipt_message

    _, root, paths = log_of(written, key)
    return Receipt(
        event=written[position],
        position=position,
        size=len(written),
        root=root,
        time_unix_ns=5,
        path=paths[position],
        signature=key.sign(receipt_message(len(written), root, 5)),
    )


def checkpoint_of(written: list[bytes], position: int | None = None, key=NODE) -> Said:
    note, _, paths = log_of(written, key)
    if position is None:
        return Said(checkpoint=note)
    return Said(checkpoint=note, event=written[position], path=paths[position])


def test_two_roots_of_one_size():
    evidence = proofs.equivocation(NODE.public, checkpoint_of(history("a")), checkpoint_of(history("b")))
    found = verified(evidence)
    assert "two roots of its log of 2 events" in found.shown[0]
    assert found.node == NODE.address


def test_a_receipt_beside_a_checkpoint_of_its_size():
    receipt = proofs.said_in_receipt(receipt_for(history("a"), 1))
    verified(proofs.equivocation(NODE.public, receipt, checkpoint_of(history("b"))))


def test_two_histories():
    evidence = proofs.equivocation(
        NODE.public, checkpoint_of(history("a", "c"), 1), checkpoint_of(history("b", "c", "d"), 1), 1
    )
    assert "two histories" in verified(evidence).shown[0]


def test_a_receipt_that_the_log_has_forgotten():
    receipt = proofs.said_in_receipt(receipt_for(history("a"), 1))
    later = checkpoint_of(history("b", "c", "d"), 1)
    assert "two histories" in verified(proofs.equivocation(NODE.public, receipt, later, 1)).shown[0]


@pytest.mark.parametrize(
    ("first", "second", "position"),
    [
        (checkpoint_of(history("a")), checkpoint_of(history("a")), None),
        (checkpoint_of(history("a")), checkpoint_of(history("a", "b")), None),
        (checkpoint_of(history("a"), 1), checkpoint_of(history("a", "b"), 1), 1),
        (checkpoint_of(history("a"), 1), checkpoint_of(history("b"), 1), 0),
        (checkpoint_of(history("a")), checkpoint_of(history("b"), key=VALIDATOR), None),
        (checkpoint_of(history("a"), 1), checkpoint_of(history("b", "c"), 1), 2**70),
        (proofs.said_in_receipt(receipt_for(history("a"), 1, VALIDATOR)), checkpoint_of(history("b")), None),
    ],
    ids=["the same", "one longer", "one history", "elsewhere", "another node", "no position", "another's receipt"],
)
def test_what_both_may_be_true_is_no_evidence(first, second, position):
    with pytest.raises((DoesNotHold, Unreadable)):
        proofs.equivocation(NODE.public, first, second, position)


@pytest.mark.parametrize(
    "fields",
    [
        {"first": None},
        {"first": Said()},
        {"first": Said(checkpoint=b"x", receipt=receipt_for(history("a"), 1))},
        {"position": 1},
        {"kind": "invalid"},
        {"node": VALIDATOR.public},
        {"node": b""},
    ],
    ids=" ".join,
)
def test_half_an_evidence_is_none(fields):
    evidence = proofs.equivocation(NODE.public, checkpoint_of(history("a")), checkpoint_of(history("b")))
    with pytest.raises((DoesNotHold, Unreadable)):
        verified(replaced(evidence, **fields), None)


def test_a_pass_is_no_evidence():
    of = world(3)
    with pytest.raises(DoesNotHold, match="ended in PASS"):
        proofs.evidence_of(of.run(of.challenger()))


def test_bytes_are_base64_in_a_file():
    assert base64.b64decode(json.loads(TEXT)["leaves"][0]) == PROOF.leaves[0]
