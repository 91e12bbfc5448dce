"""What is wrong with an actor's class is said when it is defined, or before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from kernel_actors import Add, Counter, FixedRng, TrioClock, Wait

from engram.runtime import Actor, Supervisor, handle, handle_batch

if TYPE_CHECKING:
    from kernel_actors import Fail  # noqa: TC004 (that it is not there is what is tested)


@pytest.fixture
async def supervisor(nursery):
    return Supervisor(nursery, TrioClock(), FixedRng(0))


async def refused(supervisor, actor, match):
    with pytest.raises(TypeError, match=match):
        await supervisor.start("it", actor)
    assert supervisor.report() == []


def test_a_handler_that_is_no_coroutine_is_refused_where_it_is_marked():
    with pytest.raises(TypeError, match=r"add handles messages and is a plain function: make it `async def`"):

        class Plain(Actor):
            @handle
            def add(self, message: Add) -> int:
                return message.number


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="of one message at least"):
        handle_batch(0)


async def test_two_handlers_of_one_type_are_refused(supervisor):
    class Two(Actor):
        @handle
        async def one(self, _: Add) -> None: ...

        @handle_batch(2)
        async def two(self, _: Sequence[Add | Wait]) -> list[None]:
            return []

    await refused(supervisor, Two, "Two: one and two both handle Add")


async def test_a_handler_without_a_message_type_is_refused(supervisor):
    class Unannotated(Actor):
        @handle
        async def add(self, message) -> None: ...

    class Other(Actor):
        @handle
        async def add(self, _: int) -> None: ...

    class Crowd(Actor):
        @handle
        async def add(self, _: Add, also: int) -> None: ...

    class Single(Actor):
        @handle_batch(2)
        async def add(self, _: Add) -> list[int]:
            return []

    await refused(supervisor, Unannotated, "add: a handler has one parameter, annotated with the type")
    await refused(supervisor, Other, "add: <class 'int'> is no subclass of Message")
    await refused(supervisor, Crowd, "add: a handler has one parameter")
    await refused(supervisor, Single, r"add: a batch handler's parameter is annotated Sequence\[\.\.\.\]")


async def test_a_message_type_that_only_the_type_checker_knows_is_refused(supervisor):
    class Checked(Actor):
        @handle
        async def fail(self, _: Fail) -> None: ...

    await refused(supervisor, Checked, "fail: its annotation 'Fail' is not known when the program runs")


async def test_an_override_that_lost_its_mark_is_refused(supervisor):
    class Forgetful(Counter):
        async def add(self, message: Add) -> int:
            return message.number

    await refused(supervisor, Forgetful, "Forgetful.add overrides a handler of Counter, and is not marked")


async def test_a_union_is_handled_by_one_method_and_the_answers_type_need_not_be_known(supervisor):
    class Both(Actor):
        @handle
        async def both(self, message: Add | Wait) -> NowhereDefined:  # noqa: F821
            return type(message).__name__

    ref = await supervisor.start("both", Both)
    assert await ref.ask(Add(1)) == "Add"
    assert await ref.ask(Wait(None)) == "Wait"
    await supervisor.stop()
