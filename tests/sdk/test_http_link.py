"""What is HTTP's own: answers that are lost, late, or no node's; certificates; a log that was put back."""

import json
import os
import socket
import threading
from functools import partial

import pytest
import trio
from doors import Node
from far_network import ELSEWHERE, FarNetwork
from test_tls import certify

from engram.errors import Busy, Conflict, DeadlineExceeded, RateLimited, Unauthenticated, Unavailable
from engram.gateway.http import serve_http

PUT = {"cid": "v1::1", "position": 3, "created": True}


def reply(status, body, *headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(data)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


class Peer:
    """Answers one request a connection, each as its turn says: bytes to send, or what to do with the connection."""

    def __init__(self, *turns):
        self.requests = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, args=(turns,))
        self._thread.start()

    def _run(self, turns):
        for turn in turns:
            stream, _ = self._server.accept()
            with stream:
                stream.settimeout(20)
                self.requests.append(self._take(stream))
                if callable(turn):
                    turn(stream)
                else:
                    stream.sendall(turn)

    def _take(self, stream):
        data = b""
        while b"\r\n\r\n" not in data:
            data += stream.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        while len(body) < sum(map(int, sizes)):
            body += stream.recv(65536)
        return head.split(b"\r\n")[0].decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(20)
        self._server.close()


def drop(stream):
    stream.shutdown(socket.SHUT_RDWR)


def wait(stream):
    stream.recv(1)


CLOSE = "connection: close"


def test_a_put_whose_answer_was_lost_is_made_again_once(connect):
    with Peer(drop, reply(200, PUT, CLOSE)) as peer, connect(peer.url, timeout=20) as client:
        assert client.ingest("a") == "v1::1"
    assert peer.requests == ["POST /v1/memories HTTP/1.1"] * 2
    with Peer(drop, drop) as peer, connect(peer.url, timeout=20) as client, pytest.raises(Unavailable, match="lost"):
        client.ingest("a")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.delete("v1::1"),
        lambda client: client.put("a", key="k", expect=None),
        lambda client: client.keys.delete("k"),
    ],
)
def test_what_would_find_its_own_work_is_not_made_again(connect, call):
    with (
        Peer(drop) as peer,
        connect(peer.url, timeout=20) as client,
        pytest.raises(Unavailable, match="ask whether it has happened"),
    ):
        call(client)
    assert len(peer.requests) == 1


def test_half_an_answer_is_a_lost_one(connect):
    whole = reply(200, PUT, CLOSE)
    for half in (whole[:20], whole[:-5]):
        with Peer(half, whole) as peer, connect(peer.url, timeout=20) as client:
            assert client.ingest("a") == "v1::1"


@pytest.mark.parametrize(("status", "code", "cls"), [(503, "busy", Busy), (429, "rate_limited", RateLimited)])
def test_what_was_not_carried_out_is_waited_for_and_then_told(connect, status, code, cls):
    soon = reply(status, {"error": "e", "code": code, "retry_after_s": 0.01}, CLOSE)
    with Peer(soon, soon, reply(200, PUT, CLOSE)) as peer, connect(peer.url, timeout=20) as client:
        assert client.ingest("a") == "v1::1"
    late = reply(status, {"error": "e", "code": code, "retry_after_s": 60}, CLOSE)
    with Peer(late) as peer, connect(peer.url, timeout=5) as client, pytest.raises(cls) as told:
        client.ingest("a")
    assert told.value.retry_after_s == 60


