"""An actor's desk: what comes out of the mailbox is handled here, one message or one batch at a time.

A handler works until its message's deadline, and what it asks of other actors inherits that. A cancel scope a message
would cost more than all the rest of it, so that one scope serves many: its deadline is moved where the next message has
another, and only once it has passed there is a new scope.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import trio

from engram.errors import EngramError
from engram.runtime._failures import FATAL, leaf

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from engram.runtime._mailbox import Envelope, Mailbox

_TURN = 128
"""Messages after which the other tasks get a turn, though neither handler nor mailbox had to wait."""


class Inlet(Protocol):
    """Where an actor takes its messages: the mailbox, or what holds them back until the actor may see them."""

    def next(self) -> Envelope | None:
        """Take the next message, if it may be handled now."""
        ...

    async def get(self) -> Envelope | None:
        """Wait for the next message; None once the mailbox is closed and empty. A cancelled wait loses none."""
        ...


class Handler:
    """A bound method that takes one message (`limit` None), or up to `limit` of `kinds` at once."""

    __slots__ = ("kinds", "limit", "method", "repeatable")

    def __init__(
        self, method: Callable[[Any], Awaitable[Any]], kinds: frozenset[type], limit: int | None, *, repeatable: bool
    ) -> None:
        self.method = method
        self.kinds = kinds
        self.limit = limit
        self.repeatable = repeatable

    async def answers(self, batch: Sequence[Envelope]) -> Sequence[Any]:
        """Handle a batch; one answer each, which a handler that forgets one has a bug in."""
        answers: Sequence[Any] = await self.method([each.message for each in batch])
        if len(answers) != len(batch):
            raise ValueError(f"{len(answers)} answers to {len(batch)} messages")
        return answers


class Desk:
    """Handles the messages of one mailbox, as they come through an inlet."""

    def __init__(self, handlers: Mapping[type, Handler], mailbox: Mailbox, inlet: Inlet) -> None:
        self._handlers = handlers
        self._mailbox = mailbox
        self._inlet = inlet
        self._taken: Envelope | None = None
        self._cut_off: Sequence[Envelope] = ()

    async def work(self) -> None:
        """Handle messages until the mailbox is closed and empty. Raises what is to end this instance of the actor."""
        mailbox = self._mailbox
        try:
            while not await self._work_until_a_deadline():
                mailbox.expire(self._cut_off, f"the {mailbox.name} was still at it at the deadline")
                self._cut_off = ()
        finally:
            mailbox.drop(self._cut_off, f"the {mailbox.name} was stopped in the middle of it")

    async def _work_until_a_deadline(self) -> bool:
        """Handle messages until there are no more, or a deadline has passed: False.

        It may have passed for what is cut off, for what a handler finished all the same, or for nobody any more.
        """
        inlet, stats, turn, until = self._inlet, self._mailbox.stats, 0, math.inf
        with trio.CancelScope() as scope:
            while (envelope := self._taken or inlet.next() or await inlet.get()) is not None:
                if until != math.inf and scope.cancel_called:
                    self._taken = envelope  # whose deadline is another, and wants a scope that has not passed
                    return False
                self._taken = None
                handler = self._handlers[type(envelope.message)]
                if handler.limit is None:
                    if envelope.deadline != until:
                        scope.deadline = until = envelope.deadline
                    try:  # here, and not in a function: that would be a fifth of what a message costs
                        answer = await handler.method(envelope.message)
                    except BaseException as error:
                        if not self._settle((envelope,), error, repeatable=False):
                            raise
                    else:
                        stats.handled += 1
                        envelope.answer(answer)
                else:
                    batch = self._batch(envelope, handler)
                    latest = max([each.deadline for each in batch])
                    if latest != until:
                        scope.deadline = until = latest
                    await self._handle_batch(batch, handler)
                turn += 1
                if turn % _TURN == 0:
                    await trio.lowlevel.checkpoint()
            return True
        return False

    def _batch(self, envelope: Envelope, handler: Handler) -> list[Envelope]:
        assert handler.limit is not None
        if envelope.alone:
            return [envelope]
        return [envelope, *self._mailbox.take(handler.kinds, handler.limit - 1)]

    async def _handle_batch(self, batch: Sequence[Envelope], handler: Handler) -> None:
        try:
            answers = await handler.answers(batch)
        except BaseException as error:
            if not self._settle(batch, error, repeatable=handler.repeatable):
                raise
        else:
            self._mailbox.stats.handled += len(batch)
            for envelope, answer in zip(batch, answers, strict=True):
                envelope.answer(answer)

    def _settle(self, batch: Sequence[Envelope], error: BaseException, *, repeatable: bool) -> bool:
        """Do what the error means for those who sent the batch. True: it was an answer, and the actor goes on."""
        real = leaf(error)
        if isinstance(real, EngramError):
            self._mailbox.stats.handled += len(batch)
            for envelope in batch:
                envelope.answer(real)
            return not isinstance(real, FATAL)
        if not isinstance(real, Exception):
            self._cut_off = batch  # by its deadline or by a stop: who opened the scope that it leaves will know
        elif repeatable and len(batch) > 1:
            self._mailbox.put_back(batch)
        else:
            self._mailbox.bury(batch, error)
        return False
