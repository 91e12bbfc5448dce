"""The RPC door over real sockets on loopback: limits, strangers, and ends."""

import socket
import struct
from contextlib import suppress
from functools import partial

import msgspec
import pytest
import trio
import trio.testing
from dict_service import DictService
from structlog.testing import capture_logs

from engram.errors import Conflict, Unavailable, Unprocessable
from engram.gateway import RpcSettings, serve_rpc
from engram.limits import Limits
from engram.native._core import MessageScanner
from engram.wire import Put, Query, QueryResult, Status

pytestmark = pytest.mark.trio
pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


@pytest.fixture
def service():
    return DictService()


@pytest.fixture
async def start(nursery, service):
    """Start a door for the test's service; give its server and what marks its end."""

    async def start_it(served=service, **options):
        ended = trio.Event()

        async def run(task_status):
            await serve_rpc(served, port=0, task_status=task_status, **options)
            ended.set()

        server = await nursery.start(run)
        return server, ended

    yield start_it
    nursery.cancel_scope.cancel()


class Peer:
    """A client made of a stream and a msgpack library, and nothing of ours but the scanner."""

    def __init__(self, stream):
        self.stream = stream
        self.scanner = MessageScanner()
        self.ready = []

    async def send(self, *messages):
        await self.stream.send_all(b"".join(m if isinstance(m, bytes) else pack(m) for m in messages))

    async def receive(self):
        """Give the next message, or None at the end."""
        with trio.fail_after(20):
            while not self.ready:
                data = await self.stream.receive_some(65536)
                if not data:
                    return None
                self.ready += map(unpack, self.scanner.feed(bytes(data))[0])
        return self.ready.pop(0)

    async def call(self, method, params, call_id=1):
        await self.send([0, call_id, method, [params]])
        return await self.receive()


@pytest.fixture
async def connect():
    opened = []

    async def connect_it(server):
        stream = await trio.open_tcp_stream(*server.addresses[0])
        opened.append(stream)
        return Peer(stream)

    yield connect_it
    for stream in opened:
        await trio.aclose_forcefully(stream)


async def wait_until(condition):
    with trio.fail_after(20):
        while not condition():
            await trio.lowlevel.checkpoint()


# -- calls --


async def test_a_call_is_answered(start, connect):
    server, _ = await start()
    peer = await connect(server)
    kind, call_id, error, result = await peer.call("put", {"text": "a"}, 77)
    assert (kind, call_id, error) == (1, 77, None)
    assert result["cid"].startswith("v1::")
    assert result["created"] is True


async def test_a_ping_is_answered_at_once_and_thousands_in_order(start, connect, service):
    server, _ = await start()
    peer = await connect(server)
    async with trio.open_nursery() as sending:
        sending.start_soon(peer.send, b"".join(pack([0, number, "ping", [{}]]) for number in range(20_000)))
        assert [await peer.receive() for _ in range(20_000)] == [[1, number, None, {}] for number in range(20_000)]
    assert service.requests == []


async def test_thousands_of_pings_in_one_packet_leave_the_loop_to_others_between_them(start, connect):
    server, _ = await start()
    peer = await connect(server)
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await peer.send(b"".join(pack([0, number, "ping", [{}]]) for number in range(4000)))
        for _ in range(4000):
            await peer.receive()
        nursery.cancel_scope.cancel()
    assert turns >= 4000 // 128 - 5  # one between any two breaths; a few in all, were there none


async def test_answers_leave_in_any_order(start, connect, service):
    server, _ = await start()
    peer = await connect(server)
    await peer.send([0, 1, "put", [{"text": "wait"}]], [0, 2, "put", [{"text": "quick"}]])
    assert (await peer.receive())[1] == 2
    service.gate.set()
    assert (await peer.receive())[1] == 1


async def test_a_clients_mistakes_do_not_end_its_connection(start, connect):
    server, _ = await start()
    peer = await connect(server)
    await peer.send(b"\x80", [0, 1, "nope", [{}]], [0, 2, "put", [{"txt": "a"}]], [0, 3, "status", [{}]])
    assert (await peer.receive())[:2] == [2, "error"]
    assert (await peer.receive())[2]["code"] == "unknown_method"
    assert (await peer.receive())[2]["field"] == "txt"
    assert (await peer.receive())[:3] == [1, 3, None]


