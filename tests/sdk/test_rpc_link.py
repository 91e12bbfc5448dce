"""What is RPC's own: several calls in flight, connections and their ends, peers that misbehave."""

import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import pytest
from dict_service import DictService

from engram.errors import Busy, DeadlineExceeded, EngramError, TooLarge, Unavailable, Unprocessable
from engram.native._core import MessageScanner
from engram.sdk import EngramClient
from engram.sdk._items import batches, slots_of
from engram.sdk._sync._iterate import each
from engram.wire import Put, PutResult

pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


def rpc(url):
    return EngramClient(url, timeout=20)._calls


pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


class Flaky:
    """A peer that answers its connections by a script of handlers, and counts what it was sent."""

    def __init__(self, *handlers):
        self.received = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"engram://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, args=(handlers,))
        self._thread.start()

    def _run(self, handlers):
        for handler in handlers:
            stream, _ = self._server.accept()
            with stream:
                handler(self, stream)

    def take(self, stream):
        message = unpack(stream.recv(100_000))
        self.received.append(message)
        return message

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(20)
        self._server.close()


def drop(peer, stream):
    peer.take(stream)


def answer(peer, stream):
    _, call_id, _, _ = peer.take(stream)
    stream.sendall(pack([1, call_id, None, {"cid": "v1::1", "position": 3, "created": True}]))
    stream.recv(1)


def test_a_batch_is_read_as_it_is_sent(node):
    client = EngramClient(node.url, timeout=20)
    drawn = 0

    def items():
        nonlocal drawn
        for n in range(100_000):
            drawn += 1
            yield f"text {n}"

    stream = client._ingest(each(batches(slots_of(items()))), None, None, None)
    first = next(stream)
    stream.close()
    assert client.get(first.cid).text == "text 0"
    assert drawn <= 600
    assert client.is_online()
    client.close()


def test_single_calls_in_flight_keep_their_order_and_their_errors(node):
    texts = [f"text {n}" if n % 5 else "refuse me" for n in range(40)]
    transport = rpc(node.url)
    outcomes = list(transport.call_many((Put(text=text) for text in texts), window=7))
    assert [isinstance(outcome, Unprocessable) for outcome in outcomes] == [text == "refuse me" for text in texts]
    kept = [outcome.cid for outcome in outcomes if not isinstance(outcome, EngramError)]
    assert kept == [transport.call(Put(text=text)).cid for text in texts if text != "refuse me"]
    transport.close()


def test_calls_whose_turn_it_is_leave_together(node):
    """A node carries out what came together in one go: one call in each packet would be one at a time."""

    def answers(peer, stream):
        scanner = MessageScanner()
        for _ in range(3):
            messages = []
            while len(messages) < 8:
                messages += scanner.feed(stream.recv(100_000))[0]
            peer.received.append(len(messages))
            done = [
                [1, unpack(message)[1], None, {"cid": "v1::1", "position": 3, "created": True}] for message in messages
            ]
            stream.sendall(b"".join(map(pack, done)))
        stream.recv(1)

    with Flaky(answers) as peer:
        transport = rpc(peer.url)
        outcomes = list(transport.call_many((Put(text="a") for _ in range(24)), window=8))
        transport.close()
    assert [outcome.cid for outcome in outcomes] == ["v1::1"] * 24
    assert peer.received == [8, 8, 8]


def test_one_that_cannot_be_sent_holds_up_none_of_those_beside_it(node):
    transport = rpc(node.url)
    texts = ["a", "x" * 9_000_000, "b", "\ud800", "c"]
    outcomes = list(transport.call_many((Put(text=text) for text in texts), window=8))
    assert [type(outcome) for outcome in outcomes] == [PutResult, TooLarge, PutResult, Unprocessable, PutResult]
    transport.close()


def test_ipv6_is_spoken(connect, node):
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with server, connect(f"engram://[::1]:{server.getsockname()[1]}", timeout=20) as client:
        answering = threading.Thread(target=answer_status, args=(server,))
        answering.start()
        assert client.is_online()
        answering.join(20)


def answer_status(server):
    stream, _ = server.accept()
    with stream:
        (call_id,) = {unpack(stream.recv(1000))[1]}
        stream.sendall(pack([1, call_id, {"code": "forbidden", "message": "no"}, None]))


def test_positions_of_a_lost_log_are_forgotten(node, client):
    for n in range(5):
        client.ingest(str(n))
    node.stop()
    node.service = DictService()
    node.start()
    assert client.query("a") == []
    assert node.service.requests[-1].min_position == 0


def test_a_put_whose_answer_was_lost_is_made_again_once(connect):
    with Flaky(drop, answer) as peer, connect(peer.url, timeout=20) as client:
        assert client.ingest("a") == "v1::1"
    assert [message[2] for message in peer.received] == ["put", "put"]
    with (
        Flaky(drop, drop) as peer,
        connect(peer.url, timeout=20) as client,
        pytest.raises(Unavailable, match="lost before the put was answered"),
    ):
        client.ingest("a")


