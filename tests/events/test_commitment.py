"""Commitments and receipts are believed as they were signed, and in no other way."""

from __future__ import annotations

import base64

import golden
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram import events
from engram.errors import LogCorrupt, Unprocessable
from engram.events import StateCommitted, TrieRoot, checkpoints, verify_commitment, verify_receipt
from engram.identity import NodeKey, receipt_message
from engram.native import _core

CHECKPOINT = golden.FORMATS["checkpoint"]
NODE = NodeKey(bytes(range(32)))
OTHER = NodeKey(bytes(range(1, 33)))
NOTE = CHECKPOINT["note"].encode()
COMMITMENT = CHECKPOINT["commitment"]
EVENT = bytes.fromhex(COMMITMENT["event_hex"])
PATH = [bytes.fromhex(each) for each in COMMITMENT["path_hex"]]
RECEIPT = CHECKPOINT["receipt"]


def test_the_golden_commitment_gives_size_roots_counts_and_key():
    gives = COMMITMENT["gives"]
    for public in (None, NODE.public):
        found = verify_commitment(NOTE, EVENT, PATH, public)
        assert found.node_key == NODE.public
        assert (found.size, found.root.hex()) == (gives["size"], gives["log_root_hex"])
        assert found.state.records == TrieRoot(bytes.fromhex(gives["records_root_hex"]), gives["records_count"])


def refused(field, note=NOTE, event=EVENT, path=PATH, public=None):
    with pytest.raises(Unprocessable) as caught:
        verify_commitment(note, event, path, public)
    assert caught.value.field == field
    return str(caught.value)


def test_another_nodes_commitment_is_refused_where_the_caller_knows_whose_it_must_be():
    assert "not of this node's key" in refused("checkpoint", public=OTHER.public)


@pytest.mark.parametrize("case", CHECKPOINT["refused_notes"], ids=lambda case: case["why"])
def test_golden_refused_notes_make_no_commitment(case):
    note = case.get("note", CHECKPOINT["note"])
    for old, new in [case["replace_all"]] if "replace_all" in case else []:
        note = note.replace(old, new)
    if case["why"] == "another key's origin":
        refused("checkpoint", note=note.encode(), public=NODE.public)
    else:
        refused("checkpoint", note=note.encode())


def flipped(data):
    for at in range(len(data)):
        for bit in (1, 128):
            changed = bytearray(data)
            changed[at] ^= bit
            yield bytes(changed)
    for at in range(len(data)):
        yield data[:at]
    yield data + b"\0"
    yield data + data
    yield b"\0" + data


def test_no_changed_byte_is_believed():
    for note in flipped(NOTE):
        refused("checkpoint", note=note)
    for event in flipped(EVENT):
        assert refused_field(event) in {"event", "path"}
    for at in range(len(PATH)):
        for each in flipped(PATH[at]):
            refused("path", path=[*PATH[:at], each, *PATH[at + 1 :]])
    for path in ([], PATH[:1], PATH[1:], [*PATH, bytes(32)], PATH[::-1], [bytes(32)] * 10_000):
        refused("path", path=path)


def refused_field(event):
    with pytest.raises(Unprocessable) as caught:
        verify_commitment(NOTE, event, PATH)
    return caught.value.field


def signed(event, key=NODE, size=1, root=None):
    """A commitment of a log of this one event, whatever it is."""
    return checkpoints.sign(events.Checkpoint(size, root or _core.leaf_hashes([event])), key), event, []


STATE = StateCommitted(records=TrieRoot(bytes(32), 0), edges=TrieRoot(bytes(32), 0), heads=TrieRoot(bytes(32), 0))


def test_what_a_node_signed_and_is_no_state_is_refused():
    assert verify_commitment(*signed(events.encode(STATE))).state == STATE
    assert verify_commitment(*signed(events.encode(STATE), OTHER)).node_key == OTHER.public
    plain = msgspec.to_builtins(STATE, builtin_types=(bytes,))
    nothing = {"root": b"", "count": 0}
    for wrong in (
        b"",
        b"\xc1",
        b"\x80",
        b"\x81\xa4type",
        msgspec.msgpack.encode({"type": "example.1"}),
        msgspec.msgpack.encode({"type": "state_committed.2"}),
        msgspec.msgpack.encode({"type": "state_committed.1"}),
        events.encode(STATE) + b"\0",
        events.encode(events.LogCreated(format=1, node_key=bytes(32))),
        msgspec.msgpack.encode({"type": "state_committed.1", "records": nothing, "edges": nothing, "heads": nothing}),
        msgspec.msgpack.encode({**plain, "type": "state_committed.1", "heads": {"root": bytes(32), "count": -1}}),
        msgspec.msgpack.encode({**plain, "type": "state_committed.1", "heads": {"root": bytes(33), "count": 1}}),
        msgspec.msgpack.encode({**plain, "type": "state_committed.1", "heads": {"root": bytes(32), "count": 1.0}}),
        msgspec.msgpack.encode({**plain, "type": "state_committed.1", "heads": [bytes(32), 1]}),
        bytes(70_000),
    ):
        note, event, path = signed(wrong)
        refused("event", note=note, event=event, path=path)


