"""What becomes of the calls of a client whose connection breaks: at the node itself, with its store and its embedder."""

import struct
from functools import partial

import msgspec
import pytest
import trio
from gateway.test_rpc import Peer, reset

from engram.gateway import serve_rpc
from engram.node import Config, real_world, running
from engram.wire import List, Query, Status

LONG = " ".join(["memory"] * 200)


@pytest.fixture
async def node(tmp_path, model_files, nursery):
    """Give the service, and who connects to it."""
    world = real_world()
    async with running(Config(data_dir=tmp_path / "data"), world, embedded=True) as service:
        server = await nursery.start(partial(serve_rpc, service, port=0))

        async def connect():
            return Peer(await trio.open_tcp_stream(*server.addresses[0]))

        yield service, connect
        nursery.cancel_scope.cancel()


async def wait_until(condition):
    """Look now and then: who looks all the time keeps the embedder's thread, which gives way, from its work."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.005)


def put_many(*texts):
    return msgspec.msgpack.encode([0, 1, "put_many", [{"items": [{"text": text} for text in texts]}]])


async def test_what_waits_to_be_embedded_is_never_kept_and_the_embedder_rests(node):
    service, connect = node
    peer, other = await connect(), await connect()
    assert (await other.call("put", {"text": "the model is loaded now"}))[2] is None
    before = await service.call(Status())
    await peer.send(put_many(*(f"{LONG} {number}" for number in range(1000))))
    await wait_until(lambda: service._writer.waiting == 1000)
    handled = service._models.own.bulk._embedder.stats
    await wait_until(lambda: handled.handled >= 3)
    reset(peer.stream)
    await wait_until(lambda: service._writer.waiting == 0)
    done = handled.handled
    assert done < 1000 // 8, "it was all embedded before it was given up"
    assert (await other.call("put", {"text": "another's"}, 2))[2] is None
    after = await service.call(Status())
    assert after.records == before.records + 1
    assert handled.handled <= done + 3  # one under way, and the other's
    await trio.aclose_forcefully(other.stream)


async def test_what_the_store_has_is_kept_whole(node):
    service, connect = node
    rng = range(1, 301)
    for attempt in range(10):
        peer = await connect()
        vectors = [struct.pack("<384f", attempt + 1, number, *[0.5] * 382) for number in rng]
        items = [{"vector": vector} for vector in vectors]
        await peer.send(msgspec.msgpack.encode([0, 1, "put_many", [{"items": items}]]))
        await wait_until(lambda: service._writer.waiting == len(rng))
        await trio.sleep(0.002 * attempt)
        reset(peer.stream)
        await wait_until(lambda: service._writer.waiting == 0)
    status = await service.call(Status())
    assert status.records % len(rng) == 0, "a batch was kept in part"
    listed = await service.call(List(limit=1000))
    assert len(listed.records) == min(1000, status.records)


async def test_a_wait_for_events_ends_with_its_client(node):
    service, connect = node
    peer = await connect()
    position = (await service.call(Status())).position
    waiting = trio.lowlevel.current_statistics().tasks_living
    await peer.send([0, 1, "events", [{"since": position, "wait_s": 30.0}]])
    await wait_until(lambda: trio.lowlevel.current_statistics().tasks_living > waiting)
    reset(peer.stream)
    with trio.fail_after(5):
        await wait_until(lambda: trio.lowlevel.current_statistics().tasks_living <= waiting)
    assert (await service.call(Query(vector=struct.pack("<384f", *[1.0] * 384)))).hits == []
