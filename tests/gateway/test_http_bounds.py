"""The HTTP door against those who are slow, greedy, gone or not speaking HTTP: bounded, and good clients are served."""

import json
import random

import pytest
import trio
from dict_service import DictService
from http_clients import ask, connect, door, head, read_answer

from engram.gateway._metrics import Metrics
from engram.limits import Limits

SOON_S = 3


async def closed(stream):
    """Say whether the door closes the connection, whatever it says before."""
    with trio.move_on_after(SOON_S):
        try:
            while await stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            pass
        return True
    return False


async def refusal(stream):
    with trio.fail_after(SOON_S):
        answer, rest = await read_answer(stream)
    assert await closed(stream)
    assert rest == b""
    return answer


# -- bodies --


@pytest.mark.parametrize("target", ["/v1/memories", "/IngestSynapse", "/nothing", "/v1/query"])
async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(target):
    async with door() as server, await connect(server) as stream:
        await stream.send_all(
            head("POST", target, {"content-type": "application/json", "content-length": 10 * 2**20 + 1})
        )
        answer = await refusal(stream)
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    assert "10485760" in answer.json["error"]


async def test_a_body_of_the_limit_is_read():
    async with door() as server:
        text = "a" * (10 * 2**20 - 12)
        answer = await ask(server, "POST", "/v1/query", {"text": text})
        assert len(json.dumps({"text": text})) == 10 * 2**20
    assert answer.status == 200


async def test_chunks_that_add_up_to_too_much_are_refused():
    async with door(limits=Limits(http_body_bytes=1000)) as server, await connect(server) as stream:
        chunked = {"content-type": "application/json", "transfer-encoding": "chunked"}
        await stream.send_all(head("POST", "/v1/memories", chunked))
        await stream.send_all((b"64\r\n" + b"a" * 100 + b"\r\n") * 11)
        answer = await refusal(stream)
    assert answer.status == 413


async def test_who_is_refused_while_still_sending_hears_it():
    async with door(limits=Limits(http_body_bytes=1000)) as server, await connect(server) as stream:
        await stream.send_all(head("POST", "/v1/memories", {"content-length": 500_000}))
        for _ in range(5):
            await trio.sleep(0.02)
            await stream.send_all(b"a" * 100_000)
        assert (await refusal(stream)).status == 413


async def test_half_a_body_is_waited_for_only_so_long():
    async with door(silence_deadline_s=0.05) as server, await connect(server) as stream:
        await stream.send_all(
            head("POST", "/v1/memories", {"content-type": "application/json", "content-length": 100}) + b"{"
        )
        answer = await refusal(stream)
    assert (answer.status, answer.json["code"]) == (408, "deadline")


async def test_a_body_in_drops_must_make_a_rate():
    async with door(silence_deadline_s=0.1, body_bytes_per_s=1000) as server, await connect(server) as stream:
        await stream.send_all(head("POST", "/v1/memories", {"content-type": "application/json", "content-length": 100}))
        with trio.fail_after(SOON_S):
            async with trio.open_nursery() as nursery:

                async def drip():
                    while True:
                        await stream.send_all(b" ")
                        await trio.sleep(0.02)

                nursery.start_soon(drip)
                answer, _ = await read_answer(stream)
                nursery.cancel_scope.cancel()
    assert answer.status == 408


async def test_bodies_that_the_door_holds_are_bounded_and_let_go():
    service = DictService()
    async with door(service, held_bytes=50_000) as server:
        async with await connect(server) as stream:
            await stream.send_all(
                head("POST", "/v1/query", {"content-type": "application/json", "content-length": 40_100})
            )
            await stream.send_all(b" " * 40_000)
            while (answer := await ask(server, "POST", "/v1/query", {"text": "a" * 20_000})).status == 200:
                await trio.lowlevel.checkpoint()  # it has not been read yet
            assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "busy", "1")
            assert (await ask(server, "GET", "/health")).status == 200
        with trio.fail_after(SOON_S):
            while (await ask(server, "POST", "/v1/query", {"text": "a" * 20_000})).status == 503:
                await trio.lowlevel.checkpoint()


async def test_who_waits_to_be_told_to_go_on_is_told():
    async with door() as server, await connect(server) as stream:
        expecting = {"content-type": "application/json", "content-length": 12, "expect": "100-continue"}
        await stream.send_all(head("POST", "/v1/memories", expecting))
        assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 100")
        await stream.send_all(b'{"text":"a"}')
        assert (await read_answer(stream))[0].status == 201


