from __future__ import annotations

from collections.abc import Sequence

import pytest
import structlog.testing
import trio
import trio.testing
from kernel_actors import Add, Batcher, Counter, Fail, TrioClock, Wait

from engram.errors import Busy, Internal, NotFound, StorageFailed, Unavailable
from engram.runtime import Actor, RealRng, RestartPolicy, Supervisor, Threads, gather, handle_batch


@pytest.fixture
async def supervisor(nursery):
    return Supervisor(nursery, TrioClock(), RealRng(), RestartPolicy(intensity=3))


async def test_asking_gives_the_handlers_answer(autojump_clock, supervisor):
    ref = await supervisor.start("counter", lambda: Counter([]))
    assert [await ref.ask(Add(n)) for n in (1, 2, 3)] == [1, 3, 6]
    assert ref.stats.handled == 3
    await supervisor.stop()


async def test_a_domain_error_goes_to_the_asker_and_the_actor_lives(autojump_clock, supervisor):
    lives: list[int] = []
    ref = await supervisor.start("counter", lambda: Counter(lives))
    with pytest.raises(NotFound, match="no such"):
        await ref.ask(Fail(NotFound("no such")))
    assert await ref.ask(Add(1)) == 1
    assert len(lives) == 1
    await supervisor.stop()


async def test_a_bug_kills_one_message_and_the_mailbox_survives(autojump_clock, supervisor):
    lives: list[int] = []
    ref = await supervisor.start("counter", lambda: Counter(lives))
    answers: list[object] = []

    async def ask(message):
        try:
            answers.append(await ref.ask(message))
        except Internal as error:
            answers.append(str(error))

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            for message in (Add(1), Fail(ValueError("a user's secret")), Add(5)):
                nursery.start_soon(ask, message)
                await trio.testing.wait_all_tasks_blocked()
    assert sorted(map(str, answers)) == ["1", "5", "the counter failed on it (ValueError)"]
    assert (len(lives), ref.stats.dead_letters, ref.stats.restarts) == (2, 1, 1)
    assert "secret" not in str(logs)
    assert logs[0]["event"] == "actor_crashed"
    await supervisor.stop()


async def test_too_many_crashes_escalate(autojump_clock):
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, TrioClock(), RealRng(), RestartPolicy(intensity=3))
            ref = await supervisor.start("counter", lambda: Counter([]))
            for _ in range(4):
                with pytest.raises(Internal):
                    await ref.ask(Fail(ValueError()))
            with pytest.raises(Unavailable):
                await ref.ask(Add(1))
    assert caught.group_contains(Internal, match="crashed 4 times")


async def test_a_failed_disk_escalates_at_once(autojump_clock):
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, TrioClock(), RealRng())
            ref = await supervisor.start("counter", lambda: Counter([]))
            with pytest.raises(StorageFailed):
                await ref.ask(Fail(StorageFailed("fsync")))
            await trio.sleep_forever()
    assert caught.group_contains(StorageFailed)


async def test_a_full_mailbox_refuses_and_nothing_is_lost(autojump_clock, supervisor, nursery):
    ref = await supervisor.start("counter", lambda: Counter([]), mailbox_limit=2)
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await trio.testing.wait_all_tasks_blocked()
    ref.try_tell(Add(1))
    ref.try_tell(Add(1))
    with pytest.raises(Busy, match="2 messages waiting") as caught:
        ref.try_tell(Add(1))
    assert caught.value.retry_after_s
    gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert await ref.ask(Add(0)) == 2
    await supervisor.stop()


async def test_a_message_past_its_deadline_is_never_started(autojump_clock, supervisor, nursery):
    ref = await supervisor.start("counter", lambda: Counter([]))
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(1) as scope:
        await ref.ask(Add(1))
    assert scope.cancelled_caught
    gate.set()
    assert await ref.ask(Add(0)) == 0
    await supervisor.stop()


async def test_what_waits_is_handled_together_in_order(autojump_clock, supervisor, nursery):
    batches: list[list[int]] = []
    ref = await supervisor.start("batcher", lambda: Batcher(batches))
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await trio.testing.wait_all_tasks_blocked()
    answers: dict[int, object] = {}

    async def ask(number):
        try:
            answers[number] = await ref.ask(Add(number))
        except NotFound as error:
            answers[number] = error.message

    async with trio.open_nursery() as asking:
        for number in range(6):
            asking.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert batches == [[0, 1, 2, 3], [4, 5]]
    assert answers == {0: 0, 1: 2, 2: 4, 3: "three", 4: 8, 5: 10}
    await supervisor.stop()


async def test_stopping_handles_what_waits_then_refuses(autojump_clock, supervisor, nursery):
    ref = await supervisor.start("counter", lambda: Counter([]))
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await trio.testing.wait_all_tasks_blocked()
    ref.try_tell(Add(1))
    nursery.start_soon(supervisor.stop)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Unavailable):
        ref.try_tell(Add(1))
    gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert ref.stats.handled == 2


