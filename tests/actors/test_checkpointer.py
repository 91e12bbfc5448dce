"""When checkpoints are signed without being asked for, and how one is asked for. Time is virtual."""

from __future__ import annotations

import contextlib

import pytest
import trio
from actors.test_scrubber import Inline
from kernel_actors import FixedRng, TrioClock
from store.test_scrub import fill, open_small
from store.test_store import put

from engram.actors import EPOCH_S, Checkpointer, CheckpointOnce, CommitCheckpoint, StoreActor, keep_asking
from engram.errors import StorageFailed
from engram.runtime import Supervisor, Tail


@pytest.fixture
def store(tmp_path):
    store = open_small(tmp_path / "data")
    fill(store)
    yield store
    with contextlib.suppress(StorageFailed):
        store.close(1)


@contextlib.asynccontextmanager
async def running(store):
    offload, clock = Inline(), TrioClock()
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, clock, FixedRng(0), offload=offload)
        tail = Tail(store.log, offload)
        ref = await supervisor.start("store", lambda: StoreActor(store, offload, clock, tail))
        own = await supervisor.start("checkpointer", lambda: Checkpointer(store, ref))
        nursery.start_soon(keep_asking, own, CheckpointOnce, clock)
        yield ref, tail
        await supervisor.stop()
        nursery.cancel_scope.cancel()


def sizes(store) -> list[int]:
    disk, folder = store.folder.disk, store.folder.path / "checkpoints"
    return [int(name) for name in disk.list(folder)]


async def test_an_epoch_in_which_something_was_written_ends_with_a_checkpoint(store, autojump_clock):
    async with running(store):
        await trio.sleep(1)
        assert sizes(store) == []
        await trio.sleep(EPOCH_S)
        assert sizes(store) == [store.log.size]


async def test_nothing_new_is_not_signed_again(store, autojump_clock):
    async with running(store):
        await trio.sleep(2 * EPOCH_S)
        size = store.log.size
        await trio.sleep(5 * EPOCH_S)
        assert (sizes(store), store.log.size) == ([size], size)
        store.commit([put(store, "something new", 1.0)], 1)
        await trio.sleep(EPOCH_S)
        assert sizes(store) == [size, size + 2]


async def test_who_asks_for_one_has_it_at_once_and_those_who_follow_the_log_hear_of_it(store, autojump_clock):
    async with running(store) as (ref, tail):
        before = store.log.size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tail.beyond, before)
            commitment = await ref.ask(CommitCheckpoint())
        assert commitment.size == before + 1 == store.log.size
        assert await ref.ask(CommitCheckpoint(before)) is commitment
        assert store.proofs.latest is commitment


async def test_a_store_that_has_failed_signs_nothing(store, autojump_clock):
    store.fail(StorageFailed("the disk is gone"))
    with pytest.raises(BaseExceptionGroup) as raised:
        async with running(store) as (ref, _):
            await ref.ask(CommitCheckpoint())
    assert raised.group_contains(StorageFailed)
