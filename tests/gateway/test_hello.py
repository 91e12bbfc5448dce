"""Who speaks on a connection: `hello`, `prove`, and what comes in the wrong order. The bytes are formats.md's."""

import json
from pathlib import Path

import pytest
from dict_service import DictService

from engram.errors import BadRequest, Conflict, HelloRequired, Unauthenticated
from engram.gateway._hello import Introduction
from engram.identity import ANONYMOUS, OPERATOR, Caller, NodeKey, hello_message, verify
from engram.wire import Hello, Ping, Prove, ProveResult, Put

SIGNED = json.loads((Path(__file__).parents[1] / "data" / "formats.json").read_text())["signed"]
NODE, USER = (bytes.fromhex(SIGNED["public_keys_hex"][name]) for name in ("node", "user"))
CALLER_NONCE, SERVER_NONCE = b"\1" * 32, b"\2" * 32
CERTIFICATE = b"certificate, as DER"
KEY = NodeKey(b"\x11" * 32)


@pytest.fixture
def service():
    return DictService()


@pytest.fixture
def far(service):
    """What a connection by TLS, from elsewhere, knows at first."""
    return Introduction(service, ANONYMOUS, CERTIFICATE)


def hello(key=KEY, nonce=CALLER_NONCE):
    return Hello(protocol=1, agent="test", nonce=nonce, node_key=key and key.public)


def proof(said, key=KEY, certificate=CERTIFICATE, side=0):
    return Prove(
        signature=key.sign(hello_message(side, CALLER_NONCE, said.nonce, certificate, key.public, said.node_key))
    )


@pytest.mark.parametrize(
    ("name", "message", "signer"),
    [
        ("hello, server, TLS", (1, b"not a real certificate", NODE, USER), NODE),
        ("hello, caller, plain loopback", (0, None, USER, NODE), USER),
        ("hello, server, caller without a key", (1, None, NODE, None), NODE),
    ],
)
def test_what_is_signed_are_the_formats_bytes(name, message, signer):
    (golden,) = (each for each in SIGNED["messages"] if each["name"] == name)
    side, certificate, own, peer = message
    data = hello_message(side, CALLER_NONCE, SERVER_NONCE, certificate, own, peer)
    assert data.hex() == golden["message_hex"]
    if "signature_hex" in golden:
        assert verify(signer, data, bytes.fromhex(golden["signature_hex"]))


def test_the_node_signs_both_nonces_and_its_certificate(service, far):
    said = far.answer(hello())
    bound = hello_message(1, CALLER_NONCE, said.nonce, CERTIFICATE, said.node_key, KEY.public)
    assert verify(said.node_key, bound, said.signature)
    for other in (
        hello_message(1, CALLER_NONCE, said.nonce, None, said.node_key, KEY.public),
        hello_message(1, b"\3" * 32, said.nonce, CERTIFICATE, said.node_key, KEY.public),
        hello_message(1, CALLER_NONCE, said.nonce, CERTIFICATE, said.node_key, None),
    ):
        assert not verify(said.node_key, other, said.signature)
    assert said.node_key == service.key.public


@pytest.mark.parametrize("request_", [Ping(), Put(text="a"), Prove(signature=bytes(64))])
def test_on_tls_nothing_goes_before_hello(far, request_):
    with pytest.raises(HelloRequired, match="before anything else on TLS"):
        far.answer(request_)
    assert far.caller == ANONYMOUS
    far.answer(hello(None))
    if not isinstance(request_, Prove):
        assert far.answer(request_) is None  # it may be made


def test_hello_alone_makes_nobody_known(far):
    far.answer(hello())
    assert far.caller == ANONYMOUS


def test_who_proves_its_key_speaks_with_it(far):
    assert far.answer(proof(far.answer(hello()))) == ProveResult(node_key=KEY.public, operator=False)
    assert far.caller == Caller(KEY.public, operator=False)


def test_who_has_the_nodes_own_key_is_the_operator(service, far):
    said = far.answer(hello(service.key))
    assert far.answer(proof(said, service.key)).operator
    assert far.caller == Caller(service.key.public, operator=True)


def test_on_loopback_the_operator_may_become_somebody_else(service):
    near = Introduction(service, OPERATOR)
    assert near.answer(Put(text="a")) is None  # calls before hello
    said = near.answer(hello())
    assert near.caller == OPERATOR
    near.answer(proof(said, certificate=None))
    assert near.caller == Caller(KEY.public, operator=False)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda said: Prove(signature=b""),  # noqa: ARG005
        lambda said: Prove(signature=bytes(64)),  # noqa: ARG005
        lambda said: Prove(signature=said.signature),  # the node's own, reflected
        lambda said: proof(said, side=1),
        lambda said: proof(said, certificate=None),
        lambda said: proof(said, certificate=b"another's, who stands between"),
        lambda said: proof(said, NodeKey(b"\x12" * 32)),
    ],
    ids=["empty", "zeros", "reflected", "side", "no certificate", "man in the middle", "another key"],
)
def test_a_wrong_signature_proves_nothing_and_is_the_only_try(far, wrong):
    said = far.answer(hello())
    with pytest.raises(Unauthenticated) as refused:
        far.answer(wrong(said))
    assert refused.value.field == "signature"
    assert far.caller == ANONYMOUS
    with pytest.raises(BadRequest, match="say hello"):
        far.answer(proof(said))
    assert far.answer(proof(far.answer(hello()))).node_key == KEY.public


def test_a_proof_is_of_no_use_on_another_connection(service, far):
    proved = proof(far.answer(hello()))
    far.answer(proved)
    another = Introduction(service, ANONYMOUS, CERTIFICATE)
    another.answer(hello())
    with pytest.raises(Unauthenticated):
        another.answer(proved)
    with pytest.raises(BadRequest, match="say hello"):
        far.answer(proved)  # nor twice on its own


def test_a_proof_is_of_the_latest_hello(far):
    first = far.answer(hello())
    far.answer(hello())
    with pytest.raises(Unauthenticated):
        far.answer(proof(first))


def test_prove_without_a_key_in_hello_is_refused(far):
    said = far.answer(hello(None))
    with pytest.raises(BadRequest, match="with your node_key first"):
        far.answer(proof(said))


def test_a_connection_has_one_proved_key(far):
    far.answer(proof(far.answer(hello())))
    with pytest.raises(Conflict, match="open another"):
        far.answer(hello(NodeKey(b"\x12" * 32)))
    assert far.caller.key == KEY.public


def test_a_hello_that_is_refused_opens_nothing(service):
    class Refuses(DictService):
        def hello(self, *_):
            raise BadRequest("nonce: 0 bytes; it has 32", field="nonce")

    far = Introduction(Refuses(), ANONYMOUS, CERTIFICATE)
    with pytest.raises(BadRequest):
        far.answer(hello())
    with pytest.raises(HelloRequired):
        far.answer(Ping())