async def test_a_domain_error_is_answered_by_its_code(start, connect):
    class Refuses(DictService):
        async def call(self, *_):
            raise Conflict("another was first", field="name")

    server, _ = await start(Refuses())
    answer = await (await connect(server)).call("namespace_create", {"name": "a"})
    assert answer == [1, 1, {"code": "conflict", "message": "another was first", "field": "name"}, None]


async def test_a_bug_is_answered_as_internal_and_logged_without_users_text(start, connect):
    server, _ = await start()
    peer = await connect(server)
    with capture_logs() as logs:
        answer = await peer.call("put", {"text": "bug"})
    assert answer[2]["code"] == "internal"
    (entry,) = logs
    assert entry["incident"] in answer[2]["message"]
    assert "RuntimeError" in entry["error"]
    assert "secret" not in repr((logs, answer))
    assert (await peer.call("status", {}))[2] is None


async def test_an_answer_that_cannot_be_encoded_is_a_bug_too(start, connect):
    class Broken(DictService):
        async def call(self, *_):
            return object()

    server, _ = await start(Broken())
    with capture_logs() as logs:
        answer = await (await connect(server)).call("status", {})
    assert answer[2]["code"] == "internal"
    assert logs[0]["event"] == "rpc_call_failed"


class AtOnce(DictService):
    """Answers a query where it is asked, unless it is by text."""

    def answer_now(self, request, caller):  # noqa: ARG002 - the protocol's
        if not isinstance(request, Query) or request.text is not None:
            return None
        if request.top_k == 0:
            raise Unprocessable("top_k: 0 is not between 1 and 1000", field="top_k")
        if request.top_k == 13:
            raise RuntimeError("secret words of a user")
        return QueryResult(hits=[], position=request.top_k, mode="exact")


async def test_what_is_answered_at_once_waits_for_no_call_before_it(start, connect):
    service = AtOnce()
    server, _ = await start(service, limits=Limits(in_flight=1))
    peer = await connect(server)
    asked = [[0, number, "query", [{"vector": [1.0], "top_k": number}]] for number in range(2, 52)]
    await peer.send([0, 1, "put", [{"text": "wait"}]], *asked)
    assert [(await peer.receive())[1] for _ in asked] == list(range(2, 52))
    service.gate.set()
    assert (await peer.receive())[1] == 1
    assert (await peer.call("query", {"text": "cat"}, 2))[2] is None
    assert [type(request) for request in service.requests] == [Put, Query]


async def test_an_error_at_once_is_answered_as_any_other(start, connect):
    server, _ = await start(AtOnce())
    peer = await connect(server)
    answer = await peer.call("query", {"vector": [1.0], "top_k": 0})
    assert answer == [
        1,
        1,
        {"code": "unprocessable", "message": "top_k: 0 is not between 1 and 1000", "field": "top_k"},
        None,
    ]
    with capture_logs() as logs:
        answer = await peer.call("query", {"vector": [1.0], "top_k": 13})
    assert answer[2]["code"] == "internal"
    assert "secret" not in repr((logs, answer))
    assert (await peer.call("query", {"vector": [1.0]}))[3] == {"hits": [], "position": 10, "mode": "exact"}


async def test_a_call_past_its_deadline_is_answered(start, connect, service):
    server, _ = await start(settings=RpcSettings(call_deadline_s=0.05))
    peer = await connect(server)
    answer = await peer.call("put", {"text": "wait"})
    assert answer[2]["code"] == "deadline"
    assert (await peer.call("status", {}))[2] is None


