"""Who signs over HTTP v1, against keypairs of bittensor's own; whatever is not whole is refused."""

from __future__ import annotations

import hashlib
import json

import pytest
from first_wire import ALICE, BOB, NOW, claimed, signed
from hypothesis import given, settings
from hypothesis import strategies as st

from engram.errors import BadRequest, Busy, EngramError, Forbidden, Unauthenticated
from engram.gateway._http_v1 import Replays
from engram.gateway._http_v1._bodies import Ingest, read
from engram.gateway._http_v1._callers import Callers
from engram.gateway._http_v1._signatures import owner_of, request_message, signer_of
from engram.identity import ANONYMOUS, OPERATOR, Caller, NodeKey

BODY = {"text": "naïve café 🧠", "metadata": {"b": [1, 2.5, 1e-7, None, True], "a": {"z": 1, "y": "\u2028"}}}


def signer(body, endpoint="IngestSynapse", now=NOW, replays=None):
    return signer_of(body, endpoint, now, replays or Replays(NOW - 60_000))


class StoppedClock:
    def __init__(self, now_ms=NOW):
        self.now_ms = now_ms

    def now_ns(self):
        return self.now_ms * 1_000_000


# -- requests ---------------------------------------------------------------------------------------------------------


def test_what_a_wallet_signs_is_its_own():
    assert signer(signed(BODY)) == ALICE.public_key
    assert signer(signed({})) == ALICE.public_key


def test_nothing_signed_is_nobody():
    assert signer(BODY) is None
    assert signer({**BODY, "hotkey": None, "nonce": None, "signature": None}) is None


def test_the_order_of_keys_and_blanks_do_not_matter():
    body = signed(BODY)
    turned = json.loads(json.dumps(dict(reversed(body.items())), indent=4, ensure_ascii=False))
    assert list(turned) != list(body)
    assert signer(turned) == ALICE.public_key


def test_a_node_key_signs_as_well():
    node = NodeKey(b"\1" * 32)

    class AsWallet:
        ss58_address = node.address
        sign = node.sign

    assert signer(signed(BODY, key=AsWallet)) == node.public


@pytest.mark.parametrize("name", ["hotkey", "nonce", "signature"])
@pytest.mark.parametrize("how", ["missing", "null"])
def test_half_a_signature_is_refused_and_says_what_is_missing(name, how):
    body = signed(BODY)
    if how == "null":
        body[name] = None
    else:
        del body[name]
    with pytest.raises(Unauthenticated, match="is missing") as caught:
        signer(body)
    assert caught.value.field == name


ALTERED = {
    "another text": {"text": "naïve cafe 🧠"},
    "another case": {"text": "Naïve café 🧠"},
    "decomposed": {"text": "nai\u0308ve cafe\u0301 🧠"},
    "1 for true": {"metadata": BODY["metadata"] | {"b": [1, 2.5, 1e-7, None, 1]}},
    "1.0 for 1": {"metadata": BODY["metadata"] | {"b": [1.0, 2.5, 1e-7, None, True]}},
    "one more field": {"namespace": "notes"},
    "a null more": {"namespace": None},
    "another order in a list": {"metadata": BODY["metadata"] | {"b": [2.5, 1, 1e-7, None, True]}},
    "the next nonce": {"nonce": NOW + 1},
    "another hotkey": {"hotkey": BOB.ss58_address},
}


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_a_body_that_was_altered_is_refused(change):
    with pytest.raises(Unauthenticated) as caught:
        signer(signed(BODY) | change)
    assert caught.value.field == "signature"


def test_a_field_that_was_taken_out_is_noticed():
    body = signed(BODY | claimed())
    del body["namespace"]
    with pytest.raises(Unauthenticated):
        signer(body)


@pytest.mark.parametrize("endpoint", ["QuerySynapse", "ingestsynapse", "IngestSynapse:", "", "/IngestSynapse"])
def test_a_signature_is_for_one_endpoint(endpoint):
    with pytest.raises(Unauthenticated):
        signer(signed(BODY), endpoint)


def test_every_bit_of_a_signature_counts():
    body = signed(BODY)
    signature = bytes.fromhex(body["signature"][2:])
    for bit in range(0, 512, 5):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unauthenticated):
            signer(body | {"signature": "0x" + flipped.hex()})


