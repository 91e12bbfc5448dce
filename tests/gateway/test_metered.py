"""What is counted of a door that counts nothing itself."""

import pytest
import trio
from dict_service import DictService

from engram.errors import NotFound
from engram.gateway import Metered, Metrics
from engram.identity import ANONYMOUS
from engram.runtime import RealClock
from engram.wire import Get, Ping, Put, Query


class Together(DictService):
    async def call_together(self, requests, caller):
        return [await self.call(request, caller) for request in requests[1:]] + [NotFound("none")]


@pytest.fixture
def service():
    return Together()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def metered(service, metrics):
    return Metered(service, metrics, "rpc", RealClock())


async def test_every_call_is_counted_by_what_became_of_it(service, metrics, metered):
    await metered.call(Put(text="a"), ANONYMOUS)
    assert metered.answer_now(Ping()) is not None
    assert metered.answer_now(Put(text="a")) is None
    with pytest.raises(NotFound):
        await metered.call(Get(cid="none"))
    with pytest.raises(RuntimeError):
        await metered.call(Put(text="bug"))
    with trio.move_on_after(0.01):
        await metered.call(Query(text="wait"))
    await metered.call_together([Put(text="b"), Put(text="c")])
    assert metrics.requests == {
        ("rpc", "put", "ok"): 2,
        ("rpc", "ping", "ok"): 1,
        ("rpc", "get", "not_found"): 1,
        ("rpc", "put", "internal"): 1,
        ("rpc", "query", "gone"): 1,
        ("rpc", "put", "not_found"): 1,
    }
    assert sum(metrics.latencies["rpc"].counts) == 7
    assert service.callers[0] == ANONYMOUS


async def test_what_a_service_says_without_a_call_passes(service, metered):
    assert metered.together(Put(text="a")) == service.together(Put(text="a"))