async def test_stopping_ends_after_the_grace_and_tells_the_askers(autojump_clock, supervisor, nursery):
    ref = await supervisor.start("counter", lambda: Counter([]))
    errors: list[str] = []

    async def ask(message):
        try:
            await ref.ask(message)
        except Unavailable as error:
            errors.append(error.message)

    nursery.start_soon(ask, Wait(trio.Event()))
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(ask, Add(1))
    await trio.testing.wait_all_tasks_blocked()
    await supervisor.stop(grace_s=1)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(errors) == ["the counter has stopped", "the counter was stopped in the middle of it"]


async def test_threads_run_calls_and_are_joined():
    import threading

    threads = Threads({"one": 1, "many": 2})
    names = await gather(
        [lambda lane=lane: threads.run(lane, lambda: threading.current_thread().name) for lane in ("one", "many")], 2
    )
    assert names[0] == "engram-one-0"
    assert names[1].startswith("engram-many-")
    with pytest.raises(ZeroDivisionError):
        await threads.run("one", lambda: 1 // 0)

    class Panic(BaseException):
        pass

    def panic():
        raise Panic

    with pytest.raises(RuntimeError, match="Panic on a thread"):
        await threads.run("one", panic)
    threads.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engram-")]


async def test_gather_raises_the_error_itself_and_cancels_the_rest(autojump_clock):
    started: list[int] = []

    async def call(number):
        started.append(number)
        if number == 1:
            raise NotFound("one")
        await trio.sleep_forever()

    with pytest.raises(NotFound, match="one"):
        await gather([lambda n=n: call(n) for n in range(4)], 4)
    assert sorted(started) == [0, 1, 2, 3]


async def test_of_calls_that_fail_together_the_gravest_error_is_raised(autojump_clock):
    together = trio.Event()

    async def call(error):
        await together.wait()
        raise error

    errors = [*(NotFound(str(number)) for number in range(50)), StorageFailed("fsync")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_set_when_settled, together)
        with pytest.raises(StorageFailed):
            await gather([lambda error=error: call(error) for error in errors], len(errors))


async def _set_when_settled(event):
    await trio.testing.wait_all_tasks_blocked()
    event.set()


async def test_gather_runs_a_few_at_a_time(autojump_clock):
    running: list[int] = []
    most = 0

    async def call(number):
        nonlocal most
        running.append(number)
        most = max(most, len(running))
        await trio.sleep(1)
        running.remove(number)
        return number

    assert await gather([lambda n=n: call(n) for n in range(7)], 3) == list(range(7))
    assert most == 3


async def test_a_late_message_in_the_middle_of_a_batch_is_not_started_either(autojump_clock, supervisor, nursery):
    batches = []
    ref = await supervisor.start("batcher", lambda: Batcher(batches))
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(ref.ask, Add(1))

    async def hurried():
        with trio.move_on_after(1):
            await ref.ask(Add(2))

    async def cancelled(scope):
        with scope:
            await ref.ask(Add(4))

    scope = trio.CancelScope()
    nursery.start_soon(hurried)
    nursery.start_soon(cancelled, scope)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(ref.ask, Add(5))
    await trio.sleep(0.5)
    scope.cancel()
    await trio.sleep(1)
    gate.set()
    await trio.sleep(1)
    assert [number for batch in batches for number in sorted(batch)] in ([1, 5], [5, 1])


class Forgetful(Actor):
    @handle_batch(4)
    async def add(self, messages: Sequence[Add]) -> list[int]:
        return [message.number for message in messages][1:]


async def test_a_handler_that_forgets_an_answer_is_a_bug_that_its_asker_hears_of(autojump_clock, supervisor):
    ref = await supervisor.start("forgetful", Forgetful)
    with trio.fail_after(5), pytest.raises(Internal):
        await ref.ask(Add(1))


class Held:
    """An inlet that lets nothing through before a gate is open. Empty it is, like a mailbox, no truth."""

    def __init__(self, mailbox, gate):
        self.mailbox, self.gate = mailbox, gate

    def __len__(self):
        return 0

    def next(self):
        return None

    async def get(self):
        await self.gate.wait()
        return await self.mailbox.get()


async def test_an_inlet_holds_messages_back(autojump_clock, supervisor, nursery):
    gate = trio.Event()

    class Behind(Counter):
        async def run(self, mailbox, _=None):
            await super().run(mailbox, Held(mailbox, gate))

    ref = await supervisor.start("behind", Behind)
    await ref.tell(Add(1))
    await trio.testing.wait_all_tasks_blocked()
    assert (ref.waiting, ref.stats.handled) == (1, 0)
    gate.set()
    assert await ref.ask(Add(1)) == 2
