"""Sending: room, turns, deadlines, and what becomes of a message whose sender is gone."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from kernel_actors import Add, Batcher, Call, Counter, FixedRng, Repeater, TrioClock, Wait

from engram.errors import Busy, DeadlineExceeded, EngramError, Internal, NotFound, Unavailable
from engram.runtime import Actor, Message, RestartPolicy, Supervisor, handle

settled = trio.testing.wait_all_tasks_blocked


class Unheard(Message[None], frozen=True):
    pass


@pytest.fixture
async def supervisor(nursery):
    return Supervisor(nursery, TrioClock(), FixedRng(128), RestartPolicy(intensity=3))


async def started(supervisor, nursery, limit=2):
    """Start a counter that waits for the gate, so that what comes waits in its mailbox."""
    ref = await supervisor.start("counter", Counter, mailbox_limit=limit)
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await settled()
    return ref, gate


async def test_tell_waits_for_room_and_those_who_wait_are_let_in_in_turn(autojump_clock, supervisor, nursery):
    ref, gate = await started(supervisor, nursery, limit=1)
    heard: list[int] = []

    async def note(number):
        async def call(_):
            heard.append(number)

        await ref.tell(Call(call))

    for number in range(5):
        nursery.start_soon(note, number)
        await settled()
    assert (ref.waiting, ref.stats.accepted) == (1, 2)
    gate.set()
    await settled()
    assert heard == [0, 1, 2, 3, 4]


async def test_room_goes_to_who_waits_and_not_to_who_comes(autojump_clock, supervisor, nursery):
    ref, gate = await started(supervisor, nursery, limit=1)
    await ref.tell(Add(1))
    nursery.start_soon(ref.tell, Add(10))
    await settled()
    refused = []

    async def look(_):  # while this is handled there was room for one, which the teller has got
        with pytest.raises(Busy, match="1 messages waiting, its limit"):
            ref.try_tell(Add(100))
        refused.append(True)

    nursery.start_soon(ref.tell, Call(look))
    await settled()
    nursery.start_soon(ref.tell, Add(1000))
    await settled()
    gate.set()
    await settled()
    assert refused
    assert await ref.ask(Add(0)) == 1011
    assert ref.stats.refused == 1


async def test_a_teller_that_is_cancelled_while_it_waits_has_sent_nothing(autojump_clock, supervisor, nursery):
    ref, gate = await started(supervisor, nursery, limit=1)
    await ref.tell(Add(1))
    with trio.move_on_after(1) as scope:
        await ref.tell(Add(10))
    assert scope.cancelled_caught
    gate.set()
    await settled()
    assert await ref.ask(Add(0)) == 1


async def test_what_was_told_lives_on_when_its_tellers_deadline_has_passed(autojump_clock, supervisor, nursery):
    ref, gate = await started(supervisor, nursery)
    with trio.move_on_after(1):
        await ref.tell(Add(1))
    await trio.sleep(2)
    gate.set()
    assert await ref.ask(Add(0)) == 1


async def test_a_told_messages_own_deadline_bounds_its_wait_for_room_and_for_its_turn(
    autojump_clock, supervisor, nursery
):
    ref, gate = await started(supervisor, nursery, limit=1)
    await ref.tell(Add(1), deadline=trio.current_time() + 1)
    with pytest.raises(DeadlineExceeded, match="the counter had no room for it"):
        await ref.tell(Add(10), deadline=trio.current_time() + 2)
    gate.set()
    await settled()
    assert await ref.ask(Add(0)) == 0
    assert ref.stats.expired == 1


async def test_a_full_mailbox_refuses_an_ask_at_once(autojump_clock, supervisor, nursery):
    ref, gate = await started(supervisor, nursery, limit=1)
    await ref.tell(Add(1))
    with pytest.raises(Busy) as caught:
        await ref.ask(Add(1))
    assert caught.value.retry_after_s
    gate.set()
    await settled()
    assert await ref.ask(Add(0)) == 1


async def test_an_ask_that_waits_is_answered_at_its_deadline(autojump_clock, supervisor, nursery):
    ref, gate = await started(supervisor, nursery)
    with pytest.raises(DeadlineExceeded, match="the counter gave no answer"):
        await ref.ask(Add(1), deadline=trio.current_time() + 1)
    gate.set()
    assert await ref.ask(Add(0)) == 0


async def test_a_handler_is_ended_at_its_messages_deadline_and_that_is_no_crash(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)
    ended_at = []

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            ended_at.append(trio.current_time())

    start = trio.current_time()
    with pytest.raises(DeadlineExceeded, match="the counter"):
        await ref.ask(Call(work), deadline=start + 3)
    await settled()
    assert ended_at == [start + 3]
    assert (ref.stats.expired, ref.stats.crashes) == (1, 0)
    assert await ref.ask(Add(1)) == 1


async def test_an_asker_that_outlives_the_deadline_hears_who_was_still_at_it(autojump_clock, supervisor, nursery):
    ref = await supervisor.start("counter", Counter)

    async def work(_):
        await trio.sleep_forever()

    with trio.CancelScope(deadline=trio.current_time() + 3) as scope:

        async def prolong():
            await trio.sleep(1)
            scope.deadline += 100  # the message has left with the deadline that was

        nursery.start_soon(prolong)
        with pytest.raises(DeadlineExceeded, match="the counter was still at it at the deadline"):
            await ref.ask(Call(work))


async def test_a_deadline_that_has_passed_touches_nothing_that_comes_after_it(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)
    await ref.ask(Add(1), deadline=trio.current_time() + 1)
    await trio.sleep(5)
    done = []

    async def work(_):
        await trio.sleep(1)
        done.append(trio.current_effective_deadline())

    await ref.ask(Call(work))
    assert done == [float("inf")]


async def test_a_handler_that_finishes_past_its_deadline_costs_the_next_nothing(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)
    done = []

    async def finish(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        done.append("shielded")

    async def work(_):
        await trio.sleep(1)
        done.append("next")

    start = trio.current_time()
    await ref.tell(Call(finish), deadline=start + 1)
    await ref.tell(Call(work))
    await ref.tell(Call(finish), deadline=start + 6)
    await ref.tell(Call(work), deadline=start + 100)
    await ref.ask(Add(1))
    assert done == ["shielded", "next", "shielded", "next"]
    assert (ref.stats.handled, ref.stats.expired) == (5, 0)


async def test_what_a_handler_asks_inherits_the_deadline(autojump_clock, supervisor):
    inner = await supervisor.start("inner", Counter)
    outer = await supervisor.start("outer", Counter)
    deadlines = []

    async def deepest(_):
        deadlines.append(trio.current_effective_deadline())

    async def ask_on(_):
        deadlines.append(trio.current_effective_deadline())
        with trio.move_on_after(100):
            await inner.ask(Call(deepest))

    start = trio.current_time()
    with trio.move_on_after(7):
        await outer.ask(Call(ask_on))
    await outer.ask(Call(ask_on), deadline=start + 5)
    assert deadlines == [start + 7, start + 7, start + 5, start + 5]


async def test_a_cancelled_askers_message_is_not_begun_and_one_under_way_ends_in_peace(
    autojump_clock, supervisor, nursery
):
    ref, gate = await started(supervisor, nursery)
    waiting = trio.CancelScope()

    async def ask(scope, message):
        with scope:
            await ref.ask(message)

    nursery.start_soon(ask, waiting, Add(1))
    await settled()
    waiting.cancel()
    gate.set()
    await settled()
    done = []

    async def work(_):
        await trio.sleep(1)
        done.append(True)

    under_way = trio.CancelScope()
    nursery.start_soon(ask, under_way, Call(work))
    await settled()
    under_way.cancel()
    assert await ref.ask(Add(0)) == 0
    assert done == [True]
    assert (ref.stats.expired, ref.stats.handled) == (1, 3)


async def test_a_batch_has_the_latest_of_its_deadlines(autojump_clock, supervisor, nursery):
    answers = []
    batches: list[list[int]] = []
    ref = await supervisor.start("batcher", lambda: Batcher(batches))
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await settled()
    start = trio.current_time()

    async def ask(number, deadline):
        try:
            answers.append(await ref.ask(Add(number), deadline=deadline))
        except EngramError as error:
            answers.append(type(error))

    nursery.start_soon(ask, 1, start + 1)
    nursery.start_soon(ask, 2, start + 9)
    await settled()
    await trio.sleep(2)
    gate.set()
    await settled()
    assert answers == [DeadlineExceeded, 4]
    assert batches == [[2]]


async def test_a_message_that_an_actor_does_not_handle_is_its_senders_bug(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)
    with pytest.raises(TypeError, match="the counter handles no Unheard"):
        await ref.ask(Unheard())
    with pytest.raises(TypeError, match="the counter handles no Unheard"):
        await ref.tell(Unheard())
    with pytest.raises(TypeError, match="the counter handles no Unheard"):
        ref.try_tell(Unheard())
    assert await ref.ask(Add(1)) == 1
    assert ref.stats.accepted == 1


async def test_who_waits_for_room_is_refused_when_the_actor_stops(autojump_clock, supervisor, nursery):
    ref, gate = await started(supervisor, nursery, limit=1)
    await ref.tell(Add(1))
    refused = []

    async def tell():
        try:
            await ref.tell(Add(1))
        except Unavailable as error:
            refused.append(error.message)

    nursery.start_soon(tell)
    await settled()
    nursery.start_soon(supervisor.stop)
    await settled()
    assert refused == ["the counter is stopping"]
    gate.set()


async def test_a_domain_error_within_a_handlers_own_nursery_is_an_answer_too(autojump_clock, supervisor):
    class Forked(Actor):
        @handle
        async def add(self, _: Add) -> int:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.refuse)
                nursery.start_soon(trio.sleep_forever)
            return 0

        async def refuse(self) -> None:
            raise NotFound("none")

    ref = await supervisor.start("forked", Forked)
    with pytest.raises(NotFound, match="none"):
        await ref.ask(Add(1))
    assert ref.stats.crashes == 0


async def crashed_batch(supervisor, nursery, make):
    """Ask a batch of 1, 2, 13 and 4, then 5; give what each was answered."""
    ref = await supervisor.start("batcher", make)
    gate = trio.Event()
    nursery.start_soon(ref.ask, Wait(gate))
    await settled()
    answers: dict[int, object] = {}

    async def ask(number):
        try:
            answers[number] = await ref.ask(Add(number))
        except Internal:
            answers[number] = Internal

    async with trio.open_nursery() as asking:
        for number in (1, 2, 13, 4, 5):
            asking.start_soon(ask, number)
            await settled()
        gate.set()
    return ref, answers


async def test_of_a_failed_batch_all_are_dead_letters(autojump_clock, supervisor, nursery):
    batches: list[list[int]] = []
    ref, answers = await crashed_batch(supervisor, nursery, lambda: Batcher(batches))
    assert answers == {1: Internal, 2: Internal, 13: Internal, 4: Internal, 5: 10}
    assert batches == [[1, 2, 13, 4], [5]]
    assert (ref.stats.dead_letters, ref.stats.crashes) == (4, 1)


async def test_a_failed_batch_that_may_be_repeated_is_taken_one_by_one(autojump_clock, supervisor, nursery):
    batches: list[list[int]] = []
    ref, answers = await crashed_batch(supervisor, nursery, lambda: Repeater(batches))
    assert answers == {1: 2, 2: 4, 13: Internal, 4: 8, 5: 10}
    assert batches == [[1, 2, 13, 4], [1], [2], [13], [4], [5]]
    assert (ref.stats.dead_letters, ref.stats.crashes) == (1, 2)
    assert [letter.message for letter in supervisor.dead_letters] == ["Add"]


async def test_what_is_put_back_keeps_its_turn(autojump_clock, supervisor):
    ref = await supervisor.start("counter", Counter)
    mailbox = ref._mailbox
    for number in range(3):
        ref.try_tell(Add(number))
    mailbox.put_back([mailbox.next(), *mailbox.take(mailbox.kinds, 2)])
    mailbox.put_back([mailbox.next()])
    assert [mailbox.next().message.number for _ in range(3)] == [0, 1, 2]


async def test_an_actor_that_never_waits_leaves_the_others_their_turn(autojump_clock, supervisor, nursery):
    handled_first: list[int] = []

    class Selfish(Actor):
        @handle
        async def add(self, message: Add) -> None:
            if not handled_first and message.number < 10_000:
                ref.try_tell(Add(message.number + 1))

    ref = await supervisor.start("selfish", Selfish)
    ref.try_tell(Add(0))
    for _ in range(4):
        await trio.lowlevel.checkpoint()
    handled_first.append(ref.stats.handled)
    assert handled_first[0] < 1000