class Together(DictService):
    """Says of puts that they may be carried out with those of the same namespace; `runs` are the texts of each run."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def together(self, request):
        return request.namespace or "" if request.method == "put" else None

    async def call_together(self, requests, caller):
        self.runs.append([request.text for request in requests])
        outcomes = []
        for request in requests:
            try:
                outcomes.append(await self.call(request, caller))
            except Conflict as error:
                outcomes.append(error)
        return outcomes


def puts(*texts, first=0, **more):
    return [[0, first + at, "put", [{"text": text} | more]] for at, text in enumerate(texts)]


async def answers(peer, count):
    return {message[1]: message[2:] for message in [await peer.receive() for _ in range(count)]}


async def test_calls_that_came_together_and_may_be_are_carried_out_in_one_go(start, connect):
    service = Together()
    server, _ = await start(service)
    peer = await connect(server)
    await peer.send(*puts("a", "b", "c"), *puts("d", "e", first=3, namespace="n"), [0, 5, "status", [{}]])
    await peer.send(*puts("f", first=6))
    outcomes = await answers(peer, 7)
    assert all(error is None for error, _ in outcomes.values())
    assert outcomes[0][1]["cid"] != outcomes[1][1]["cid"] == (await peer.call("put", {"text": "b"}, 9))[3]["cid"]
    assert sorted(service.runs) == [["a", "b", "c"], ["d", "e"]]


async def test_no_more_than_32_are_carried_out_in_one_go(start, connect):
    service = Together()
    server, _ = await start(service)
    peer = await connect(server)
    await peer.send(*puts(*map(str, range(40))))
    assert sorted(await answers(peer, 40)) == list(range(40))
    assert sorted(int(text) for run in service.runs for text in run) == list(range(40))
    assert max(map(len, service.runs)) == 32


async def test_of_calls_in_one_go_each_is_refused_alone(start, connect):
    class Refuses(Together):
        async def _put(self, request):
            if request.text == "no":
                raise Conflict("another was first", field="text")
            return await super()._put(request)

    server, _ = await start(Refuses())
    peer = await connect(server)
    await peer.send(*puts("a", "no", "b"))
    outcomes = await answers(peer, 3)
    assert [outcomes[number][0] and outcomes[number][0]["code"] for number in range(3)] == [None, "conflict", None]


async def test_what_refuses_all_of_them_is_told_to_each(start, connect):
    class Full(Together):
        async def call_together(self, *_):
            raise Unavailable("no more today")

    server, _ = await start(Full())
    peer = await connect(server)
    await peer.send(*puts("a", "b", "c"))
    assert [error["code"] for error, _ in (await answers(peer, 3)).values()] == ["unavailable"] * 3


async def test_a_bug_in_one_of_them_costs_the_others_nothing(start, connect):
    service = Together()
    server, _ = await start(service)
    peer = await connect(server)
    with capture_logs() as logs:
        await peer.send(*puts("a", "bug", "b"))
        outcomes = await answers(peer, 3)
    assert [outcomes[number][0] and outcomes[number][0]["code"] for number in range(3)] == [None, "internal", None]
    assert [entry["event"] for entry in logs] == ["rpc_call_failed"]


async def test_calls_in_one_go_past_their_deadline_are_answered(start, connect):
    server, _ = await start(Together(), settings=RpcSettings(call_deadline_s=0.05))
    peer = await connect(server)
    await peer.send(*puts("wait", "wait"))
    assert [error["code"] for error, _ in (await answers(peer, 2)).values()] == ["deadline"] * 2
    assert (await peer.call("status", {}, 7))[2] is None


async def test_calls_in_one_go_take_a_place_in_flight_each(start, connect):
    service = Together()
    server, _ = await start(service, limits=Limits(in_flight=3))
    peer = await connect(server)
    await peer.send(*puts("wait", "wait", "wait", "a", "b"))
    await wait_until(lambda: service.waiting == 1)
    await trio.testing.wait_all_tasks_blocked()
    assert service.runs == [["wait"] * 3]
    service.gate.set()
    assert sorted(await answers(peer, 5)) == list(range(5))
    await peer.send(*puts("c", "d", "e"))  # every place is free again
    assert sorted(await answers(peer, 3)) == list(range(3))
    assert service.runs[-1] == ["c", "d", "e"]


# -- limits --


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc1", "bad_request"),
        (b"\x91" * 33 + b"\xc0", "bad_request"),
        (b"\x91" * 100_000, "bad_request"),
        (pack([0, 1, "put", [{"text": "x" * 9 * 1024 * 1024}]]), "too_large"),
        (b"\xdd\xff\xff\xff\xff" + bytes(9 * 1024 * 1024), "too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\xc1", "bad_request"),
    ],
    ids=["reserved", "depth 33", "depth 100k", "9 MiB", "endless array", "http"],
)
async def test_what_cannot_be_followed_is_told_and_closed(start, connect, data, code):
    server, _ = await start()
    peer = await connect(server)
    async with trio.open_nursery() as sending:

        async def send():
            with suppress(trio.BrokenResourceError):  # it may be closed while we are still sending
                await peer.send(data)

        sending.start_soon(send)
        messages = []
        while (message := await peer.receive()) is not None:
            messages.append(message)
    kind, method, (told,) = messages[-1]
    assert (kind, method, told["code"]) == (2, "error", code)
    assert (await (await connect(server)).call("status", {}))[2] is None


async def test_calls_before_the_end_are_answered_first(start, connect):
    server, _ = await start()
    peer = await connect(server)
    await peer.send([0, 1, "status", [{}]], b"\xc1")
    assert (await peer.receive())[:3] == [1, 1, None]
    assert (await peer.receive())[1] == "error"
    assert await peer.receive() is None


async def test_only_128_requests_of_a_connection_are_in_flight(start, connect, service):
    server, _ = await start()
    peer = await connect(server)
    count = 300
    await peer.send(*([0, call_id, "put", [{"text": "wait"}]] for call_id in range(count)))
    await wait_until(lambda: service.waiting == 128)
    await trio.testing.wait_all_tasks_blocked()
    assert service.waiting == 128
    service.gate.set()
    answered = [(await peer.receive())[1] for _ in range(count)]
    assert sorted(answered) == list(range(count))
    assert service.most_waiting == 128


async def test_another_client_is_served_while_one_is_at_its_limit(start, connect, service):
    server, _ = await start(limits=Limits(in_flight=2))
    greedy, other = await connect(server), await connect(server)
    await greedy.send(*([0, call_id, "put", [{"text": "wait"}]] for call_id in range(10)))
    await wait_until(lambda: service.waiting == 2)
    assert (await other.call("status", {}))[2] is None


async def test_an_id_in_flight_is_refused_and_the_first_call_still_answered(start, connect, service):
    server, _ = await start()
    peer = await connect(server)
    await peer.send([0, 1, "put", [{"text": "wait"}]], [0, 1, "status", [{}]])
    refused = await peer.receive()
    assert (refused[1], refused[2]["code"]) == (1, "bad_request")
    service.gate.set()
    assert (await peer.receive())[:3] == [1, 1, None]


async def test_one_connection_too_many_is_told_busy(start, connect):
    server, _ = await start(limits=Limits(connections=2))
    first, second = await connect(server), await connect(server)
    for peer in (first, second):
        await peer.call("status", {})
    third = await connect(server)
    kind, method, (told,) = await third.receive()
    assert (kind, method, told["code"]) == (2, "error", "busy")
    assert told["retry_after_s"] > 0
    assert await third.receive() is None
    await first.stream.aclose()
    with trio.fail_after(20):
        while (await (await connect(server)).call("status", {}))[:3] != [1, 1, None]:
            await trio.lowlevel.checkpoint()


async def test_requests_over_the_doors_memory_are_told_busy(start, connect, service):
    server, _ = await start(settings=RpcSettings(held_bytes=10_000))
    peer = await connect(server)
    await peer.send([0, 1, "put", [{"text": "wait", "metadata": {"a": "x" * 6000}}]])
    await wait_until(lambda: service.waiting == 1)
    answer = await peer.call("put", {"text": "x" * 6000}, 2)
    assert (answer[1], answer[2]["code"]) == (2, "busy")
    other = await connect(server)
    await other.send(pack([0, 1, "put", [{"text": "y" * 9000}]])[:-10])
    assert (await other.receive())[2][0]["code"] == "busy"
    assert await other.receive() is None
    service.gate.set()
    assert (await peer.receive())[:3] == [1, 1, None]
    assert (await peer.call("put", {"text": "x" * 6000}, 3))[2] is None


async def test_a_slow_reader_is_dropped_and_bounded(start, connect, service):
    server, _ = await start(settings=RpcSettings(write_deadline_s=0.2))
    slow, other = await connect(server), await connect(server)
    text = "x" * 1_000_000
    cid = (await other.call("put", {"text": text}))[3]["cid"]
    with capture_logs() as logs:
        await slow.send(*([0, call_id, "get", [{"cid": cid}]] for call_id in range(120)))
        await wait_until(lambda: any(entry["event"] == "reader_too_slow" for entry in logs))
    assert (await other.call("status", {}))[2] is None


async def test_silence_in_the_middle_of_a_message_is_ended(start, connect):
    server, _ = await start(settings=RpcSettings(silence_deadline_s=0.05))
    peer = await connect(server)
    assert (await peer.call("status", {}))[2] is None
    await peer.send(b"\x94\x00")
    kind, method, (told,) = await peer.receive()
    assert (kind, method, told["code"]) == (2, "error", "deadline")
    assert await peer.receive() is None


# -- ends --


def reset(stream):
    """Close so that the other end is told at once: a reset, not an end."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def test_a_connection_that_breaks_cancels_its_calls_and_leaves_no_task(nursery, service):
    async with trio.open_nursery() as own:
        server = await own.start(partial(serve_rpc, service, port=0))
        await trio.testing.wait_all_tasks_blocked()
        idle = count_tasks(own)
        stream = await trio.open_tcp_stream(*server.addresses[0])
        await stream.send_all(pack([0, 1, "put", [{"text": "wait"}]]) + pack([0, 2, "query", [{"text": "wait"}]]))
        await wait_until(lambda: service.waiting == 2)
        assert count_tasks(own) > idle
        reset(stream)
        await wait_until(lambda: count_tasks(own) == idle)
        assert service.waiting == 0
        service.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert service.records == {}
        own.cancel_scope.cancel()


