"""Strangers at the door: bytes that are no message, clients that vanish, clients that come all at once."""

from __future__ import annotations

import os
import socket
import struct
import threading

import pytest
from e2e.processes import Peer, pack, unchanged

MIB = 1 << 20
PUT_TEXT = b"\x94\x00\x07\xa3put\x91\x81\xa4text"


@pytest.fixture
def peer(node):
    with Peer(node.port) as peer:
        yield peer


# -- what ends the connection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"\xc1", "bad_request", "the byte 0xc1 is reserved"),
        (PUT_TEXT + b"\xdb" + struct.pack(">I", 9 * MIB) + b"x" * 9 * MIB, "too_large", "larger than 8388608 bytes"),
        (PUT_TEXT + b"\xdb" + struct.pack(">I", 9 * MIB), "too_large", "larger than 8388608 bytes"),
        (b"\xc6\xff\xff\xff\xff", "too_large", "larger than 8388608 bytes"),
        (b"\x91" * 100_000, "bad_request", "nested more than 32 deep"),
        (b"\x81\xa1a" * 100_000, "bad_request", "nested more than 32 deep"),
    ],
    ids=["reserved byte", "9 MiB", "9 MiB promised", "4 GiB promised", "arrays 100,000 deep", "maps 100,000 deep"],
)
def test_what_cannot_be_followed_is_told_so_and_let_go(node, peer, data, code, said):
    with unchanged(node):
        peer.send(data)
        kind, method, [error] = peer.receive()
        assert (kind, method, error["code"]) == (2, "error", code)
        assert said in error["message"]
        assert peer.receive() is None


# -- what costs one message -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [pack(None), pack("hi"), pack([2, "x", [{}]]), pack([1, 1, None, None]), pack([0, -1, "status", [{}]]), pack([0, 2**32, "status", [{}]])])  # fmt: skip
def test_a_message_that_is_no_request_is_told_so_and_the_connection_lives(node, peer, data):
    with unchanged(node):
        peer.send(data)
        kind, method, [error] = peer.receive()
        assert (kind, method, error["code"]) == (2, "error", "bad_request")
        assert "not a request [0, id, method, [params]] with an id of 32 bits" in error["message"]
        assert peer.call("status", {})[0] is None


BAD_CALLS = [
    (PUT_TEXT + b"\xa2\xff\xfe", "bad_request", "text", "not UTF-8"),
    (PUT_TEXT + b"\xa3\xed\xa0\x80", "bad_request", "text", "not UTF-8"),  # a lone surrogate
    (b"\x94\x00\x07\xa3put\x91\x82\xa4text\xa1a\xa4text\xa1b", "bad_request", "text", "comes twice"),
    (
        b"\x94\x00\x07\xa3put\x91\x82\xa4text\xa1a\xa8metadata\x82\xa1k\x01\xa1k\x02",
        "bad_request",
        "metadata.k",
        "twice",
    ),
    (b"\x94\x00\x07\xa3put\x91\x82\xa4text\xa1a\xa8metadata\x81\x01\x02", "bad_request", "metadata", "not a string"),
    (b"\x94\x00\x07\xa3put\x91\x82\xa4text\xa1a\xa8metadata\x81\xa1k\xd4\x01\x00", "bad_request", "metadata.k", "ext"),
    (pack([0, 7, "put", [{"text": "a", "metadata": {"x": float("nan")}}]]), "unprocessable", "metadata.x", "NaN"),
    (pack([0, 7, "put", [{"vector": [float("inf")] * 384}]]), "unprocessable", "vector", "number 0 is inf"),
    (pack([0, 7, "put", [{"vector": b"\0\0\xc0\x7f" * 384}]]), "unprocessable", "vector", "number 0 is NaN"),
    (pack([0, 7, "put", [{"vector": b"abc"}]]), "unprocessable", "vector", "3 bytes are not whole float32"),
    (pack([0, 7, "put", [{"vector": b""}]]), "unprocessable", "vector", "is empty"),
    (pack([0, 7, "put", [{"vector": [0] * 384}]]), "unprocessable", "vector", "the vector is zero"),
    (pack([0, 7, "put", [{"text": ""}]]), "unprocessable", "text", "it is empty"),
    (pack([0, 7, "put", [{"text": " \n"}]]), "unprocessable", "text", "it is empty"),
    (pack([0, 7, "put", [{"text": "x" * 1_000_001}]]), "too_large", "text", "over the limit of 1000000"),
    (pack([0, 7, "put", [{}]]), "bad_request", "text", "a text, a vector, or both"),
    (pack([0, 7, "put", [{"text": "a", "metadata": {"engram.x": 1}}]]), "unprocessable", "metadata", "is ours"),
    (pack([0, 7, "query", [{"text": "a", "top_k": 2**64 - 1}]]), "bad_request", "top_k", "<= 9223372036854775807"),
    (pack([0, 7, "query", [{"text": "a", "topk": 1}]]), "bad_request", "topk", "did you mean `top_k`?"),
    (pack([0, 7, "query", [{}, {}]]), "bad_request", None, "an array that holds one map"),
    (pack([0, 7, "query", {}]), "bad_request", None, "an array that holds one map"),
    (pack([0, 7, "qurey", [{}]]), "unknown_method", "method", "did you mean query?"),
    (pack([0, 7, "x" * 100_000, [{}]]), "unknown_method", "method", "the methods are"),
    (pack([0, 7, b"status", [{}]]), "bad_request", "method", "must be a string"),
    (pack([0, 7, "hello", [{"protocol": 2, "agent": "x", "nonce": b""}]]), "bad_request", "protocol", "speaks 1"),
    (pack([0, 7, "hello", [{"protocol": 1, "agent": "x", "nonce": b""}]]), "bad_request", "nonce", "32"),
    (pack([0, 7, "embed", [{"texts": ["a"] * 1001}]]), "too_large", "texts", "<= 1000"),
    (pack([0, 7, "put_many", [{"items": [{"text": "a"}, {"txt": "b"}]}]]), "bad_request", "items[1].txt", "`text`?"),
]