NO_SIGNATURES = [
    "", "0x", "0x00", "00" * 64, "0x" + "00" * 63, "0x" + "00" * 65, "0x" + "zz" * 64, " 0x" + "00" * 64, "0X" + "00" * 64,
    "0x" + "00" * 64 + "\n", "0x" + "\u0660" * 128, 0, True, 1.5, [], {}, ["0x" + "00" * 64], b"\0" * 64,
]  # fmt: skip


@pytest.mark.parametrize("signature", NO_SIGNATURES, ids=repr)
def test_what_is_no_signature_is_refused(signature):
    with pytest.raises(Unauthenticated) as caught:
        signer(signed(BODY) | {"signature": signature})
    assert caught.value.field == "signature"


@pytest.mark.parametrize("more", ["00", " ", "\n", "x"])
def test_a_signature_with_something_behind_it_is_refused(more):
    body = signed(BODY)
    with pytest.raises(Unauthenticated):
        signer(body | {"signature": body["signature"] + more})


def test_a_signature_may_come_without_its_0x():
    body = signed(BODY)
    assert signer(body | {"signature": body["signature"].removeprefix("0x").upper()}) == ALICE.public_key


NO_KEYS = [
    "", "x", ALICE.ss58_address[:-1], ALICE.ss58_address + "1", ALICE.ss58_address.lower(), "0x" + "a1" * 32,
    "1" * 48, "5" * 10_000, "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM", 5, True, [], {}, "\uff15" + ALICE.ss58_address[1:],
]  # fmt: skip


@pytest.mark.parametrize("hotkey", NO_KEYS, ids=lambda value: repr(value)[:20])
def test_what_is_no_hotkey_is_refused(hotkey):
    with pytest.raises(Unauthenticated):
        signer(signed(BODY) | {"hotkey": hotkey})


NO_NONCES = [str(NOW), float(NOW), True, False, [], {}, -NOW, 0, 2**63, 2**64, -(2**64), 10**400, NOW * 1_000_000]


@pytest.mark.parametrize("nonce", NO_NONCES, ids=lambda value: repr(value)[:20])
def test_what_is_no_nonce_of_now_is_refused(nonce):
    class Any:
        ss58_address = ALICE.ss58_address
        sign = ALICE.sign

    with pytest.raises(Unauthenticated) as caught:
        signer(signed(BODY, key=Any, nonce=nonce))
    assert caught.value.field == "nonce"


@pytest.mark.parametrize(
    ("skew_ms", "taken"), [(0, True), (30_000, True), (-30_000, True), (30_001, False), (-30_001, False)]
)
def test_a_nonce_is_good_for_thirty_seconds_either_way(skew_ms, taken):
    body = signed(BODY, nonce=NOW + skew_ms)
    if taken:
        assert signer(body) == ALICE.public_key
    else:
        with pytest.raises(Unauthenticated, match="more than 30 s from this node's clock"):
            signer(body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda name: name not in {"hotkey", "nonce", "signature"}), VALUES, max_size=4))
def test_any_body_verifies_as_it_came_over_the_wire(body):
    sent = json.dumps(signed(body))
    assert signer(json.loads(sent)) == ALICE.public_key


@given(st.dictionaries(st.text(), VALUES, max_size=4), VALUES, VALUES, VALUES)
def test_strangers_fields_of_any_kind_are_refused_in_words(body, hotkey, nonce, signature):
    try:
        assert signer({**body, "hotkey": hotkey, "nonce": nonce, "signature": signature}) is None
    except EngramError as error:
        assert error.code == "unauthenticated"  # noqa: PT017


SENT = json.dumps(signed(BODY | claimed())).encode()
PIECES = [
    b'"',
    b"\\",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"0",
    b"1",
    b"e",
    b".",
    b"-",
    b"null",
    b'"text":"x",',
    b"\xff",
    b"\xc3",
]