# -- connections --


async def test_headers_that_never_end_are_refused():
    async with door() as server, await connect(server) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n")
        try:
            for number in range(1000):
                await stream.send_all(f"x-{number}: {'a' * 100}\r\n".encode())
        except trio.BrokenResourceError:
            pass
        answer = await refusal(stream)
    assert (answer.status, answer.json["code"]) == (431, "too_large")


async def test_headers_in_drops_have_a_deadline():
    async with door(headers_deadline_s=0.1) as server, await connect(server) as stream:
        with trio.fail_after(SOON_S):
            async with trio.open_nursery() as nursery:

                async def drip():
                    await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ")
                    while True:
                        await stream.send_all(b"a")
                        await trio.sleep(0.02)

                nursery.start_soon(drip)
                answer, _ = await read_answer(stream)
                nursery.cancel_scope.cancel()
    assert (answer.status, answer.json["code"]) == (408, "deadline")


async def test_an_idle_connection_is_closed():
    async with door(idle_deadline_s=0.1) as server:
        async with await connect(server) as stream:
            assert await closed(stream)
        async with await connect(server) as stream:
            await stream.send_all(head("GET", "/health"))
            assert (await read_answer(stream))[0].status == 200
            assert await closed(stream)


async def test_a_long_call_does_not_make_a_connection_idle():
    service = DictService()
    async with door(service, idle_deadline_s=0.05, headers_deadline_s=0.05) as server, await connect(server) as stream:
        await stream.send_all(head("POST", "/v1/memories", body=b'{"text":"wait"}'))
        await trio.sleep(0.2)
        service.gate.set()
        assert (await read_answer(stream))[0].status == 201


async def test_a_call_has_a_deadline():
    async with door(call_deadline_s=0.05) as server:
        answer = await ask(server, "POST", "/v1/query", {"text": "wait"})
    assert (answer.status, answer.json["code"]) == (504, "deadline")


async def test_one_connection_over_the_limit_is_told():
    async with door(limits=Limits(connections=2)) as server:
        async with await connect(server) as one, await connect(server) as two:
            for stream in (one, two):
                await stream.send_all(head("GET", "/health"))
                assert (await read_answer(stream))[0].status == 200
            async with await connect(server) as three:
                answer = await refusal(three)
            assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "busy", "1")
        with trio.fail_after(SOON_S):
            while (await ask(server, "GET", "/health")).status == 503:
                await trio.lowlevel.checkpoint()


class Large(DictService):
    async def _get(self, request):
        record = await super()._get(request)
        return type(record)(cid=record.cid, text="a" * 8_000_000, model_version="v1", dim=1)


async def test_who_does_not_read_is_let_go():
    async with door(Large(), write_deadline_s=0.1) as server:
        put = await ask(server, "POST", "/v1/memories", {"text": "a"})
        async with await connect(server) as stream:
            await stream.send_all(head("GET", f"/v1/memories/{put.json['cid']}"))
            await trio.sleep(0.5)
            assert (await ask(server, "GET", "/health")).status == 200
            assert await closed(stream)


async def test_answers_that_nobody_reads_are_bounded():
    async with door(Large(), unsent_bytes=20_000_000) as server:
        put = await ask(server, "POST", "/v1/memories", {"text": "a"})
        streams = [await connect(server) for _ in range(5)]
        for stream in streams:
            await stream.send_all(head("GET", f"/v1/memories/{put.json['cid']}"))
        await trio.sleep(0.3)
        ended = 0
        for stream in streams:
            total = 0
            with trio.move_on_after(SOON_S):
                try:
                    while piece := await stream.receive_some(2**20):
                        total += len(piece)
                        if total > 8_000_000:
                            break
                except trio.BrokenResourceError:
                    pass
            ended += total < 8_000_000
            await stream.aclose()
    assert 1 <= ended <= 3


async def test_a_client_that_goes_takes_its_call_along():
    service, metrics = DictService(), Metrics()
    async with door(service, metrics=metrics) as server:
        async with await connect(server) as stream:
            await stream.send_all(head("POST", "/v1/query", body=b'{"text":"wait"}'))
            with trio.fail_after(SOON_S):
                while not service.waiting:
                    await trio.lowlevel.checkpoint()
        with trio.fail_after(SOON_S):
            while not metrics.requests.get(("http", "query", "gone")):
                await trio.lowlevel.checkpoint()
        assert (await ask(server, "GET", "/health")).status == 200


