"""What a supervisor promises: order, patience, an end; and what it tells of."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
import trio.testing
from kernel_actors import Add, Call, Counter, Fail, FixedRng, TrioClock, Wait

from engram.errors import Internal, LogCorrupt, StorageFailed, Unavailable, Unprocessable
from engram.runtime import (
    Actor,
    Crashed,
    Plan,
    Restarted,
    RestartPolicy,
    Stopped,
    Supervisor,
    handle,
    leaf,
)

settled = trio.testing.wait_all_tasks_blocked


@pytest.fixture
async def supervisor(nursery):
    return Supervisor(nursery, TrioClock(), FixedRng(128), RestartPolicy(intensity=3))


async def crash(ref, error=None):
    with pytest.raises(Internal):
        await ref.ask(Fail(error or ValueError("a user's secret")))


class Starting(Actor):
    """Fails at those of its starts that it is told to, and notes when each was."""

    def __init__(self, starts: list[float], failing: set[int]) -> None:
        self.starts = starts
        self.failing = failing

    async def on_start(self) -> None:
        self.starts.append(trio.current_time())
        if len(self.starts) in self.failing:
            raise ValueError("start")

    @handle
    async def fail(self, message: Fail) -> None:
        raise message.error

    @handle
    async def add(self, message: Add) -> int:
        return message.number


# -- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("byte", "share"), [(0, 0.5), (128, 0.75), (255, 1)])
async def test_pauses_double_up_to_a_limit_and_a_random_half_is_left_out(autojump_clock, nursery, byte, share):
    policy = RestartPolicy(intensity=6, period_s=1000, first_delay_s=1, longest_delay_s=8)
    supervisor = Supervisor(nursery, TrioClock(), FixedRng(byte), policy)
    starts: list[float] = []
    ref = await supervisor.start("it", lambda: Starting(starts, set()))
    crashed = []
    for _ in range(6):
        await crash(ref)
        crashed.append(trio.current_time())
        await ref.ask(Add(0))
    pauses = [start - at for start, at in zip(starts[1:], crashed, strict=True)]
    assert pauses == pytest.approx([share * s for s in (1, 2, 4, 8, 8, 8)], rel=0.01)


async def test_a_failing_start_is_one_more_crash_and_the_mailbox_survives_it(autojump_clock, supervisor):
    starts: list[float] = []
    ref = await supervisor.start("it", lambda: Starting(starts, {2, 3}))
    await crash(ref)
    assert await ref.ask(Add(7)) == 7
    assert len(starts) == 4
    assert (ref.stats.crashes, ref.stats.restarts, ref.stats.dead_letters) == (3, 1, 1)


async def test_crashes_long_ago_are_forgotten(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)
    for _ in range(9):
        await crash(ref)
        await trio.sleep(31)
    assert await ref.ask(Add(1)) == 1


async def test_a_crash_touches_no_other_actor(autojump_clock, supervisor):
    one, other = [await supervisor.start(name, Counter) for name in ("one", "other")]
    await other.ask(Add(1))
    await crash(one)
    assert await other.ask(Add(1)) == 2
    assert (other.stats.crashes, other.stats.restarts) == (0, 0)


async def test_an_actor_that_is_not_essential_is_given_up_and_the_rest_lives(autojump_clock, supervisor):
    ref = await supervisor.start("extra", Counter, essential=False)
    other = await supervisor.start("other", Counter)
    for _ in range(4):
        await crash(ref)
    await settled()
    for send in (ref.ask, ref.tell):
        with pytest.raises(Unavailable, match="the extra has failed and is not started again"):
            await send(Add(1))
    assert await other.ask(Add(1)) == 1
    assert [report.state for report in supervisor.report()] == ["failed", "running"]
    await supervisor.stop()
    assert [report.state for report in supervisor.report()] == ["failed", "stopped"]


@pytest.mark.parametrize("fatal", [StorageFailed("fsync"), LogCorrupt("at 7")])
async def test_what_no_restart_mends_escalates_though_the_actor_is_not_essential(autojump_clock, fatal):
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, TrioClock(), FixedRng(0))
            ref = await supervisor.start("extra", Counter, essential=False)
            ref.try_tell(Fail(fatal))
            await trio.sleep_forever()
    assert leaf(caught.value) is fatal


async def test_a_failed_disk_in_an_inner_nursery_beside_a_bug_is_what_counts(autojump_clock):
    async def both(_):
        async def fail(error):
            raise error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError())
            nursery.start_soon(fail, StorageFailed("fsync"))

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, TrioClock(), FixedRng(0))
            ref = await supervisor.start("counter", Counter)
            with pytest.raises(StorageFailed):
                await ref.ask(Call(both))
            await trio.sleep_forever()
    assert isinstance(leaf(caught.value), StorageFailed)


# -- order ------------------------------------------------------------------------------------------------------------


def asking(name, asked, notes=None):
    class Asking(Actor):
        asks = asked

        async def on_start(self) -> None:
            if notes is not None:
                notes.append(f"+{name}")

        async def on_stop(self) -> None:
            if notes is not None:
                await trio.lowlevel.checkpoint()
                notes.append(f"-{name}")

        @handle
        async def add(self, message: Add) -> int:
            return sum([await ref.ask(message) for ref in self.context.refs.values()], message.number)

        @handle
        async def call(self, message: Call) -> object:
            return await message.call(self)

        @handle
        async def wait(self, message: Wait) -> None:
            await message.event.wait()

    return Plan(name, Asking)


async def test_actors_start_after_those_they_ask_and_stop_before_them(autojump_clock, supervisor):
    notes: list[str] = []
    plans = [asking("a", ("c",), notes), asking("b", (), notes), asking("c", ("d", "b"), notes), asking("d", (), notes)]
    refs = await supervisor.boot(plans)
    assert await refs["a"].ask(Add(1)) == 4
    await supervisor.stop()
    assert notes == ["+d", "+b", "+c", "+a", "-a", "-c", "-b", "-d"]


async def test_a_circle_of_asks_is_refused_before_anything_starts(autojump_clock, supervisor):
    notes: list[str] = []
    plans = [asking("x", ("a",), notes), asking("a", ("b",), notes), asking("b", ("c",)), asking("c", ("a",))]
    with pytest.raises(Unprocessable, match=r"one another: a -> b -> c -> a$"):
        await supervisor.boot(plans)
    with pytest.raises(Unprocessable, match=r"one another: me -> me$"):
        await supervisor.boot([asking("me", ("me",))])
    assert notes == []


async def test_who_asks_an_actor_that_is_not_there_is_refused(autojump_clock, supervisor):
    with pytest.raises(Unprocessable, match="a asks nobody, and there is no such actor"):
        await supervisor.boot([asking("a", ("nobody",))])


async def test_two_actors_of_one_name_are_refused(autojump_clock, supervisor):
    with pytest.raises(ValueError, match="two actors named 'b'"):
        await supervisor.boot([asking("a", ()), asking("b", ()), asking("b", ())])
    await supervisor.start("a", Counter)
    with pytest.raises(ValueError, match="two actors named 'a'"):
        await supervisor.start("a", Counter)


async def test_an_undeclared_actor_is_not_handed_out(autojump_clock, supervisor):
    refs = await supervisor.boot([asking("a", ("b",)), asking("b", ()), asking("c", ())])

    async def look(actor):
        assert actor.context.ref("b").name == "b"
        with pytest.raises(LookupError, match="the a asks 'c', which its class does not name in `asks`"):
            actor.context.ref("c")
        return list(actor.context.refs)

    assert await refs["a"].ask(Call(look)) == ["b"]


async def test_a_start_that_fails_is_raised_as_itself(autojump_clock, supervisor):
    with pytest.raises(ValueError, match="start"):
        await supervisor.start("it", lambda: Starting([], {1}))

    class Grouped(Actor):
        async def on_start(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.refuse)

        async def refuse(self) -> None:
            raise Unavailable("no")

    with pytest.raises(Unavailable, match="no"):
        await supervisor.start("grouped", Grouped)
    assert supervisor.report() == []


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_a_cancelled_nursery_stops_its_actors_in_order_and_with_grace(autojump_clock):
    notes: list[str] = []
    answers: list[object] = []
    gate = trio.Event()

    async def ask(ref, message):
        with trio.CancelScope(shield=True):
            answers.append(await ref.ask(message))

    async with trio.open_nursery() as askers:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, TrioClock(), FixedRng(0))
            refs = await supervisor.boot([asking("low", (), notes), asking("high", ("low",), notes)])
            askers.start_soon(ask, refs["high"], Wait(gate))
            await settled()
            askers.start_soon(ask, refs["high"], Add(1))
            await settled()
            askers.start_soon(_set_after, gate, 3)
            nursery.cancel_scope.cancel()
        assert notes == ["+low", "+high", "-high", "-low"]
    assert answers == [None, 2]  # what waited was handled, and could still ask those below


async def _set_after(event, seconds):
    await trio.sleep(seconds)
    event.set()


async def test_on_stop_of_an_actor_that_is_cut_off_is_called_and_is_bounded(autojump_clock, nursery):
    ended: list[str] = []

    class Stuck(Counter):
        async def on_stop(self) -> None:
            ended.append("begun")
            try:
                await trio.sleep_forever()
            finally:
                ended.append("ended")

    supervisor = Supervisor(nursery, TrioClock(), FixedRng(0))
    ref = await supervisor.start("stuck", Stuck)
    ref.try_tell(Wait(trio.Event()))
    start = trio.current_time()
    with structlog.testing.capture_logs() as logs:
        await supervisor.stop(grace_s=5)
    assert ended == ["begun", "ended"]
    assert trio.current_time() - start == 35
    assert logs == [{"actor": "stuck", "event": "actor_stop_cut_off", "after_s": 30.0, "log_level": "warning"}]


async def test_a_bug_at_the_end_is_reported_and_the_others_stop(autojump_clock, supervisor):
    class Bad(Counter):
        async def on_stop(self) -> None:
            raise ValueError("bye")

    other = await supervisor.start("other", Counter)
    await supervisor.start("bad", Bad)
    await supervisor.stop()
    _, bad = supervisor.report()
    assert bad.last_error.startswith("builtins.ValueError at ")
    assert (bad.state, bad.crashes) == ("stopped", 1)
    with pytest.raises(Unavailable, match="the other has stopped"):
        await other.ask(Add(1))


async def test_stopping_an_actor_that_waits_to_be_started_again_takes_no_grace(autojump_clock, nursery):
    supervisor = Supervisor(nursery, TrioClock(), FixedRng(0), RestartPolicy(first_delay_s=100, longest_delay_s=100))
    ref = await supervisor.start("counter", Counter)
    await crash(ref)
    await settled()
    assert supervisor.report()[0].state == "backing_off"
    start = trio.current_time()
    await supervisor.stop()
    assert trio.current_time() == start


async def test_what_waits_when_an_actor_crashes_while_it_stops_is_handled_by_the_next(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)
    answers = []

    async def ask(message):
        try:
            answers.append(await ref.ask(message))
        except Internal:
            answers.append(Internal)

    async with trio.open_nursery() as asking_now:
        for message in (Fail(ValueError()), Add(5)):
            asking_now.start_soon(ask, message)
            await settled()
        await supervisor.stop()
    assert sorted(map(str, answers)) == ["5", str(Internal)]


async def test_a_supervisor_that_has_stopped_can_start_again(autojump_clock, supervisor):
    await supervisor.start("counter", Counter)
    await supervisor.stop()
    await supervisor.stop()
    ref = await supervisor.start("counter", Counter)
    assert await ref.ask(Add(1)) == 1
    assert len(supervisor.report()) == 1


# -- what is told -----------------------------------------------------------------------------------------------------


class Watcher(Actor):
    mailbox_limit = 8

    def __init__(self, heard: list[object]) -> None:
        self.heard = heard

    @handle
    async def hear(self, news: Crashed | Restarted | Stopped) -> None:
        self.heard.append(news)

    @handle
    async def wait(self, message: Wait) -> None:
        await message.event.wait()


async def test_a_watcher_hears_of_crashes_restarts_and_the_end(autojump_clock, supervisor):
    heard: list[object] = []
    watcher = await supervisor.start("watcher", lambda: Watcher(heard))
    ref = await supervisor.start("counter", Counter)
    ref.watch(watcher)
    ref.watch(watcher)
    await crash(ref)
    await ref.ask(Add(1))
    await supervisor.stop()
    crashed, *rest = heard
    assert crashed.actor == "counter"
    assert crashed.error.startswith("builtins.ValueError at kernel_actors:")
    assert rest == [Restarted("counter"), Stopped("counter", "stopped")]


async def test_who_watches_an_actor_that_has_ended_hears_so_at_once(autojump_clock, supervisor):
    heard: list[object] = []
    watcher = await supervisor.start("watcher", lambda: Watcher(heard))
    ref = await supervisor.start("extra", Counter, essential=False)
    for _ in range(4):
        await crash(ref)
    await settled()
    ref.watch(watcher)
    await settled()
    assert heard == [Stopped("extra", "failed")]


async def test_who_cannot_hear_the_news_cannot_watch(autojump_clock, supervisor):
    one, other = [await supervisor.start(name, Counter) for name in ("one", "other")]
    with pytest.raises(TypeError, match="the other cannot watch: it handles no Crashed, Restarted, Stopped"):
        one.watch(other)


async def test_news_that_a_full_watcher_has_no_room_for_is_a_dead_letter(autojump_clock, supervisor):
    watcher = await supervisor.start("watcher", lambda: Watcher([]), mailbox_limit=1)
    ref = await supervisor.start("counter", Counter)
    ref.watch(watcher)
    gate = trio.Event()
    await watcher.tell(Wait(gate))
    await settled()
    await crash(ref)
    await ref.ask(Add(1))
    assert [(letter.actor, letter.message) for letter in supervisor.dead_letters] == [
        ("counter", "Fail"),
        ("watcher", "Restarted"),
    ]
    gate.set()


async def test_a_report_says_how_every_actor_is(autojump_clock, supervisor, nursery):
    gate = trio.Event()
    busy = await supervisor.start("busy", Counter, mailbox_limit=2)
    await supervisor.start("idle", Counter, essential=False)
    with structlog.testing.capture_logs() as logs:
        await crash(busy)
        await busy.ask(Add(1))
    nursery.start_soon(busy.ask, Wait(gate))
    await settled()
    for _ in range(2):
        await busy.tell(Add(1))
    with pytest.raises(Unavailable.__base__, match="its limit"):
        busy.try_tell(Add(1))
    first, second = supervisor.report()
    assert (first.name, first.state, first.essential, first.waiting, first.mailbox_limit) == (
        "busy",
        "running",
        True,
        2,
        2,
    )
    assert (first.accepted, first.handled, first.refused, first.dead_letters) == (5, 1, 1, 1)
    assert (first.crashes, first.restarts) == (1, 1)
    assert first.last_error.startswith("builtins.ValueError at kernel_actors:")
    assert (second.name, second.essential, second.accepted, second.last_error) == ("idle", False, 0, None)
    [letter] = supervisor.dead_letters
    assert (letter.actor, letter.message, letter.error) == ("busy", "Fail", first.last_error)
    assert letter.at_ns <= trio.current_time() * 1e9
    assert "secret" not in repr((first, letter, logs))
    gate.set()


async def test_dead_letters_are_the_latest_and_never_more(autojump_clock, nursery):
    supervisor = Supervisor(nursery, TrioClock(), FixedRng(0), RestartPolicy(intensity=1000))
    ref = await supervisor.start("counter", Counter, mailbox_limit=400)
    for number in range(300):
        await ref.tell(Fail(ValueError() if number < 290 else KeyError()))
    await ref.ask(Add(0))
    letters = supervisor.dead_letters
    assert len(letters) == 256
    assert [letter.error.split(" ")[0] for letter in letters[-11:]] == ["builtins.ValueError"] + [
        "builtins.KeyError"
    ] * 10
    assert ref.stats.dead_letters == 300


async def test_without_an_offload_port_nothing_runs_on_threads(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)

    async def run(actor):
        with pytest.raises(RuntimeError, match="was given no Offload port"):
            await actor.context.offload.run("any", int)
        return actor.context.name

    assert await ref.ask(Call(run)) == "counter"