@settings(max_examples=500)
@given(
    st.lists(
        st.tuples(st.integers(0, len(SENT)), st.integers(0, 6), st.sampled_from(PIECES) | st.binary(max_size=3)),
        min_size=1,
        max_size=3,
    )
)
def test_bytes_that_were_altered_are_refused_or_say_the_same(edits):
    sent = SENT
    for at, cut, piece in edits:
        sent = sent[:at] + piece + sent[at + cut :]
    try:
        body, fields = read(sent, Ingest, "IngestSynapse")
        who = Callers(StoppedClock()).of(fields, "IngestSynapse", local=False)
    except EngramError as error:
        assert error.code in ("bad_request", "unauthenticated")  # noqa: PT017
    else:
        assert who == Caller(ALICE.public_key)
        names = ("text", "metadata", "namespace")
        assert [getattr(body, name) for name in names] == [(BODY | claimed())[name] for name in names]


def test_the_message_is_the_promised_one():
    body = {"b": "é", "a": 1.0, "hotkey": "5F", "nonce": 7, "signature": "0x"}
    hashed = hashlib.sha256(b'{"a":1.0,"b":"\\u00e9"}').hexdigest()
    assert request_message(body, "QuerySynapse") == f"7:QuerySynapse:{hashed}".encode()


# -- replays ----------------------------------------------------------------------------------------------------------


def test_a_request_counts_once():
    replays, body = Replays(NOW), signed(BODY)
    assert signer(body, replays=replays) == ALICE.public_key
    with pytest.raises(Unauthenticated, match="used it already") as caught:
        signer(body, replays=replays)
    assert caught.value.field == "nonce"


def test_a_nonce_counts_once_whatever_it_signs():
    replays = Replays(NOW)
    signer(signed(BODY), replays=replays)
    with pytest.raises(Unauthenticated):
        signer(signed({"text": "other"}), replays=replays)
    assert signer(signed({"text": "other"}, key=BOB), replays=replays) == BOB.public_key
    assert signer(signed(BODY, nonce=NOW + 1), replays=replays) == ALICE.public_key


def test_a_nonce_is_remembered_while_it_could_come_again():
    replays, body = Replays(NOW), signed(BODY, nonce=NOW + 30_000)
    signer(body, replays=replays)
    for later in range(1, 60_001, 500):
        with pytest.raises(Unauthenticated):
            signer(body, now=NOW + later, replays=replays)
    with pytest.raises(Unauthenticated, match="more than 30 s"):
        signer(body, now=NOW + 60_001, replays=replays)


def test_a_clock_that_is_set_back_lets_nothing_in_again():
    replays, body = Replays(NOW), signed(BODY)
    signer(body, replays=replays)
    signer(signed(BODY, nonce=NOW + 100_000), now=NOW + 100_000, replays=replays)
    with pytest.raises(Unauthenticated, match="before this node began"):
        signer(body, now=NOW, replays=replays)


def test_a_node_that_was_started_again_takes_nothing_from_before():
    with pytest.raises(Unauthenticated, match="before this node began"):
        signer(signed(BODY), replays=Replays(NOW + 1))


def test_a_refused_signature_uses_no_nonce():
    replays = Replays(NOW)
    with pytest.raises(Unauthenticated):
        signer(signed(BODY) | {"text": "altered"}, replays=replays)
    assert signer(signed(BODY), replays=replays) == ALICE.public_key


def test_what_is_remembered_is_bounded_and_no_request_is_let_in_unremembered():
    replays = Replays(NOW, limit=3)
    for nonce in range(NOW, NOW + 3):
        signer(signed(BODY, nonce=nonce), replays=replays)
    with pytest.raises(Busy) as caught:
        signer(signed(BODY, nonce=NOW + 3), replays=replays)
    assert caught.value.retry_after_s
    with pytest.raises(Unauthenticated):
        signer(signed(BODY, nonce=NOW), replays=replays)
    later = NOW + 32_000
    assert signer(signed(BODY, nonce=later), now=later, replays=replays) == ALICE.public_key


# -- namespaces -------------------------------------------------------------------------------------------------------


def test_who_signs_for_a_namespace_owns_it():
    assert owner_of(claimed(), NOW) == ALICE.public_key
    assert owner_of({"namespace": "notes"}, NOW) is None
    assert owner_of({}, NOW) is None