async def test_a_connection_that_breaks_is_noticed_while_it_is_not_read(start, connect, service):
    server, _ = await start(limits=Limits(in_flight=2))
    peer, other = await connect(server), await connect(server)
    await peer.send(*([0, call_id, "put", [{"text": "wait"}]] for call_id in range(2000)))
    await wait_until(lambda: service.waiting == 2)
    reset(peer.stream)
    await wait_until(lambda: service.waiting == 0)
    assert (await other.call("status", {}))[2] is None
    assert len(service.requests) == 3


async def test_who_is_gone_before_it_is_let_in_is_not_worked_for(start, connect, service):
    server, _ = await start()
    for _ in range(20):
        with socket.create_connection(server.addresses[0]) as gone:  # the loop does not run meanwhile
            gone.sendall(pack([0, 1, "put", [{"text": "wait"}]]))
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert (await (await connect(server)).call("status", {}))[2] is None
    assert [type(request) for request in service.requests] == [Status]


async def test_a_connection_that_breaks_after_its_end_is_noticed(start, connect, service):
    server, _ = await start()
    peer = await connect(server)
    await peer.send([0, 1, "put", [{"text": "wait"}]])
    await peer.stream.send_eof()
    await wait_until(lambda: service.waiting == 1)
    reset(peer.stream)
    await wait_until(lambda: service.waiting == 0)
    assert service.records == {}


