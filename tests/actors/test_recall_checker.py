"""The recall checker beside a real store: what it replays, how often, and what it has kept. Time is virtual."""

from __future__ import annotations

import contextlib

import trio
from actors.test_scrubber import Inline
from kernel_actors import FixedRng, TrioClock
from store.test_recall import PUBLIC, copy, folder, search, store, vectors

from engram import events
from engram.actors import RecallChecker, ReplayOnce, StoreActor, keep_asking
from engram.runtime import Supervisor, Tail
from engram.store import RecallCheck

__all__ = ["copy", "folder", "store", "vectors"]


@contextlib.asynccontextmanager
async def checking(store):
    offload, clock, check = Inline(), TrioClock(), RecallCheck(store)
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, clock, FixedRng(0), offload=offload)
        await supervisor.start("store", lambda: StoreActor(store, offload, clock, Tail(store.log, offload)))
        ref = await supervisor.start("recall_checker", lambda: RecallChecker(check), essential=False)
        nursery.start_soon(keep_asking, ref, ReplayOnce, clock)
        yield check
        await supervisor.stop()
        nursery.cancel_scope.cancel()


async def test_about_one_query_a_second_is_replayed_and_the_first_minute_kept_in_the_log(
    store, vectors, autojump_clock
):
    position = store.published.position
    async with checking(store) as check:
        for second in range(90):
            for _ in range(3):
                search(store, vectors[-1 - second % 20])
            await trio.sleep(1)
        assert 0 < check.latest(PUBLIC.ns).queries < 64
    [(_, data)] = store.log.read(position)
    measured = events.decode(data)
    assert isinstance(measured, events.RecallMeasured)
    assert (measured.ns, measured.mode, measured.queries, measured.widening) == (PUBLIC.ns, "fast", 64, 1)
    assert 630 <= measured.found <= measured.expected == 640
