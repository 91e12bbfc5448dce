"""Followers of the log's tail: each at its own pace, none asleep over something that came."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from runtime.log_actors import World, deleted, stored

from engram.runtime import Tail

pytestmark = pytest.mark.trio


@pytest.fixture
def life(tmp_path, nursery):
    return World(nursery, tmp_path)


async def test_a_follower_sees_what_was_there_and_what_comes(life, autojump_clock):
    life.append(*map(stored, range(5)))
    follower = life.tail.follow(2)
    assert [position for position, *_ in await follower.next()] == [2, 3, 4, 5]
    with trio.move_on_after(10) as waited:
        await follower.next()
    assert waited.cancelled_caught
    life.append(stored(9))
    assert [position for position, *_ in await follower.next()] == [6]


async def test_a_commit_between_looking_and_waiting_is_seen(life, autojump_clock):
    """Whenever a commit falls, between any two steps of a follower that finds nothing, it is told of it."""
    for steps in range(12):
        follower, seen = life.tail.follow(life.log.size), []

        async def follow(follower=follower, seen=seen):
            async for batch in follower:
                seen.extend(position for position, *_ in batch)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            first = life.log.size
            life.append(stored(0))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            life.append(stored(1), stored(2))
            await trio.testing.wait_all_tasks_blocked()
            assert seen == [first, first + 1, first + 2], steps
            nursery.cancel_scope.cancel()


async def test_a_commit_while_a_batch_is_read_is_seen(life, autojump_clock):
    follower = life.tail.follow(1)
    run = life.offload.run

    async def slow(lane, call):
        found = await run(lane, call)
        if life.log.size == 2:
            life.append(stored(1))  # after the thread has read, before anybody has heard of it
        return found

    life.offload.run = slow
    life.append(stored(0))
    with trio.fail_after(5):
        assert len(await follower.next()) == 1
        assert len(await follower.next()) == 1


async def test_many_followers_go_at_their_own_pace_and_a_slow_one_holds_nothing(life, autojump_clock):
    seen = {pace: [] for pace in range(5)}

    async def follow(pace):
        async for batch in life.tail.follow(1):
            seen[pace] += [position for position, *_ in batch]
            await trio.sleep(pace)

    async with trio.open_nursery() as nursery:
        for pace in seen:
            nursery.start_soon(follow, pace)
        for number in range(30):
            life.append(*(stored(number) for _ in range(number % 7 + 1)))
            await trio.sleep(0.5)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert all(positions == list(range(1, life.log.size)) for positions in seen.values())
    slow = life.tail.follow(0)
    assert await slow.next()
    life.append(*map(stored, range(100)))
    assert {type(value) for value in vars(slow).values()} == {Tail, type(slow._reader), type(life.offload)}


async def test_batches_are_bounded(life):
    life.append(*map(stored, range(1500)))
    follower, sizes = life.tail.follow(0), []
    while follower.position < life.log.size:
        sizes.append(len(await follower.next()))
    assert max(sizes) <= 512
    assert sum(sizes) == 1501
    assert len(await life.tail.follow(1).next(limit_events=10)) == 10


async def test_a_cancelled_wait_takes_nothing(life, autojump_clock):
    follower = life.tail.follow(1)

    async def as_a_thread(lane, call):
        found = call()  # is done whether anybody still waits for it or not
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        return found

    life.offload.run = as_a_thread
    seen = []
    for cancel_after in range(8):
        life.append(stored(cancel_after))
        async with trio.open_nursery() as nursery:

            async def cancel(steps=cancel_after, nursery=nursery):
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel)
            seen += [at for at, *_ in await follower.next()]
    if follower.position < life.log.size:
        seen += [at for at, *_ in await follower.next()]
    assert seen == list(range(1, life.log.size))
    assert not life.tail._waiting


async def test_the_root_at_a_frames_end_is_given(life):
    life.append(stored(1), deleted(1))
    assert await life.tail.root_at(3) == life.log.root
    assert await life.tail.root_at(2) is None


async def test_a_follower_that_is_far_behind_can_be_cancelled(life):
    """Its reading is shielded and its waiting has nothing to wait for: a stop was not heard before the log's end."""
    life.append(*map(stored, range(20)))
    follower, run = life.tail.follow(0), life.offload.run
    with trio.CancelScope() as scope:

        async def cancelled(lane, call):
            scope.cancel()
            return await run(lane, call)

        life.offload.run = cancelled
        assert len(await follower.next(limit_events=1)) == 1
        await follower.next(limit_events=1)
    assert scope.cancelled_caught
    assert follower.position == 1
