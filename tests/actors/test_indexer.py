"""When the indexer seals, on which threads, and what becomes of a disk that fails it. Time is virtual."""

from __future__ import annotations

import contextlib

import pytest
import structlog
import trio
from actors.test_scrubber import Inline
from disks import FullDisk
from kernel_actors import FixedRng, TrioClock
from store.test_scrub import open_small
from store.test_store import put

from engram.actors import Indexer, IndexOnce, keep_asking
from engram.identity import PUBLIC_NAMESPACE
from engram.runtime import Supervisor
from engram.store import Indexing, IndexLimits

LIMITS = IndexLimits(seal_rows=4, merge=2, largest_rows=100)


@pytest.fixture
def disk():
    return FullDisk()


@pytest.fixture
def store(tmp_path, disk):
    store = open_small(tmp_path / "data", disk)
    yield store
    store.close(1)


def fill(store, first, count=4):
    store.commit([put(store, f"text {first + number}", 1.0, first + number) for number in range(count)], 1)


def sealed(store):
    return [rows for _, rows, _, _ in store.published.indexes[PUBLIC_NAMESPACE].sizes[:-1]]


@contextlib.asynccontextmanager
async def indexing(store):
    offload, clock = Inline(), TrioClock()
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, clock, FixedRng(0), offload=offload)
        make = lambda: Indexer(store, Indexing(store, LIMITS))  # noqa: E731 (as the node makes it)
        ref = await supervisor.start("indexer", make, essential=False)
        nursery.start_soon(keep_asking, ref, IndexOnce, clock)
        yield offload
        await supervisor.stop()
        nursery.cancel_scope.cancel()


async def test_a_full_head_is_sealed_within_seconds_and_merged_at_once(store, autojump_clock):
    async with indexing(store):
        fill(store, 0)
        await trio.sleep(1.5)
        assert sealed(store) == [4]
        fill(store, 4)
        await trio.sleep(1.5)
        assert sealed(store) == [8]


async def test_only_the_adoption_runs_on_the_writers_thread(store, autojump_clock):
    async with indexing(store) as offload:
        fill(store, 0)
        await trio.sleep(1.5)
        assert len(offload.of("writer")) == 1
        assert len(offload.of("index")) >= 3


async def test_a_disk_that_fails_is_left_alone_for_a_while_and_the_index_stays_whole(store, disk, autojump_clock):
    with structlog.testing.capture_logs() as logs:
        async with indexing(store) as offload:
            fill(store, 0)
            disk.full = True
            await trio.sleep(50)
            assert sealed(store) == []
            assert len(offload.of("index")) <= 4
            disk.full = False
            await trio.sleep(50)
            assert sealed(store) == [4]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["index_not_written"]
    assert "No space left" in next(line["reason"] for line in logs if line["event"] == "index_not_written")
