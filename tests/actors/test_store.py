from __future__ import annotations

import pytest
import trio
import trio.testing
from kernel_actors import FixedRng, TrioClock
from small_folder import NOW, make

from engram.actors import Commit, StoreActor
from engram.errors import DeadlineExceeded
from engram.runtime import RealDisk, RealTables, Supervisor, Tail
from engram.store import Store


class SlowThreads:
    """An Offload port whose calls each take ten seconds, and are lost to whoever stops waiting."""

    async def run(self, lane, call):  # noqa: ARG002
        await trio.sleep(10)
        return call()

    def close(self):
        pass


async def test_neither_a_deadline_nor_a_stop_ends_a_commit_that_has_begun(autojump_clock, tmp_path):
    puts = make(tmp_path / "made")
    store = Store.open(RealDisk(), RealTables(), tmp_path / "new", FixedRng(7), NOW, "test")
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, TrioClock(), FixedRng(0))
        threads = SlowThreads()
        tail = Tail(store.log, threads)
        ref = await supervisor.start("store", lambda: StoreActor(store, threads, TrioClock(), tail))
        with pytest.raises(DeadlineExceeded):
            await ref.ask(Commit([puts[0]]), deadline=trio.current_time() + 1)
        assert store.count() == 0
        await trio.sleep(20)
        assert store.count() == 1
        ref.try_tell(Commit([puts[1]]))
        await trio.testing.wait_all_tasks_blocked()
        await supervisor.stop(grace_s=1)
        assert store.count() == 2
    assert (ref.stats.handled, ref.stats.crashes) == (2, 0)
    assert tail.size == store.log.size
    store.close(NOW)