async def test_calls_that_travel_together_are_cancelled_together(start, connect):
    service = Together()
    server, _ = await start(service)
    peer = await connect(server)
    await peer.send(*puts("a", "wait", "b"))
    await wait_until(lambda: service.waiting == 1)
    reset(peer.stream)
    await wait_until(lambda: service.waiting == 0)
    assert len(service.records) == 1  # what was done stays done


async def test_who_never_reads_is_let_go_when_its_answers_are_too_many(start, connect):
    server, _ = await start(settings=RpcSettings(unsent_bytes=20_000_000))
    greedy, other = await connect(server), await connect(server)
    cid = (await other.call("put", {"text": "x" * 1_000_000}))[3]["cid"]
    asked = [[0, call_id, "get", [{"cid": cid}]] for call_id in range(120)]
    with capture_logs() as logs:
        await greedy.send(*asked)
        await wait_until(lambda: any(entry["event"] == "unsent_over_limit" for entry in logs))
    (entry,) = (entry for entry in logs if entry["event"] == "unsent_over_limit")
    assert 10_000_000 < entry["unsent_bytes"] < 22_000_000
    assert (await other.call("get", {"cid": cid}))[2] is None
    with pytest.raises(trio.BrokenResourceError):
        while await greedy.receive():
            pass


