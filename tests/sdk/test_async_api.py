"""The asynchronous API over the rules of a real memory, on both loops: what a subclass says is only `_call`."""

import functools

import anyio
import pytest

import engram
from engram.errors import Conflict, NotFound
from engram.sdk import AsyncApi, Kept


class Beside(AsyncApi):
    """A memory in this process, asked on a thread."""

    def __init__(self, memory):
        self._memory = memory

    async def _call(self, request):
        return await anyio.to_thread.run_sync(self._memory._call, request)


@pytest.fixture(params=["asyncio", "trio"])
def run(request, tmp_path):
    """Run a test's function with an asynchronous API, on each loop."""
    with engram.open(tmp_path / "memory") as memory:
        memory.namespaces.create("n", dim=2, model="m")
        yield lambda function: anyio.run(function, Beside(memory), backend=request.param)


def vector(n):
    return {"vector": [1.0, float(n)], "metadata": {"n": n}}


put = functools.partial(dict, namespace="n", model_version="m")


def test_keys_are_set_listed_told_and_deleted(run):
    async def use(api):
        first = await api.put(**put(**vector(1)), key="doc-1", expect=None)
        assert isinstance(first, Kept)
        with pytest.raises(Conflict) as refused:
            await api.put(**put(**vector(2)), key="doc-1", expect=None)
        assert refused.value.current == first.cid
        second = await api.put(**put(**vector(2)), key="doc-1", expect=first.cid)
        await api.keys.set("doc-0", first.cid, namespace="n")
        assert [info.key async for info in api.keys.list("doc", namespace="n")] == ["doc-0", "doc-1"]
        assert (await api.keys.get("doc-1", namespace="n")).record.cid == second.cid
        await api.keys.delete("doc-1", namespace="n")
        with pytest.raises(NotFound):
            await api.keys.get("doc-1", namespace="n")
        history = await api.history("doc-1", namespace="n")
        assert [version.cid for version in history] == [first.cid, second.cid, None]

    run(use)


def test_a_batch_may_set_keys(run):
    async def use(api):
        items = [{**vector(n), "key": f"k{n}", "expect": None} for n in (1, 2, 2)]
        one, two, three = await api.ingest_many([*items[:2], {**vector(3), "key": "k2", "expect": None}], "n", "m")
        assert isinstance(three, Conflict)
        assert three.current == two
        assert (await api.keys.get("k1", namespace="n")).record.cid == one

    run(use)


def test_events_end_where_the_log_ended_and_go_on_from_a_position(run):
    async def use(api):
        await api.ingest_many([vector(n) for n in range(3)], "n", "m")
        events = [event async for event in api.events(follow=False)]
        assert [event.position for event in events] == list(range(len(events)))
        stored = api.events(types=["record_stored.1"], follow=False)
        first = await anext(stored)
        again = [event.cid async for event in api.events(first.position + 1, ["record_stored.1"], follow=False)]
        assert again == [event.cid async for event in stored]
        assert len(again) == 2

    run(use)


def test_a_follower_is_given_what_comes(run):
    async def use(api):
        stream = api.events((await api.status()).position)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(api.put, **put(**vector(7))))
            with anyio.fail_after(20):
                event = await anext(stream)
        assert event.type == "record_stored.1"
        assert stream.position == event.position + 1

    run(use)


def test_a_file_is_read_beside_the_loop(run, tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"vector": [1, 2], "key": "a"}\nnot json\n{"vector": [1, 3]}\n')

    async def use(api):
        outcomes = [outcome async for outcome in api.iter_ingest_file(path, "n", "m")]
        assert [(line, isinstance(outcome, Kept)) for line, outcome in outcomes] == [(1, True), (2, False), (3, True)]

    run(use)


def test_a_namespace_is_deleted(run):
    async def use(api):
        await api.put(**put(**vector(1)))
        assert (await api.namespaces.delete("n")).records == 1
        assert [info.name for info in await api.namespaces.list()] == ["public"]

    run(use)
