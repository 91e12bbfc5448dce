"""`engram.open_async` in programs of asyncio and of trio, and what it leaves behind: nothing."""

from __future__ import annotations

import asyncio
import gc
import math
import subprocess
import sys
import threading
import time
from functools import partial

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing
from e2e.processes import code_of, environ

import engram
from engram.errors import BadRequest, FolderInUse, NotFound, Unavailable
from engram.node._async import AsyncMemory
from engram.runtime import Message, Plugin, handle
from engram.sdk import AsyncEngramClient

V = [1.0] + [0.0] * 383


def vector(number):
    return [math.cos(0.003 * number), math.sin(0.003 * number), *[0.0] * 382]


def on_asyncio(main, *arguments):
    async def run():
        result = await main(*arguments)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(run())


@pytest.fixture(params=[on_asyncio, trio.run], ids=["asyncio", "trio"])
def run(request):
    """Run a program on one of the loops, and judge that it leaves no thread."""
    before = set(threading.enumerate())
    yield request.param
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("name", [":memory:", "data", "one.engram"])
def test_it_has_the_clients_calls(run, tmp_path, name):
    path = name if name.startswith(":") else tmp_path / name

    async def main():
        async with engram.open_async(path) as memory:
            cids = [await memory.ingest_embedding(vector(n), {"n": n}) for n in range(10)]
            assert (await memory.query_by_vector(vector(3), top_k=1))[0].cid == cids[3]
            assert [hit.metadata for hit in await memory.query_by_vector(V, filter="n > 8")] == [{"n": 9}]
            assert (await memory.query_by_vector(V, exact=True, top_k=1))[0].cid == cids[0]
            assert (await memory.get(cids[4])).metadata == {"n": 4}
            assert await memory.delete(cids[0])
            with pytest.raises(NotFound):
                await memory.get(cids[0])
            with pytest.raises(BadRequest):
                await memory._call(engram.wire.Query(vector=b"1234", top_k="3"))
            assert [record.cid for record in await memory.list()] == cids[1:]
            assert (await memory.status()).records == 9
            assert [space.name for space in await memory.namespaces.list()] == ["public"]
            named = await memory.keys.set("it", cids[5])
            assert (named.cid, (await memory.keys.get("it")).record.cid) == (cids[5], cids[5])
            assert [version.cid for version in await memory.history("it")] == [cids[5]]

    run(main)


def test_a_text_crosses_for_its_vector(run, tmp_path, weights):
    async def main():
        async with engram.open_async(tmp_path) as memory:
            cid = await memory.ingest("the first call after opening")
            return cid, (await memory.query("the first call", top_k=1))[0].cid

    first, second = run(main)
    assert first == second


def test_what_the_body_raises_is_the_callers_and_the_folder_is_released(run, tmp_path):
    async def main():
        async with engram.open_async(tmp_path / "one.engram") as memory:
            await memory.ingest_embedding(V)
            _ = 1 / 0

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run(main)
    assert [path.name for path in tmp_path.iterdir()] == ["one.engram"]


def test_a_body_that_is_cancelled_closes_it(run, tmp_path):
    async def main():
        with anyio.move_on_after(0.3) as scope:
            async with engram.open_async(tmp_path) as memory:
                await memory.ingest_embedding(V)
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        async with engram.open_async(tmp_path) as memory:
            return (await memory.status()).records

    assert run(main) == 1


def test_a_task_that_is_cancelled_again_and_again_closes_it_all_the_same(tmp_path):
    async def use(entered):
        async with engram.open_async(tmp_path) as memory:
            await memory.ingest_embedding(V)
            entered.set()
            await asyncio.sleep(60)

    async def main():
        entered = asyncio.Event()
        task = asyncio.create_task(use(entered))
        await entered.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        with engram.open(tmp_path) as memory:
            assert memory.status().records == 1

    before = set(threading.enumerate())
    on_asyncio(main)
    assert not set(threading.enumerate()) - before


def test_a_program_that_is_cancelled_while_it_opens_leaves_nothing(run, tmp_path):
    async def main():
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with engram.open_async(tmp_path):
                await anyio.sleep_forever()
        with engram.open(tmp_path) as memory:
            return memory.status().records

    assert run(main) == 0


def test_a_write_whose_caller_was_cancelled_has_happened_whole_or_not_at_all(run):
    async def main():
        async with engram.open_async(":memory:") as memory:
            said = []

            async def put(number):
                with anyio.move_on_after(0.0003 * (number % 40)):
                    said.append(await memory.ingest_embedding(vector(number), {"n": number}))

            async with anyio.create_task_group() as tasks:
                for number in range(1, 200):
                    tasks.start_soon(put, number)
            kept = await memory.list(limit=1000)
            assert {record.cid for record in kept} >= set(said)
            await memory.ingest_embedding(V)  # behind which all that is listed is found
            for record in kept:
                assert (await memory.query_by_vector(vector(record.metadata["n"]), top_k=1))[0].cid == record.cid
            return len(said), len(kept)

    said, kept = run(main)
    assert said < 199
    assert kept <= 200


async def tasks_of(memory):
    """Count the tasks on the memory's thread, once those that were cancelled have gone."""

    async def count(_):
        await trio.testing.wait_all_tasks_blocked()
        return trio.lowlevel.current_statistics().tasks_living

    return await memory._cross(count, lambda _: None)


