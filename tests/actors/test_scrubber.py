"""When the scrubber reads, how fast, and what becomes of what it finds. Time is virtual."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
import structlog
import trio
from kernel_actors import FixedRng, TrioClock
from store.test_scrub import damage, fill, flip, open_small
from store.test_store import put

from engram.actors import Scrubber, ScrubOnce, keep_asking
from engram.errors import LogCorrupt, StorageFailed
from engram.runtime import Supervisor, leaf
from engram.store import Scrub

DAY_S = 24 * 3600


class Inline:
    """Runs everything in the caller's thread, behind `engram.ports.Offload`; remembers when."""

    def __init__(self) -> None:
        self.ran: list[tuple[float, str]] = []

    async def run(self, lane, call):
        await trio.lowlevel.checkpoint()
        self.ran.append((trio.current_time(), lane))
        return call()

    def of(self, lane: str) -> list[float]:
        return [at for at, name in self.ran if name == lane]


@pytest.fixture
def store(tmp_path):
    store = open_small(tmp_path / "data")
    fill(store)
    yield store
    with contextlib.suppress(StorageFailed):
        store.close(1)


@contextlib.asynccontextmanager
async def scrubbing(store, scrub, bytes_per_s=1e6):
    offload, clock = Inline(), TrioClock()
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, clock, FixedRng(0), offload=offload)
        ref = await supervisor.start("scrubber", lambda: Scrubber(store, scrub, bytes_per_s), essential=False)
        nursery.start_soon(keep_asking, ref, ScrubOnce, clock)
        yield offload
        await supervisor.stop()
        nursery.cancel_scope.cancel()


async def test_it_waits_until_nothing_was_written_for_a_while(store, autojump_clock):
    scrub = Scrub(store)
    begun = trio.current_time()
    async with scrubbing(store, scrub) as offload:
        for number in range(5):
            await trio.sleep(20)
            store.commit([put(store, f"text {number}", 1.0, number)], number)
        assert offload.of("scrub") == []
        await trio.sleep(100)
        first = offload.of("scrub")[0]
    assert 130 <= first - begun < 191
    assert scrub.place.last is not None


async def test_it_reads_no_faster_than_it_was_told(store, autojump_clock):
    scrub = Scrub(store)
    async with scrubbing(store, scrub, bytes_per_s=1000) as offload:
        await trio.sleep(7200)
        looks = offload.of("scrub")
    size = scrub.place.last.size_bytes
    assert size > 10_000
    assert looks[-1] - looks[0] >= size / 1000
    assert len(looks) < 100


async def test_it_begins_again_after_a_day_and_hardly_wakes_before(store, autojump_clock, monkeypatch):
    asked = []
    once = Scrub.due_s
    monkeypatch.setattr(Scrub, "due_s", lambda scrub, now: asked.append(now) or once(scrub, now))
    scrub = Scrub(store)
    async with scrubbing(store, scrub, 1e9):
        await trio.sleep(DAY_S - 3600)
        first = scrub.place.last
        assert len(asked) < 1500
        await trio.sleep(2 * 3600)
        second = scrub.place.last
    assert second.started_unix_ns - first.finished_unix_ns >= DAY_S * 10**9
    assert second.started_unix_ns - first.finished_unix_ns < (DAY_S + 120) * 10**9


async def test_damage_in_the_log_ends_the_node_and_nothing_more_is_written(store, autojump_clock):
    path, at, _ = damage(store.folder.path, "events")
    flip(path, at + 70)
    with pytest.raises(ExceptionGroup) as caught:
        async with scrubbing(store, Scrub(store)):
            await trio.sleep(1000)
    error = leaf(caught.value)
    assert isinstance(error, LogCorrupt)
    assert f"{path}, offset {at}: " in error.message
    with pytest.raises(StorageFailed, match=path.name):
        store.commit([put(store, "east", 1.0)], 1)
    assert store.checkpoint(1) is None


async def test_tables_that_went_wrong_are_folded_again_by_the_writer(store, autojump_clock):
    scrub, count = Scrub(store), store.count()
    elsewhere = sqlite3.connect(store.folder.path / "state.db", isolation_level=None)
    elsewhere.execute("UPDATE tallies SET records = records + 1")
    elsewhere.close()
    async with scrubbing(store, scrub) as offload:
        await trio.sleep(1000)
        assert len(offload.of("writer")) == 1
    assert (store.count(), store.verify_state()) == (count, True)


async def test_what_it_finds_is_said_in_the_log(store, autojump_clock):
    path, at, _ = damage(store.folder.path, "bodies")
    flip(path, at + 70)
    with structlog.testing.capture_logs() as said:
        async with scrubbing(store, Scrub(store)):
            await trio.sleep(1000)
    [warning] = [entry for entry in said if entry["event"] == "damage_found"]
    assert (warning["log_level"], warning["file"], warning["offset"]) == ("warning", f"bodies/{path.name}", at)
    [done] = [entry for entry in said if entry["event"] == "scrub_completed"]
    assert done["findings"] == 1


async def test_a_stop_in_the_middle_of_a_pass_keeps_the_place(store, autojump_clock):
    scrub = Scrub(store)
    async with scrubbing(store, scrub, bytes_per_s=100):
        await trio.sleep(200)
    assert scrub.place.part is not None
    assert scrub.place.size_bytes > 0
    assert Scrub(store).place == scrub.place


async def test_a_piece_that_cannot_be_read_now_is_read_later(store, autojump_clock, monkeypatch):
    scrub = Scrub(store)
    step, failed = Scrub.step, []

    def fails_at_first(self, now):
        if len(failed) < 3:
            failed.append(now)
            raise OSError(24, "Too many open files")
        return step(self, now)

    monkeypatch.setattr(Scrub, "step", fails_at_first)
    async with scrubbing(store, scrub):
        await trio.sleep(2000)
    assert len(failed) == 3
    assert scrub.place.last is not None
    assert scrub.place.findings == []
