"""An actor of one's own lives in the harness as in a node; and the files of its projection are judged there."""

# ruff: noqa: ARG002 - folds, reactions and handlers have these parameters, whether they need them or not

from __future__ import annotations

import contextlib
from typing import ClassVar

import msgspec
import pytest
import trio
from runtime.log_actors import Break, Living, Look, deleted, stored

from engram import events
from engram.errors import BadRequest, Internal, NotFound
from engram.runtime import Actor, Message, Plugin, handle
from engram.testing import Crashed, KeepFirst, LoseAll, LoseNothing, LoseSome, actor_harness, run_seeded, stream
from engram.wire import Status


def cids(*numbers):
    return [f"v1::{number}" for number in numbers]


def test_an_actor_lives_through_restarts_crashes_and_bugs_of_its_own():
    async def main():
        async with actor_harness(Living) as harness:
            await harness.append(stored(1), stored(2))
            assert await harness.ref.ask(Look()) == cids(1, 2)
            await harness.restart()
            await harness.append(stored(3))
            assert await harness.ref.ask(Look()) == cids(1, 2, 3)
            await harness.crash()
            assert await harness.ref.ask(Look()) == cids(1, 2, 3)
            with pytest.raises(Internal):
                await harness.ref.ask(Break())
            assert await harness.ref.ask(Look()) == cids(1, 2, 3)
            assert harness.report().restarts == 1
            assert [letter.message for letter in harness.dead_letters] == ["Break"]
            assert await harness.append(deleted(2)) == 4
            await harness.settle()

    run_seeded(main, seed=1)


class Say(Message[str], frozen=True):
    pass


class Talks(Actor):
    @handle
    async def say(self, message: Say) -> str:
        await trio.sleep(10_000)
        return "hello"


class AtMost(msgspec.Struct):
    at_most: int = 1


class Asks(Plugin):
    Options = AtMost

    @handle
    async def look(self, message: Look) -> list[str]:
        return [str(self.options.at_most), await self.node.call(Status())]


def test_any_actor_may_live_in_it_and_time_costs_nothing():
    async def main():
        async with actor_harness(Talks) as harness:
            assert await harness.ref.ask(Say()) == "hello"

    run_seeded(main, seed=1)


def test_a_plugin_has_its_options_and_a_node_that_answers_as_the_test_says():
    async def main():
        async with actor_harness(Asks, options={"at_most": 7}, answer=lambda request: request.method) as harness:
            assert await harness.ref.ask(Look()) == ["7", "status"]
            assert harness.requests == [Status()]
        async with actor_harness(Asks) as harness:
            with pytest.raises(NotFound, match="give actor_harness an `answer`"):
                await harness.ref.ask(Look())

    run_seeded(main, seed=1)


def test_an_assertion_of_a_test_comes_out_as_it_was_raised():
    async def main():
        async with actor_harness(Living) as harness:
            assert await harness.ref.ask(Look()) == ["nothing like it"]

    with pytest.raises(AssertionError):
        run_seeded(main, seed=1)


def test_a_seed_decides_everything():
    async def main():
        async with actor_harness(Living, seed=5) as harness:
            for number in range(20):
                await harness.append(stored(number))
            await harness.settle()
            return trio.current_time(), harness.disk.calls

    assert run_seeded(main, seed=3) == run_seeded(main, seed=3)


# -- the files of a projection on a disk that loses what was not synced ------------------------------------------------


class Told(Living):
    snapshot_every = 4
    heard: ClassVar[list[str]] = []

    def __init__(self):
        super().__init__(told=Told.heard)


async def live(harness):
    """Some life: writes, deletions, an orderly restart that keeps snapshot and cursor, and more of it."""
    await harness.settle()
    for number in range(12):
        await harness.append(stored(number))
        if number % 3 == 2:
            await harness.append(deleted(number - 1))
            await harness.settle()
        if number == 7:
            await harness.restart()


def count_calls():
    calls = []

    async def main():
        async with actor_harness(Told) as harness:
            harness.disk.hook = lambda *call: calls.append(call) if call[0] != "read" else None
            await live(harness)

    run_seeded(main, seed=1)
    return len(calls)


LOSSES = {
    "all": LoseAll,
    "nothing": LoseNothing,
    "first kept": lambda: KeepFirst(1),
    "some": lambda: LoseSome(stream(1, "loss")),
    "most kept": lambda: LoseSome(stream(2, "loss"), 0.9),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_crash_at_every_call_of_the_disk_leaves_a_state_that_is_the_fold_and_no_reaction_out(loss):
    """Torn, missing or old snapshots and cursors: whatever a crash leaves of them, nothing is wrong and nothing lost."""
    count = count_calls()
    assert count > 60
    for number in range(count):
        run_seeded(lambda number=number: crash_at(number, LOSSES[loss]()), seed=1)


async def crash_at(number, loss):
    Told.heard.clear()
    calls = 0

    def hook(call, path, offset, size):
        nonlocal calls
        calls += call != "read"
        if calls > number:
            harness.disk.power.cut()
            raise Crashed

    async with actor_harness(Told) as harness:
        harness.disk.hook = hook
        with contextlib.suppress(Crashed, trio.TooSlowError):  # as meant; or nobody is left who would settle
            await live(harness)
        harness.disk.hook = lambda *_: None
        await harness.crash(loss)
        await harness.settle()
        await harness.append(stored(100), deleted(100))
        await harness.settle()
        living, gone = folded(harness.log)
        assert await harness.ref.ask(Look()) == living
        assert set(gone) <= set(Told.heard)
        assert harness.report().crashes == 0


def folded(log):
    living, gone = [], []
    for _, data in log.read():
        match events.decode(data):
            case events.RecordStored(cid=cid):
                living.append(cid)
            case events.RecordDeleted(cid=cid):
                living.remove(cid)
                gone.append(cid)
    return living, gone


def test_options_are_refused_as_a_node_refuses_them():
    class Settings(msgspec.Struct):
        size: int = 1

    class Sized(Plugin):
        Options = Settings

    async def main(**options):
        async with actor_harness(Sized, options=options):
            pass

    run_seeded(lambda: main(size=2), seed=1)
    for options, says in (({"siez": 2}, "actors.actor.siez is no option of Sized"), ({"size": "2"}, "Expected `int`")):
        with pytest.raises(BadRequest, match=says):
            run_seeded(lambda options=options: main(**options), seed=1)