def test_a_checkpoint_of_nothing_speaks_for_no_state():
    note, event, path = signed(events.encode(STATE), size=0, root=_core.LogState().root)
    refused("checkpoint", note=note, event=event, path=path)


def test_a_note_that_names_no_key_is_refused():
    for name in ("engram/node/", "engram/node/x", "somewhere.example/log", NODE.address, "engram/node/" + "1" * 400):
        note = NOTE.replace(checkpoints.origin(NODE.public).encode(), name.encode())
        with pytest.raises(LogCorrupt, match="names no node's key"):
            checkpoints.signer(note)
        refused("checkpoint", note=note)
    for note in (b"", b"\xff\xfe", b"\n" * 10**6, NOTE * 2, NOTE.replace(b"Xgh", "Xgé".encode())):
        refused("checkpoint", note=note)


def test_a_second_signature_and_one_of_another_length_are_refused():
    body, _, line = NOTE.decode().partition("\n\n")
    refused("checkpoint", note=f"{body}\n\n{line}{line}".encode())
    name, blob = line.split()[1:]
    for changed in (base64.b64decode(blob)[:-1], base64.b64decode(blob) + b"\0", b"", b"\0" * 68):
        encoded = base64.b64encode(changed).decode()
        refused("checkpoint", note=f"{body}\n\n— {name} {encoded}\n".encode())


# -- receipts ---------------------------------------------------------------------------------------------------------


def receipt(**changes):
    given = {
        "event": bytes.fromhex(RECEIPT["event_hex"]),
        "position": RECEIPT["position"],
        "size": RECEIPT["size"],
        "root": bytes.fromhex(RECEIPT["root_hex"]),
        "time_unix_ns": RECEIPT["time_unix_ns"],
        "path": [bytes.fromhex(each) for each in RECEIPT["path_hex"]],
        "signature": bytes.fromhex(RECEIPT["signature_hex"]),
        "public": NODE.public,
    }
    return given | changes


def not_a_receipt(field, **changes):
    with pytest.raises(Unprocessable) as caught:
        verify_receipt(**receipt(**changes))
    assert field in {None, caught.value.field}


def test_the_golden_receipt_verifies():
    verify_receipt(**receipt())


def test_no_changed_receipt_is_believed():
    good = receipt()
    for field in ("event", "root", "signature", "public"):
        for changed in flipped(good[field]):
            not_a_receipt(None, **{field: changed})
    for at in range(len(good["path"])):
        for changed in flipped(good["path"][at]):
            not_a_receipt("path", path=[*good["path"][:at], changed, *good["path"][at + 1 :]])
    for field in ("position", "size"):
        for changed in {*range(-2, 20), 2**63, 2**64 - 1, 2**64, 2**70, -(2**70)} - {good[field]}:
            not_a_receipt(None, **{field: changed})
    for changed in (-1, 0, good["time_unix_ns"] + 1, good["time_unix_ns"] - 1, 2**64, 2**70):
        not_a_receipt(None, time_unix_ns=changed)
    not_a_receipt("signature", public=OTHER.public)
    not_a_receipt("signature", public=bytes(32))
    not_a_receipt("signature", public=b"")


def test_a_receipt_is_signed_over_its_size_too():
    """The same event and root under another size: the path may fit, the signature does not."""
    event = events.encode(STATE)
    root = _core.leaf_hashes([event])
    signature = NODE.sign(receipt_message(1, root, 7))
    verify_receipt(event, 0, 1, root, 7, [], signature, NODE.public)
    for size in (0, 2, 3):
        not_a_receipt(None, event=event, position=0, size=size, root=root, time_unix_ns=7, path=[], signature=signature)
    other = NODE.sign(receipt_message(2, root, 7))
    not_a_receipt("signature", event=event, position=0, size=1, root=root, time_unix_ns=7, path=[], signature=other)


# -- bytes of strangers -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_random_bytes_raise_nothing_else(data):
    """Pieces that are right beside pieces that are anything: refused, each time by the same kind of error."""
    anything = st.binary(max_size=200)
    path = st.lists(st.one_of(anything, st.sampled_from(PATH)), max_size=70)
    note = data.draw(
        st.one_of(anything, anything.map(lambda end: NOTE + end), anything.map(lambda end: NOTE[:60] + end))
    )
    event = data.draw(st.one_of(anything, anything.map(lambda end: EVENT[:40] + end)))
    for given_note, given_event, given_path in (
        (note, EVENT, PATH),
        (NOTE, event, PATH),
        (NOTE, EVENT, data.draw(path)),
    ):
        if (given_note, given_event, given_path) != (NOTE, EVENT, PATH):
            with pytest.raises(Unprocessable):
                verify_commitment(given_note, given_event, given_path, data.draw(st.sampled_from([None, NODE.public])))
    number = st.integers(-(2**70), 2**70)
    with pytest.raises(Unprocessable):
        verify_receipt(
            data.draw(anything),
            data.draw(number),
            data.draw(number),
            data.draw(anything),
            data.draw(number),
            data.draw(path),
            data.draw(anything),
            data.draw(anything),
        )