async def test_a_client_that_goes_in_the_middle_of_a_body_leaves_nothing():
    metrics = Metrics()
    async with door(metrics=metrics) as server:
        async with await connect(server) as stream:
            await stream.send_all(
                head("POST", "/v1/query", {"content-type": "application/json", "content-length": 100}) + b"{"
            )
        with trio.fail_after(SOON_S):
            while not metrics.requests.get(("http", "rest", "gone")):
                await trio.lowlevel.checkpoint()


async def test_a_stop_lets_what_is_under_way_end_and_closes_the_rest():
    service = DictService()
    async with door(service) as server:
        async with await connect(server) as idle, await connect(server) as busy, await connect(server) as half:
            await idle.send_all(head("GET", "/health"))
            await read_answer(idle)
            await half.send_all(b"GET / HT")
            await busy.send_all(head("POST", "/v1/memories", body=b'{"text":"wait"}'))
            with trio.fail_after(SOON_S):
                while not service.waiting:
                    await trio.lowlevel.checkpoint()
            server.stop()
            assert await closed(idle)
            assert await closed(half)
            service.gate.set()
            assert (await read_answer(busy))[0].status == 201
            assert await closed(busy)
        with pytest.raises(OSError, match="connect"):
            await connect(server)


async def test_the_grace_ends():
    service = DictService()
    async with door(service, grace_s=0.1) as server, await connect(server) as stream:
        await stream.send_all(head("POST", "/v1/memories", body=b'{"text":"wait"}'))
        with trio.fail_after(SOON_S):
            while not service.waiting:
                await trio.lowlevel.checkpoint()
        server.stop()
        assert await closed(stream)


# -- what is not HTTP/1.1 --


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"\x94\x00\x01\xa3put\x91\x80",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /v1/memories HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/memories HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /health HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /health HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(100),
    ],
    ids=str,
)
async def test_what_is_no_request_is_answered_and_closed(data):
    async with door(headers_deadline_s=0.2) as server:
        async with await connect(server) as stream:
            await stream.send_all(data)
            answer = await refusal(stream)
        assert (answer.status in (400, 408, 501, 505), "code" in answer.json) == (True, True)
        assert (await ask(server, "GET", "/health")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "a" * 24, "sec-websocket-version": "13"},
        {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"},
    ],
    ids=["websocket", "h2c"],
)
async def test_nobody_switches_to_another_protocol(headers):
    async with door() as server, await connect(server) as stream:
        await stream.send_all(head("GET", "/health", headers))
        answer, _ = await read_answer(stream)
        assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("verb", ["CONNECT", "TRACE", "BREW", "get"])
async def test_other_verbs_are_refused(verb):
    async with door() as server:
        assert (await ask(server, verb, "/health")).status in (200, 405)


async def test_a_hundred_thousand_brackets_are_refused():
    async with door() as server:
        answer = await ask(server, "POST", "/v1/memories", b'{"metadata":' + b"[" * 100_000)
    assert (answer.status, answer.json["error"]) == (400, "the message is nested more than 32 deep")


async def test_random_bytes_leave_good_clients_served():
    rng = random.Random(7)
    pieces = [
        b"GET ",
        b"/v1/memories",
        b" HTTP/1.1\r\n",
        b"host: a\r\n",
        b"\r\n",
        b"content-length: 5\r\n",
        b"{",
        bytes(9),
    ]
    async with door(headers_deadline_s=2.0, silence_deadline_s=2.0) as server:

        async def attack(data):
            try:
                async with await connect(server) as stream:
                    await stream.send_all(data)
                    with trio.move_on_after(rng.random() * 0.2):
                        await stream.receive_some(100)
            except OSError:
                pass
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                data = rng.randbytes(rng.randrange(300)) if rng.random() < 0.5 else b"".join(rng.choices(pieces, k=12))
                nursery.start_soon(attack, data)
            for _ in range(20):
                assert (await ask(server, "POST", "/v1/query", {"text": "a"})).status == 200
        assert (await ask(server, "GET", "/health")).status == 200
