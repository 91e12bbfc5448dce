from __future__ import annotations

import hashlib

import golden
import pytest

from engram import identity
from engram.errors import Unprocessable
from engram.identity import NodeKey

SIGNED = golden.FORMATS["signed"]
NAMES = golden.FORMATS["names"]
NODE = NodeKey(bytes(range(32)))
USER = NodeKey(bytes(range(0x40, 0x60)))


@pytest.mark.parametrize("case", golden.FORMATS["ss58"]["accepted"], ids=lambda case: case["address"][:8])
def test_ss58_both_ways(case):
    assert identity.ss58(bytes.fromhex(case["key_hex"])) == case["address"]
    assert identity.from_ss58(case["address"]).hex() == case["key_hex"]


@pytest.mark.parametrize("address", golden.FORMATS["ss58"]["refused"], ids=repr)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(Unprocessable):
        identity.from_ss58(address)


@pytest.mark.parametrize("case", NAMES["namespaces"], ids=lambda case: case["name"][:8])
def test_namespace_ids(case):
    assert identity.namespace_id(bytes.fromhex(case["owner_pk_hex"]), case["name"]).hex() == case["ns_hex"]


@pytest.mark.parametrize("name", [*NAMES["refused_names"], "\ud800"], ids=["empty", "long", "surrogate"])
def test_unusable_namespace_names_are_refused(name):
    with pytest.raises(Unprocessable, match="name"):
        identity.namespace_id(bytes(32), name)


@pytest.mark.parametrize("case", NAMES["keys_K"], ids=lambda case: case["key"])
def test_head_keys(case):
    assert identity.head_key(bytes.fromhex(case["ns_hex"]), case["key"]).hex() == case["K_hex"]


def test_the_signed_messages_of_this_floor_are_the_golden_ones():
    network = hashlib.sha256(b"engram/network/1\n" + hashlib.sha256(b"genesis").digest() + (450).to_bytes(2)).digest()
    notes = bytes.fromhex(NAMES["namespaces"][0]["ns_hex"])
    digest = bytes.fromhex(golden.FORMATS["cid"]["accepted"][0]["cid"][4:])
    receipt = golden.FORMATS["checkpoint"]["receipt"]
    caller, server = b"\x01" * 32, b"\x02" * 32
    certificate = b"not a real certificate"
    messages = {
        "hello, server, TLS": identity.hello_message(1, caller, server, certificate, NODE.public, USER.public),
        "hello, caller, plain loopback": identity.hello_message(0, caller, server, None, USER.public, NODE.public),
        "hello, server, caller without a key": identity.hello_message(1, caller, server, None, NODE.public, None),
        "receipt": identity.receipt_message(
            receipt["size"], bytes.fromhex(receipt["root_hex"]), receipt["time_unix_ns"]
        ),
        "put": identity.put_message(network, notes, digest, 1700000000000),
        "put, public": identity.put_message(bytes(32), bytes(32), digest, 1700000000000),
        "tombstone": identity.tombstone_message(network, notes, digest, 1700000000001),
    }
    keys = {"node": NODE, "user": USER}
    golden_messages = {case["name"]: case for case in SIGNED["messages"]}
    for name, message in messages.items():
        case = golden_messages[name]
        assert message.hex() == case["message_hex"], name
        signature = keys[case["signer"]].sign(message)
        assert signature.hex() == case.get("signature_hex", signature.hex()), name
        assert identity.verify(keys[case["signer"]].public, message, signature)
        assert not identity.verify(keys[case["signer"]].public, message + b"x", signature)


def test_a_key_never_prints_its_secret():
    assert repr(NODE) == f"NodeKey({NODE.address})"