async def test_who_reads_slowly_gets_every_answer_and_costs_nobody(start, connect):
    """What is unsent is bounded by who reads: a quarter of its answers would be over the limit."""
    server, _ = await start(limits=Limits(in_flight=4), settings=RpcSettings(unsent_bytes=8_000_000))
    slow, other = await connect(server), await connect(server)
    cid = (await other.call("put", {"text": "x" * 1_000_000}))[3]["cid"]
    await slow.send(*([0, call_id, "get", [{"cid": cid}]] for call_id in range(32)))
    for _ in range(8):
        assert (await other.call("status", {}))[2] is None
        for _ in range(4):
            assert len((await slow.receive())[3]["text"]) == 1_000_000


def count_tasks(nursery):
    return sum(1 + sum(map(count_tasks, task.child_nurseries)) for task in nursery.child_tasks)


async def test_a_client_that_only_stops_sending_gets_its_answers(start, connect, service):
    server, _ = await start()
    peer = await connect(server)
    await peer.send([0, 1, "put", [{"text": "wait"}]])
    await peer.stream.send_eof()
    await wait_until(lambda: service.waiting == 1)
    service.gate.set()
    assert (await peer.receive())[:3] == [1, 1, None]
    assert await peer.receive() is None


async def test_a_graceful_stop_answers_what_is_in_flight(start, connect, service):
    server, ended = await start()
    peer, idle, half = await connect(server), await connect(server), await connect(server)
    await half.send(b"\x94\x00\x01")
    await idle.call("status", {})
    await peer.send([0, 1, "put", [{"text": "wait"}]])
    await wait_until(lambda: service.waiting == 1)
    server.stop()
    assert await idle.receive() is None
    assert await half.receive() is None
    with pytest.raises(OSError, match=r"refused|connect"):
        await trio.open_tcp_stream(*server.addresses[0])
    assert not ended.is_set()
    service.gate.set()
    assert (await peer.receive())[:3] == [1, 1, None]
    assert await peer.receive() is None
    with trio.fail_after(20):
        await ended.wait()


async def test_a_stop_with_a_full_connection_answers_what_was_taken(start, connect, service):
    server, ended = await start(limits=Limits(in_flight=2))
    peer = await connect(server)
    await peer.send(*([0, call_id, "put", [{"text": "wait"}]] for call_id in range(5)))
    await wait_until(lambda: service.waiting == 2)
    server.stop()
    await trio.testing.wait_all_tasks_blocked()
    service.gate.set()
    with trio.fail_after(5):  # half the grace: nothing is waited out
        assert sorted([(await peer.receive())[1], (await peer.receive())[1]]) == [0, 1]
        assert await peer.receive() is None
        await ended.wait()


async def test_a_stop_ends_with_its_grace(start, connect, service):
    server, ended = await start(settings=RpcSettings(grace_s=0.05))
    peer = await connect(server)
    await peer.send([0, 1, "put", [{"text": "wait"}]])
    await wait_until(lambda: service.waiting == 1)
    with capture_logs() as logs:
        server.stop()
        with trio.fail_after(20):
            await ended.wait()
    assert [entry["event"] for entry in logs] == ["rpc_grace_over"]


async def test_cancelling_drops_everything_at_once(service):
    async with trio.open_nursery() as own:
        server = await own.start(partial(serve_rpc, service, port=0))
        stream = await trio.open_tcp_stream(*server.addresses[0])
        await stream.send_all(pack([0, 1, "put", [{"text": "wait"}]]))
        await wait_until(lambda: service.waiting == 1)
        own.cancel_scope.cancel()
    assert own.cancel_scope.cancelled_caught
    await stream.aclose()


# -- listening --


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
async def test_a_host_that_is_not_loopback_is_refused(service, host):
    with pytest.raises(Unprocessable, match="not loopback") as refused:
        await serve_rpc(service, host=host, port=0)
    assert refused.value.field == "host"


async def test_a_taken_port_is_named(start, service):
    server, _ = await start()
    host, port = server.addresses[0]
    with pytest.raises(Unavailable, match=f"port {port} on {host} is taken"):
        await serve_rpc(service, host=host, port=port)


async def test_a_port_out_of_range_is_refused(service):
    with pytest.raises(Unprocessable, match="65536"):
        await serve_rpc(service, port=65536)


async def test_localhost_is_served(nursery, service):
    server = await nursery.start(partial(serve_rpc, service, host="localhost", port=0))
    assert server.url.startswith(("engram://127.0.0.1:", "engram://[::1]:"))
    nursery.cancel_scope.cancel()
