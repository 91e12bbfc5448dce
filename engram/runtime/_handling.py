"""One handler of an actor at work: the batch, its deadline, and what becomes of it when the handler fails."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from engram.errors import EngramError
from engram.runtime._failures import FATAL, leaf

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from engram.runtime._mailbox import Envelope, Mailbox


class Handler:
    """A bound method that takes one message (`limit` None), or up to `limit` of `kinds` at once."""

    __slots__ = ("_kinds", "_limit", "_method", "_repeatable", "alone")

    def __init__(
        self,
        method: Callable[[Any], Awaitable[Any]],
        kinds: frozenset[type],
        limit: int | None,
        *,
        repeatable: bool,
    ) -> None:
        self.alone = method if limit is None else None
        """The method, where it takes one message."""
        self._method = method
        self._kinds = kinds
        self._limit = limit
        self._repeatable = repeatable

    async def handle(self, envelope: Envelope, mailbox: Mailbox) -> None:
        """Handle an envelope, and those that may come with it. Raises what is to end this instance of the actor."""
        batch = [envelope]
        if self._limit is not None and not envelope.alone:
            batch += mailbox.take(self._kinds, self._limit - 1)
        try:
            answers = await self._answers(batch)
        except BaseException as error:
            if not self.settle(batch, error, mailbox):
                raise
            return
        if answers is None:
            mailbox.expire(batch, f"the {mailbox.name} was still at it at the deadline")
            return
        mailbox.stats.handled += len(batch)
        for each, answer in zip(batch, answers, strict=True):
            each.answer(answer)

    async def _answers(self, batch: list[Envelope]) -> Sequence[Any] | None:
        """Give the answers, or None where the latest of the deadlines came first: what is asked within inherits it."""
        deadline = max([each.deadline for each in batch])
        if deadline == math.inf:
            return await self._call(batch)
        with trio.CancelScope(deadline=deadline):
            return await self._call(batch)
        return None

    async def _call(self, batch: list[Envelope]) -> Sequence[Any]:
        if self._limit is None:
            return (await self._method(batch[0].message),)
        answers: Sequence[Any] = await self._method([each.message for each in batch])
        if len(answers) != len(batch):
            raise ValueError(f"{len(answers)} answers to {len(batch)} messages")
        return answers

    def settle(self, batch: list[Envelope], error: BaseException, mailbox: Mailbox) -> bool:
        """Say to the askers what the error means for them. True: it was an answer, and the actor goes on."""
        real = leaf(error)
        if isinstance(real, EngramError):
            mailbox.stats.handled += len(batch)
            for each in batch:
                each.answer(real)
            return not isinstance(real, FATAL)
        if not isinstance(real, Exception):
            mailbox.drop(batch, f"the {mailbox.name} was stopped in the middle of it")
        elif self._repeatable and len(batch) > 1:
            mailbox.put_back(batch)
        else:
            mailbox.bury(batch, error)
        return False
