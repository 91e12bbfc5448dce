"""The HTTP door off loopback: TLS with the node's own certificate, and callers who are not the operator."""

import contextlib
import ssl
from functools import partial

import pytest
import trio
from far_network import FarNetwork
from gateway.test_http import Log
from http_clients import head, read_answer

from engram.gateway.http import HttpSettings, serve_http
from engram.identity import ANONYMOUS, OPERATOR
from engram.limits import LIMITS, Limits
from engram.node._certificate import certificate_of
from engram.runtime import RealDisk, RealRng

HOST = "192.0.2.7"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificate_of(None, RealDisk(), tmp_path_factory.mktemp("tls"), RealRng(), HOST)


@pytest.fixture
def service():
    return Log()


@pytest.fixture
async def start(nursery, service, certificate):
    async def start_it(*peers, limits=LIMITS, **settings):
        serve = partial(
            serve_http, service, host=HOST, port=0, network=FarNetwork(*peers), certificate=certificate,
            limits=limits, settings=HttpSettings(**settings),
        )  # fmt: skip
        return await nursery.start(serve)

    yield start_it
    nursery.cancel_scope.cancel()


async def encrypted(server):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stream = trio.SSLStream(
        await trio.open_tcp_stream(*server.addresses[0]), context, server_hostname=HOST, https_compatible=True
    )
    await stream.do_handshake()
    return stream


async def plain(server):
    return await trio.open_tcp_stream(*server.addresses[0])


async def asked(stream, headers=None):
    try:
        with trio.fail_after(5):
            await stream.send_all(head("GET", "/v1/status", headers))
            return (await read_answer(stream))[0]
    except trio.BrokenResourceError:
        return None
    finally:
        await trio.aclose_forcefully(stream)


async def test_who_comes_from_elsewhere_is_nobody_that_is_known(start, service):
    server = await start("192.0.2.99")
    assert server.url.startswith("https://")
    assert (await asked(await encrypted(server), {"host": "memory.example"})).status == 200
    assert service.callers == [ANONYMOUS]


@pytest.mark.parametrize("open_", [encrypted, plain])
async def test_who_is_on_this_machine_stays_the_operator(start, service, open_):
    server = await start("127.0.0.1")
    assert (await asked(await open_(server), {"host": "127.0.0.1"})).status == 200
    assert service.callers == [OPERATOR]


async def test_a_name_that_was_rebound_is_refused_over_tls_too(start, service):
    server = await start("127.0.0.1", "127.0.0.1")
    assert (await asked(await encrypted(server), {"host": "evil.example"})).status == 403
    assert (await asked(await encrypted(server), {"host": HOST})).status == 200
    assert service.callers == [OPERATOR]


async def test_who_does_not_encrypt_from_elsewhere_is_not_answered(start, service):
    server = await start("192.0.2.99")
    assert await asked(await plain(server)) is None
    assert service.callers == []


async def test_a_handshake_has_a_deadline(start):
    server = await start("192.0.2.99", "192.0.2.99", handshake_deadline_s=0.1)
    for first in (b"", b"\x16\x03\x01"):
        stream = await trio.open_tcp_stream(*server.addresses[0])
        async with stream:
            if first:
                await stream.send_all(first)
            with trio.fail_after(5):
                assert await stream.receive_some(100) == b""


# -- strangers that stay --

FAR, NEAR = "192.0.2.99", "127.0.0.1"


async def test_strangers_that_stay_leave_room_for_who_is_on_this_machine(start):
    server = await start(*[FAR] * 8, NEAR, limits=Limits(connections=8))
    async with contextlib.AsyncExitStack() as open_:
        for _ in range(7):
            await open_.enter_async_context(await encrypted(server))
        refused = await open_.enter_async_context(await plain(server))
        with trio.fail_after(5):
            assert (await read_answer(refused))[0].status == 503
        assert (await asked(await plain(server), {"host": NEAR})).status == 200


async def test_strangers_event_streams_leave_one_for_who_is_on_this_machine(start):
    server = await start(*[FAR] * 8, NEAR, streams=8)
    wanted = {"accept": "text/event-stream", "host": NEAR}
    async with contextlib.AsyncExitStack() as open_:
        firsts = []
        for stream in [await encrypted(server) for _ in range(8)] + [await plain(server)]:
            await open_.enter_async_context(stream)
            await stream.send_all(head("GET", "/v1/events", wanted))
            with trio.fail_after(5):
                firsts.append((await stream.receive_some(12))[9:12])
    assert firsts == [b"200"] * 7 + [b"503", b"200"]


async def test_strangers_half_bodies_leave_room_for_who_is_on_this_machine(start):
    server = await start(FAR, FAR, NEAR, held_bytes=80_000)
    half = {"content-type": "application/json", "content-length": "90000", "host": NEAR}
    whole = half | {"content-length": "15"}
    async with await encrypted(server) as held, await encrypted(server) as other:
        await held.send_all(head("POST", "/v1/query", half) + b"x" * 69_000)
        await trio.sleep(0.2)
        await other.send_all(head("POST", "/v1/query", half) + b"x" * 2_000)
        with trio.fail_after(5):
            assert (await read_answer(other))[0].status == 503
        async with await plain(server) as near:
            await near.send_all(head("POST", "/v1/query", whole) + b'{"text": "cat"}')
            with trio.fail_after(5):
                assert (await read_answer(near))[0].status == 200