def test_a_delete_whose_answer_was_lost_is_not_made_again(connect):
    with (
        Flaky(drop) as peer,
        connect(peer.url, timeout=20) as client,
        pytest.raises(Unavailable, match="ask whether it has happened"),
    ):
        client.delete("v1::1")
    assert len(peer.received) == 1


def test_busy_is_waited_out(connect):
    def busy_then_answer(peer, stream):
        _, call_id, _, _ = peer.take(stream)
        stream.sendall(pack([1, call_id, {"code": "busy", "message": "b", "retry_after_s": 0.01}, None]))
        answer(peer, stream)

    with Flaky(busy_then_answer) as peer, connect(peer.url, timeout=20) as client:
        assert client.ingest("a") == "v1::1"


def test_a_full_node_is_waited_out_and_then_told(connect):
    def refuse(peer, stream):
        stream.sendall(pack([2, "error", [{"code": "busy", "message": "full", "retry_after_s": 0.01}]]))
        stream.shutdown(socket.SHUT_WR)
        stream.recv(100_000)

    with Flaky(refuse, refuse, answer) as peer, connect(peer.url, timeout=20) as client:
        assert client.ingest("a") == "v1::1"

    def refuse_for_long(peer, stream):
        stream.sendall(pack([2, "error", [{"code": "busy", "message": "full", "retry_after_s": 60.0}]]))
        stream.shutdown(socket.SHUT_WR)
        stream.recv(100_000)

    with Flaky(refuse_for_long) as peer, connect(peer.url, timeout=5) as client, pytest.raises(Busy):
        client.ingest("a")


def test_a_peer_that_is_no_node_is_told_apart(connect):
    def http(peer, stream):
        stream.recv(1000)
        stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        Flaky(http) as peer,
        connect(peer.url, timeout=20) as client,
        pytest.raises(Unavailable, match="does not speak"),
    ):
        client.status()


def test_a_deadline_holds_though_signals_interrupt_the_wait():
    """The kernel's timeout of a socket began anew at each, and the call waited for ever."""
    main, ended, heard = threading.get_ident(), threading.Event(), []

    def signals():
        while not ended.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    def handler(*_):
        heard.append(time.monotonic())
        assert heard[-1] - heard[0] < 20, "the call still waits"

    signalling, before = threading.Thread(target=signals), signal.signal(signal.SIGUSR1, handler)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = EngramClient(f"engram://127.0.0.1:{silent.getsockname()[1]}", timeout=1.5)
        signalling.start()
        try:
            with pytest.raises(DeadlineExceeded, match=r"1\.5 s"):
                client.status()
        finally:
            ended.set()
            signalling.join()
            signal.signal(signal.SIGUSR1, before)
            client.close()
    assert len(heard) > 1


def test_a_forked_client_has_connections_of_its_own(node):
    script = (
        "import os, sys\n"
        "from engram.sdk import EngramClient\n"
        "with EngramClient(sys.argv[1]) as client:\n"
        "    port = lambda: client._calls._pool._idle[0]._socket.getsockname()\n"
        "    client.ingest('a')\n"
        "    parents = port()\n"
        "    child = os.fork()\n"
        "    client.ingest('child' if child == 0 else 'parent')\n"
        "    if child == 0:\n"
        "        os._exit(port() == parents)\n"
        "    assert port() == parents\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", script, node.url], check=True, timeout=60)
    assert {item.text for item, _ in node.service.records.values()} == {"a", "child", "parent"}


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.put("a", key="k", expect=None),
        lambda client: client.keys.set("k", "v1::1", expect="v1::2"),
        lambda client: client.keys.delete("k"),
        lambda client: client.namespaces.delete("n"),
    ],
)
def test_what_would_find_its_own_work_is_not_made_again(connect, call):
    with (
        Flaky(drop) as peer,
        connect(peer.url, timeout=20) as client,
        pytest.raises(Unavailable, match="ask whether it has happened"),
    ):
        call(client)
    assert len(peer.received) == 1


def test_a_batch_in_which_something_is_expected_is_not_made_again(connect):
    with Flaky(drop) as peer, connect(peer.url, timeout=20) as client:
        outcomes = client.ingest_many(["a", {"text": "b", "key": "k", "expect": None}])
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert len(peer.received) == 1


def test_half_an_answer_is_a_lost_one(connect):
    def half(peer, stream):
        _, call_id, _, _ = peer.take(stream)
        stream.sendall(pack([1, call_id, None, {"cid": "v1::1", "position": 3, "created": True}])[:-4])

    with Flaky(half, answer) as peer, connect(peer.url, timeout=20) as client:
        assert client.ingest("a") == "v1::1"
    assert len(peer.received) == 2