@pytest.mark.parametrize("name", ["a:1", "", "ns\n", "naïve 🧠", "x" * 128])
def test_any_name_is_signed_as_it_is(name):
    if name:
        assert owner_of(claimed(name), NOW) == ALICE.public_key
    else:
        with pytest.raises(BadRequest):
            owner_of(claimed(name), NOW)


@pytest.mark.parametrize("name", ["namespace_hotkey", "namespace_sig", "namespace_timestamp_ms"])
def test_half_a_claim_is_refused(name):
    with pytest.raises(Unauthenticated) as caught:
        owner_of(claimed() | {name: None}, NOW)
    assert caught.value.field == name


@pytest.mark.parametrize("namespace", [None, 5, ["notes"], {}])
def test_a_claim_of_no_namespace_is_refused_and_not_taken_for_the_public_one(namespace):
    with pytest.raises(BadRequest, match="missing beside its signature"):
        owner_of(claimed() | {"namespace": namespace}, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "Notes"},
        {"namespace": "notes:1"},
        {"namespace_timestamp_ms": NOW + 1},
        {"namespace_hotkey": BOB.ss58_address},
        {"namespace_sig": claimed("other")["namespace_sig"]},
        {"namespace_sig": 5},
        {"namespace_timestamp_ms": str(NOW)},
    ],
    ids=str,
)
def test_a_claim_that_was_altered_is_refused(change):
    with pytest.raises(Unauthenticated):
        owner_of(claimed() | change, NOW)


@pytest.mark.parametrize(("skew_ms", "taken"), [(60_000, True), (-60_000, True), (60_001, False), (-60_001, False)])
def test_a_claim_is_good_for_a_minute_either_way(skew_ms, taken):
    if taken:
        assert owner_of(claimed(timestamp_ms=NOW + skew_ms), NOW)
    else:
        with pytest.raises(Unauthenticated, match="more than 60 s"):
            owner_of(claimed(timestamp_ms=NOW + skew_ms), NOW)


# -- callers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unsigned", "local", "caller"),
    [
        ("loopback", True, OPERATOR), ("loopback", False, None), ("everyone", True, OPERATOR),
        ("everyone", False, ANONYMOUS), ("nobody", True, None), ("nobody", False, None),
    ],
)  # fmt: skip
def test_whose_unsigned_requests_are_served(unsigned, local, caller):
    callers = Callers(StoppedClock(), unsigned)
    if caller is None:
        with pytest.raises(Unauthenticated, match="wants requests signed"):
            callers.of(BODY, "IngestSynapse", local=local)
    else:
        assert callers.of(BODY, "IngestSynapse", local=local) == caller


@pytest.mark.parametrize("unsigned", ["loopback", "everyone", "nobody"])
@pytest.mark.parametrize("local", [True, False])
def test_who_signs_is_himself_everywhere_and_never_the_operator(unsigned, local):
    callers = Callers(StoppedClock(), unsigned)
    assert callers.of(signed(BODY), "IngestSynapse", local=local) == Caller(ALICE.public_key)


def test_a_bad_signature_is_refused_where_none_at_all_is_served():
    callers = Callers(StoppedClock(), "everyone")
    with pytest.raises(Unauthenticated):
        callers.of(signed(BODY) | {"text": "altered"}, "IngestSynapse", local=True)
    with pytest.raises(Unauthenticated):
        callers.of(BODY | {"hotkey": ALICE.ss58_address}, "IngestSynapse", local=True)
    with pytest.raises(Unauthenticated):
        callers.of(BODY | claimed() | {"namespace_timestamp_ms": NOW + 1}, "IngestSynapse", local=True)


def test_a_stolen_claim_is_no_use_to_another_hotkey():
    callers = Callers(StoppedClock())
    with pytest.raises(Forbidden):
        callers.of(signed(BODY | claimed(key=ALICE), key=BOB), "IngestSynapse", local=False)


@pytest.mark.parametrize("unsigned", ["loopback", "everyone"])
def test_a_claim_alone_signs_no_request_from_elsewhere(unsigned):
    callers = Callers(StoppedClock(), unsigned)
    with pytest.raises(Unauthenticated):
        callers.of(BODY | claimed(), "IngestSynapse", local=False)
    assert callers.of(BODY | claimed(), "IngestSynapse", local=True) == Caller(ALICE.public_key)
