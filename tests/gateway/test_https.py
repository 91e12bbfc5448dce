"""The HTTP door off loopback: TLS with the node's own certificate, and callers who are not the operator."""

import ssl
from functools import partial

import pytest
import trio
from dict_service import DictService
from far_network import FarNetwork
from http_clients import head, read_answer

from engram.gateway.http import HttpSettings, serve_http
from engram.identity import ANONYMOUS, OPERATOR
from engram.node._certificate import certificate_of
from engram.runtime import RealDisk, RealRng

HOST = "192.0.2.7"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificate_of(None, RealDisk(), tmp_path_factory.mktemp("tls"), RealRng(), HOST)


@pytest.fixture
def service():
    return DictService()


@pytest.fixture
async def start(nursery, service, certificate):
    async def start_it(*peers, **settings):
        serve = partial(
            serve_http, service, host=HOST, port=0, network=FarNetwork(*peers), certificate=certificate,
            settings=HttpSettings(**settings),
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