def test_an_error_comes_whole(connect):
    body = {"error": "taken", "code": "conflict", "field": "expect", "current": "v1::9"}
    with Peer(reply(409, body)) as peer, connect(peer.url, timeout=20) as client, pytest.raises(Conflict) as told:
        client.put("a", key="k", expect=None)
    assert (told.value.message, told.value.field, told.value.current) == ("taken", "expect", "v1::9")


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"<html>welcome</html>", CLOSE),
        reply(200, b"", CLOSE),
        reply(200, [1, 2], CLOSE),
        reply(200, {"position": "x"}, CLOSE),
        reply(502, b"bad gateway", CLOSE),
        reply(404, b"nothing here", CLOSE),
        reply(301, b"", "location: http://127.0.0.1:1/", CLOSE),
        reply(200, b"\xff" * 100, CLOSE),
        reply(200, b"[" * 100_000, CLOSE),
    ],
    ids=["html", "empty", "list", "fields", "502", "404", "moved", "not UTF-8", "deep"],
)
def test_a_peer_that_is_no_node_is_told_apart(connect, answer):
    with Peer(answer) as peer, connect(peer.url, timeout=20) as client, pytest.raises(Unavailable, match="speak"):
        client.status()


def test_what_is_no_http_is_told(connect):
    odd = b"\x93\x01\x02"
    with Peer(odd, odd) as peer, connect(peer.url, timeout=20) as client, pytest.raises(Unavailable):
        client.status()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpx leaves its generators to trio
def test_an_answer_that_never_ends_is_given_up(connect, monkeypatch):
    for half in ("_async", "_sync"):
        monkeypatch.setattr(f"engram.sdk.{half}._http._ANSWER_BYTES", 100_000)

    def endless(stream):
        stream.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                stream.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        except OSError:
            pass

    with (
        Peer(endless) as peer,
        connect(peer.url, timeout=20) as client,
        pytest.raises(Unavailable, match="100000 bytes"),
    ):
        client.status()


def test_no_answer_in_time_is_a_deadline(connect):
    with Peer(wait) as peer, connect(peer.url, timeout=0.3) as client:
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
            client.status()
        client.close()


def test_a_path_before_the_nodes_own_is_kept(connect):
    with Peer(reply(200, PUT, CLOSE)) as peer, connect(f"{peer.url}/engram/", timeout=20) as client:
        client.ingest("a")
    assert peer.requests == ["POST /engram/v1/memories HTTP/1.1"]


def test_no_node_is_a_clear_error(connect):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = connect(f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable, match=rf"no node answers at http://127\.0\.0\.1:{port} \(Connection refused\)"):
        client.status()
    assert client.is_online() is False


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_positions_of_a_log_that_was_put_back_are_forgotten(connect, real, tmp_path):
    client = connect(real.url, timeout=30)
    client.namespaces.create("n", dim=2, model="m")
    cids = [client.ingest_embedding([1.0, n], namespace="n", model_version="m") for n in range(5)]
    real.stop()
    real.folder = tmp_path / "older"
    real.start()
    client.namespaces.create("n", dim=2, model="m")
    assert client.query_by_vector([1.0, 1.0], namespace="n") == []
    client.ingest_embedding([1.0, 0.0], namespace="n", model_version="m")
    assert [hit.cid for hit in client.query_by_vector([1.0, 1.0], namespace="n")] == cids[:1]


class SecureNode(Node):
    """A door of HTTPS."""

    def __init__(self, certificate):
        self._certificate = certificate
        super().__init__()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    async def _main(self, ready):
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            serve = partial(
                serve_http, self.service, host=ELSEWHERE, port=self.port, network=FarNetwork(),
                certificate=self._certificate,
            )  # fmt: skip
            server = await nursery.start(serve)
            self.port = server.addresses[0][1]
            ready.set()


@pytest.fixture
def secure(tmp_path):
    node = SecureNode(certify(tmp_path, "node"))
    yield node
    node.stop()


def test_https_is_verified_unless_told_otherwise(connect, secure, tmp_path):
    with pytest.raises(Unauthenticated, match="give ca="):
        connect(secure.url, 20).ingest("a")
    assert secure.service.requests == []
    assert connect(secure.url, 20, ca=tmp_path / "node.pem").ingest("a")
    assert connect(secure.url, 20, verify=False).ingest("a")
    assert connect(secure.url, 20, ca=os.fspath(tmp_path / "node.pem")).is_online()