def test_a_follower_that_is_cancelled_holds_nothing_up(run, tmp_path):
    async def main():
        async with engram.open_async(tmp_path) as memory:
            seen, enough = [], anyio.Event()
            before = await tasks_of(memory)

            async def follow():
                async for event in memory.events(since=0, follow=True):
                    seen.append(event.type)
                    if len(seen) == 40:
                        enough.set()

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(follow)
                await memory.ingest_embedding(V)  # the followers wait on the memory's thread, and do not hold it
                with anyio.fail_after(10):
                    await enough.wait()
                assert await tasks_of(memory) >= before + 20
                tasks.cancel_scope.cancel()
            assert await tasks_of(memory) <= before  # nobody polls for who has gone; what began with it may have ended
        return time.monotonic()

    began = time.monotonic()
    run(main)
    assert time.monotonic() - began < 10  # a poll waits for 20 s


def test_many_tasks_at_once(run):
    async def main():
        async with engram.open_async(":memory:") as memory:

            async def use(number):
                cid = await memory.ingest_embedding(vector(number), {"n": number})
                assert (await memory.get(cid)).metadata == {"n": number}
                assert (await memory.query_by_vector(vector(number), top_k=1))[0].cid == cid

            async with anyio.create_task_group() as tasks:
                for number in range(500):
                    tasks.start_soon(use, number)
            return (await memory.status()).records

    assert run(main) == 500


def test_closing_answers_every_task_that_still_asks(run):
    async def main():
        ends = []

        async def use(memory, who):
            for number in range(1000):
                try:
                    await memory.ingest_embedding(vector(who * 1000 + number + 1))
                except Unavailable as error:
                    ends.append(error.message)
                    return

        async with anyio.create_task_group() as tasks, engram.open_async(":memory:") as memory:
            for who in range(20):
                tasks.start_soon(use, memory, who)
            await anyio.sleep(0.05)
        return ends

    assert len(run(main)) == 20


def test_a_row_of_quick_calls_lets_other_tasks_have_their_turn(run):
    async def main():
        async with engram.open_async(":memory:") as memory:
            cid = await memory.ingest_embedding(V)
            turns = 0

            async def tick():
                nonlocal turns
                while True:
                    await anyio.lowlevel.checkpoint()
                    turns += 1

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tick)
                for _ in range(2000):
                    await memory.get(cid)
                    await memory.query_by_vector(V)
                tasks.cancel_scope.cancel()
            return turns

    assert run(main) > 20


def test_the_loop_goes_on_under_a_bulk_ingest(run, tmp_path):
    async def main():
        late = []

        async def tick():
            while True:
                asked = time.monotonic()
                await anyio.sleep(0.005)
                late.append(time.monotonic() - asked - 0.005)

        async with engram.open_async(tmp_path) as memory, anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            done = await memory.ingest_many([{"vector": vector(n), "metadata": {"n": n}} for n in range(4000)])
            assert len(set(done)) == 4000
            tasks.cancel_scope.cancel()
        return sorted(late)

    late = run(main)
    assert len(late) > 20
    assert late[len(late) // 2] < 0.05


def test_it_is_used_within_its_block_only(run, tmp_path):
    async def main():
        memory = engram.open_async(tmp_path)
        with pytest.raises(Unavailable, match="closed"):
            await memory.status()
        async with memory:
            assert (await memory.status()).records == 0
        for call in (memory.status, partial(memory.query_by_vector, V), partial(memory.get, "v1::" + "0" * 64)):
            with pytest.raises(Unavailable, match="closed"):
                await call()
        await memory.aclose()
        with pytest.raises(Unavailable, match="closed"):
            async with memory:
                pass

    run(main)


def test_a_second_open_is_refused_and_the_first_goes_on(run, tmp_path):
    async def main():
        async with engram.open_async(tmp_path) as memory:
            with pytest.raises(FolderInUse, match="in use by process"):
                async with engram.open_async(tmp_path):
                    pass
            assert isinstance(code_of(engram.open, tmp_path), FolderInUse)
            await memory.ingest_embedding(V)

    run(main)


def test_one_that_is_forgotten_is_closed_by_and_by(run, tmp_path):
    async def main():
        memory = await engram.open_async(tmp_path).__aenter__()
        await memory.ingest_embedding(V)
        del memory
        gc.collect()
        for thread in threading.enumerate():
            if thread.name.startswith("engram"):
                thread.join(20)

    run(main)
    with engram.open(tmp_path) as memory:
        assert memory.status().records == 1


class Count(Message[int], frozen=True):
    pass


class Counting(Plugin):
    asked = 0

    @handle
    async def count(self, message: Count) -> int:
        del message
        self.asked += 1
        return self.asked


def test_a_plug_in_is_asked(run, tmp_path):
    async def main():
        async with engram.open_async(tmp_path, actors={"counting": {"class": Counting}}) as memory:
            assert isinstance(memory, AsyncMemory)
            return [await memory.ask("counting", Count()) for _ in range(2)]

    assert run(main) == [1, 2]


ENDS = """
import asyncio, sys, engram
async def main():
    memory = await engram.open_async(sys.argv[1]).__aenter__()
    print(await memory.ingest_embedding([1.0] * 384), flush=True)
    {end}
asyncio.run(main())
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError", 1)])
def test_a_program_that_never_closes_ends_all_the_same(tmp_path, end, code):
    command = [sys.executable, "-W", "error", "-c", ENDS.format(end=end), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, env=environ(), timeout=30, check=False)
    assert ran.returncode == code, ran.stderr
    assert b"Fatal" not in ran.stderr
    assert b"Warning" not in ran.stderr
    with engram.open(tmp_path) as memory:
        assert memory.get(ran.stdout.decode().strip())


def test_a_url_gives_the_client(run, node):
    async def main():
        async with engram.open_async(node.url) as memory:
            assert isinstance(memory, AsyncEngramClient)
            return (await memory.status()).node_key

    assert run(main)
    with pytest.raises(BadRequest, match="models: a node has its own"):
        engram.open_async(node.url, models={})
