"""Clients that take all that a process may open: the last descriptors are kept for the disk."""

import contextlib
import os
import resource
from functools import partial

import pytest
import trio
from dict_service import DictService
from http_clients import head

from engram.gateway import serve_rpc
from engram.gateway.http import serve_http

FEW = 64
ASKED = {serve_rpc: b"\x94\x00\x01\xa4ping\x91\x80", serve_http: head("GET", "/health")}


@pytest.fixture
def few_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + FEW, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def is_served(stream, asked):
    with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(5):
        await stream.send_all(asked)
        return bool(await stream.receive_some(1000))
    return False


@pytest.mark.parametrize("serve", [serve_rpc, serve_http])
async def test_clients_leave_descriptors_for_the_disk(nursery, serve, few_descriptors):
    server = await nursery.start(partial(serve, DictService(), port=0))
    async with contextlib.AsyncExitStack() as open_:
        served = []
        for _ in range(FEW):
            stream = await trio.open_tcp_stream(*server.addresses[0])
            if not await is_served(stream, ASKED[serve]):
                await trio.aclose_forcefully(stream)
                break
            served.append(await open_.enter_async_context(stream))
        assert 5 < len(served) < FEW // 2
        for _ in range(10):
            open_.callback(os.close, os.dup(0))
        assert await is_served(served[0], ASKED[serve])
    nursery.cancel_scope.cancel()
