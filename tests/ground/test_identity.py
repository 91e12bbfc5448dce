from __future__ import annotations

import contextlib
import hashlib

import golden
import pytest
from bittensor_wallet import Keypair
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from engram import identity
from engram.errors import Unprocessable
from engram.identity import Hotkey, NodeKey
from engram.native import _core

SIGNED = golden.FORMATS["signed"]
NAMES = golden.FORMATS["names"]
NODE = NodeKey(bytes(range(32)))
USER = NodeKey(bytes(range(0x40, 0x60)))
HOTKEY = Hotkey(bytes(range(0x60, 0x80)))
P = 2**255 - 19
# Ed25519's points of small order, each in every way of writing it: the number, without the sign's bit.
SMALL_ORDER = {
    0, 1, P - 1, P, P + 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
}  # fmt: skip


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


def test_the_golden_hotkey_and_its_signature():
    [case] = [case for case in SIGNED["messages"] if case["signer"] == "hotkey"]
    message, signature = bytes.fromhex(case["message_hex"]), bytes.fromhex(case["signature_hex"])
    assert HOTKEY.public.hex() == SIGNED["public_keys_hex"]["hotkey"]
    assert identity.verify(HOTKEY.public, message, signature)
    assert not identity.verify(HOTKEY.public, message + b"x", signature)
    assert not identity.verify(USER.public, message, signature)


@pytest.mark.parametrize("message", [b"", b"engram-ns:notes:1700000000000", bytes(100_000)], ids=len)
def test_hotkeys_are_those_of_bittensors_wallets(message):
    wallet = Keypair.create_from_seed("0x" + bytes(range(0x60, 0x80)).hex())
    assert wallet.ss58_address == HOTKEY.address
    assert identity.verify(HOTKEY.public, message, wallet.sign(message))
    assert wallet.verify(message, HOTKEY.sign(message))


@pytest.mark.parametrize("key", [USER, HOTKEY], ids=["ed25519", "sr25519"])
def test_the_mark_alone_says_which_scheme_a_signature_is_of(key):
    signature = key.sign(b"message")
    assert bool(signature[-1] & 0x80) == (key is HOTKEY)
    assert identity.verify(key.public, b"message", signature)
    other = signature[:-1] + bytes([signature[-1] ^ 0x80])
    assert not identity.verify(key.public, b"message", other)


@pytest.mark.parametrize("signature", [b"", b"\x80", bytes(63), bytes(64), b"\xff" * 64, b"\x80" * 65])
@pytest.mark.parametrize("public", [b"", bytes(32), b"\xff" * 32, bytes(33), USER.public], ids=len)
def test_what_is_no_signature_verifies_nothing(public, signature):
    assert not identity.verify(public, b"message", signature)


@pytest.mark.parametrize("sign", [0, 1 << 255], ids=["plus", "minus"])
@pytest.mark.parametrize("number", sorted(SMALL_ORDER), ids=lambda number: hex(number)[:12])
def test_nobody_signs_for_a_point_of_small_order(number, sign):
    """R = 1, s = 0 verifies wherever the challenge is a multiple of the order: for one message in eight, at least."""
    public, forged = (number | sign).to_bytes(32, "little"), b"\1" + bytes(63)
    messages = [bytes([number]) for number in range(200)]
    assert not any(identity.verify(public, message, forged) for message in messages)


def test_without_that_rule_they_would():
    def forgeable(number):
        key = Ed25519PublicKey.from_public_bytes(number.to_bytes(32, "little"))
        for message in (bytes([number]) for number in range(200)):
            with contextlib.suppress(InvalidSignature):
                key.verify(b"\1" + bytes(63), message)
                return True
        return False

    assert all(forgeable(number) for number in SMALL_ORDER)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 96 * 8 - 1))
def test_ed25519_is_as_another_implementation_has_it(seed, message, at):
    key, other = NodeKey(seed), Ed25519PrivateKey.from_private_bytes(seed)
    assert key.public == other.public_key().public_bytes_raw()
    assert key.sign(message) == other.sign(message)
    whole = key.public + key.sign(message)
    flipped = (int.from_bytes(whole, "big") ^ 1 << at).to_bytes(96, "big")
    for public, signature in ((whole[:32], whole[32:]), (flipped[:32], flipped[32:])):
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            holds = True
        except (InvalidSignature, ValueError):
            holds = False
        assert _core.ed25519_verify(public, message, signature) == holds


def test_hotkeys_never_print_their_secrets():
    assert repr(HOTKEY) == f"Hotkey({HOTKEY.address})"