@pytest.mark.parametrize(("data", "code", "field", "said"), BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_a_bad_call_is_answered_under_its_id_and_the_connection_lives(node, peer, data, code, field, said):
    with unchanged(node):
        peer.send(data)
        kind, call_id, error, result = peer.receive()
        assert (kind, call_id, result) == (1, 7, None)
        assert (error["code"], error.get("field")) == (code, field), error
        assert said in error["message"]
        assert len(error["message"]) < 400
        assert peer.call("status", {})[0] is None


def test_an_id_in_flight_is_refused_and_the_first_call_answered(node, peer):
    with unchanged(node):
        peer.send(pack([0, 9, "query", [{"text": "cat"}]]) * 2)
        answers = [peer.receive(), peer.receive()]
    assert {answer[1] for answer in answers} == {9}
    assert sorted(answer[2] is None for answer in answers) == [False, True]


def test_other_protocols_are_survived(node):
    with unchanged(node):
        for data in (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.0\r\n\r\n",
            bytes.fromhex("160301020001000001fc0303") + os.urandom(500),
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\0" * 4096,
        ):
            with Peer(node.port) as peer:
                peer.send(data)
                message = peer.socket.recv(65536)
                assert b"bad_request" in message or b"too_large" in message


# -- what comes in half, and who goes ---------------------------------------------------------------------------------


def test_half_a_message_holds_up_nobody(node):
    with unchanged(node), Peer(node.port) as silent, Peer(node.port) as other:
        silent.send(PUT_TEXT + b"\xdb" + struct.pack(">I", MIB) + b"x" * 1000)
        assert other.call("status", {})[0] is None
        silent.socket.settimeout(0)
        with pytest.raises(BlockingIOError):
            silent.socket.recv(1)


def test_half_a_message_and_then_the_end_is_nothing(node):
    with unchanged(node), Peer(node.port) as peer:
        peer.send(PUT_TEXT + b"\xdb" + struct.pack(">I", MIB) + b"x" * 1000)
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.receive() is None


def test_a_whole_call_and_then_the_end_is_answered(node, peer):
    peer.send(pack([0, 1, "status", [{}]]))
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.receive()[:3] == [1, 1, None]
    assert peer.receive() is None


@pytest.mark.slow  # a minute of silence
def test_half_a_message_is_waited_for_a_minute(node, peer):
    with unchanged(node):
        peer.socket.settimeout(90)
        peer.send(PUT_TEXT)
        kind, method, [error] = peer.receive()
        assert (kind, method, error["code"]) == (2, "error", "deadline")
        assert "no more for 60 s" in error["message"]
        assert peer.receive() is None


def test_a_client_that_vanishes_mid_call_troubles_nobody_and_its_put_may_be_sent_again(node, client):
    texts = [f"from one who vanished {number}" for number in range(20)]
    for text in texts:
        with Peer(node.port) as peer:
            peer.send(pack([0, 1, "put", [{"text": text}]]))
            # no linger: the kernel answers what comes back with a reset
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    kept = set(client.ingest_many(texts))
    assert len(kept) == len(texts)
    with unchanged(node):
        assert set(client.ingest_many(texts)) == kept


def test_answers_that_nobody_reads_stop_only_that_client(node, client):
    client.ingest_many([{"text": "word " * 100, "metadata": {"filler": "y" * 3000, "n": n}} for n in range(100)])
    with unchanged(node), Peer(node.port) as greedy:
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.socket.settimeout(2)
        greedy.send(b"".join(pack([0, n, "list", [{"limit": 1000}]]) for n in range(40)))
        assert client.query("word", top_k=1)


def test_two_hundred_clients_at_once(node):
    with node.client() as judge:
        before = judge.status().position
    peers = [Peer(node.port) for _ in range(200)]
    try:
        for number, peer in enumerate(peers):
            vector = [1.0, 2.0, float(number + 1), *[0.0] * 381]
            peer.send(
                pack([0, 1, "put", [{"vector": vector}]]) + pack([0, 2, "query", [{"vector": vector, "top_k": 3}]])
            )
        for peer in peers:
            answers = sorted([peer.receive(), peer.receive()], key=lambda answer: answer[1])
            assert [answer[2] for answer in answers] == [None, None]
            assert len(answers[1][3]["hits"]) == 3
    finally:
        for peer in peers:
            peer.socket.close()
    with node.client() as judge:
        assert judge.status().position == before + 200


def test_the_same_text_from_twenty_threads_is_one_event(node):
    cids, gate = [], threading.Barrier(20)

    def put():
        with node.client() as client:
            client.status()
            gate.wait()
            cids.append(client.ingest("said by twenty at once", {"k": 1}))

    with node.client() as judge:
        before = judge.status().position
        threads = [threading.Thread(target=put) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(cids) == 20
        assert len(set(cids)) == 1
        assert judge.status().position == before + 1
