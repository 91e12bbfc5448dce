"""Actors: a mailbox, a few typed handlers, and what happens when one of them fails.

An actor handles one message at a time. A handler that raises an `EngramError` answers its asker with it. Any other
exception is a bug: the message that caused it becomes a dead letter, its asker gets `Internal`, and the supervisor
starts the actor again; the mailbox, which is not the actor's, survives. `StorageFailed` is neither: it escalates.
"""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
import trio

from engram.errors import Busy, DeadlineExceeded, EngramError, Internal, StorageFailed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Answer = TypeVar("Answer")
Handler = TypeVar("Handler", bound="Callable[..., Any]")


class Message(msgspec.Struct, Generic[Answer], frozen=True):
    """Base of every message; `Answer` is what asking with it gives."""


class Stats(msgspec.Struct):
    """Counters of one actor, since the node started."""

    handled: int = 0
    refused: int = 0
    dead_letters: int = 0
    restarts: int = 0


class _Envelope:
    __slots__ = ("answered", "deadline", "error", "message", "result")

    def __init__(self, message: Message[Any], deadline: float, answered: trio.Event | None) -> None:
        self.message = message
        self.deadline = deadline
        self.answered = answered
        self.result: Any = None
        self.error: BaseException | None = None

    def answer(self, result: Any) -> None:
        self.result = result
        if self.answered is not None:
            self.answered.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        if self.answered is not None:
            self.answered.set()


class Mailbox:
    """A bounded queue of envelopes with one reader. Full, it refuses; it never grows."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.stats = Stats()
        self._waiting: deque[_Envelope] = deque()
        self._arrived = trio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, envelope: _Envelope) -> None:
        """Add an envelope, or raise `Busy` or `Unavailable`."""
        if self._closed:
            raise Unavailable(f"the {self.name} is stopping", retry_after_s=1)
        if len(self._waiting) >= self.limit:
            self.stats.refused += 1
            raise Busy(f"the {self.name} has {self.limit} messages waiting, its limit", retry_after_s=0.5)
        self._waiting.append(envelope)
        self._arrived.set()

    async def get(self) -> _Envelope | None:
        """Take the next envelope whose deadline has not passed; None once the mailbox is closed and empty."""
        while True:
            while self._waiting:
                envelope = self._waiting.popleft()
                if self._in_time(envelope):
                    return envelope
            if self._closed:
                return None
            self._arrived = trio.Event()
            await self._arrived.wait()

    def take(self, kinds: tuple[type, ...], limit: int) -> list[_Envelope]:
        """Take up to `limit` more envelopes that wait and are not late, while they are of `kinds`."""
        taken: list[_Envelope] = []
        while self._waiting and len(taken) < limit and isinstance(self._waiting[0].message, kinds):
            envelope = self._waiting.popleft()
            if self._in_time(envelope):
                taken.append(envelope)
        return taken

    def _in_time(self, envelope: _Envelope) -> bool:
        if envelope.deadline > trio.current_time():
            return True
        envelope.fail(DeadlineExceeded(f"it waited for the {self.name} until its deadline"))
        return False

    def close(self) -> None:
        """Refuse what comes from now on; what waits is still handled."""
        self._closed = True
        self._arrived.set()

    def refuse_waiting(self) -> None:
        """Answer everything that still waits with `Unavailable`."""
        while self._waiting:
            self._waiting.popleft().fail(Unavailable(f"the {self.name} has stopped"))


class Ref:
    """Where messages for an actor go. It outlives the actor's crashes."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def tell(self, message: Message[Any]) -> None:
        """Send without waiting for an answer; raises `Busy` where the mailbox is full."""
        self._mailbox.put(_Envelope(message, math.inf, None))

    async def ask(self, message: Message[Answer]) -> Answer:
        """Send and wait for the answer.

        The caller's deadline travels along: late messages, and those of a caller that was cancelled, are never started.
        """
        envelope = _Envelope(message, trio.current_effective_deadline(), trio.Event())
        self._mailbox.put(envelope)
        assert envelope.answered is not None
        try:
            await envelope.answered.wait()
        except trio.Cancelled:
            envelope.deadline = -math.inf  # nobody hears the answer: what waits still is not started
            raise
        if envelope.error is not None:
            raise envelope.error
        return cast("Answer", envelope.result)

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._mailbox)

    @property
    def stats(self) -> Stats:
        """The actor's counters."""
        return self._mailbox.stats


class _Handling(msgspec.Struct, frozen=True):
    kinds: tuple[type, ...]
    batch: int


_ALONE = 0
"""The mark of a method that takes one message, and not a list of one."""


def handle(method: Handler) -> Handler:
    """Mark a method as the handler of the message type that its one parameter is annotated with."""
    method.__engram_handles__ = _ALONE  # type: ignore[attr-defined]
    return method


def handle_batch(limit: int | str) -> Callable[[Handler], Handler]:
    """Mark a method that takes up to `limit` waiting messages at once; a str names the actor's attribute that says it.

    Its parameter is annotated `Sequence[Kind]` or `Sequence[KindA | KindB]`; it returns one answer a message, in order,
    where an answer that is an `EngramError` goes to that asker alone.
    """

    def mark(method: Handler) -> Handler:
        method.__engram_handles__ = limit  # type: ignore[attr-defined]
        return method

    return mark


class Actor:
    """Base of actors. Subclasses mark handlers; a failed instance is replaced, so state lives in projections."""

    name = "actor"
    mailbox_limit = 1024

    async def on_start(self) -> None:
        """Do what must be done before the first message."""

    async def on_stop(self) -> None:
        """Do what must be done after the last message."""

    async def run(self, mailbox: Mailbox) -> None:
        """Handle messages until the mailbox is closed and empty."""
        handlers = {kind: handler for handler in _handlers(self) for kind in handler[0].kinds}
        while (envelope := await mailbox.get()) is not None:
            handling, method = handlers[type(envelope.message)]
            if handling.batch == _ALONE:
                await _handle([envelope], functools.partial(_one, method), mailbox)
            else:
                batch = [envelope, *mailbox.take(handling.kinds, handling.batch - 1)]
                await _handle(batch, method, mailbox)


async def _one(method: Callable[[Any], Awaitable[Any]], messages: Sequence[Message[Any]]) -> list[Any]:
    return [await method(messages[0])]


async def _handle(
    batch: list[_Envelope], method: Callable[[list[Message[Any]]], Awaitable[Sequence[Any]]], mailbox: Mailbox
) -> None:
    try:
        answers = await method([envelope.message for envelope in batch])
        if len(answers) != len(batch):
            raise ValueError(f"{len(answers)} answers to {len(batch)} messages")
    except StorageFailed as error:
        _fail(batch, error)
        raise
    except EngramError as error:
        _fail(batch, error)
    except trio.Cancelled:
        _fail(batch, Unavailable(f"the {mailbox.name} was stopped in the middle of it"))
        raise
    except Exception as error:
        mailbox.stats.dead_letters += len(batch)
        _fail(batch, Internal(f"the {mailbox.name} failed on it ({type(error).__name__}) and is starting again"))
        raise
    else:
        for envelope, answer in zip(batch, answers, strict=True):
            if isinstance(answer, EngramError):
                envelope.fail(answer)
            else:
                envelope.answer(answer)
    mailbox.stats.handled += len(batch)


def _fail(batch: list[_Envelope], error: BaseException) -> None:
    for envelope in batch:
        envelope.fail(error)


def _handlers(actor: Actor) -> list[tuple[_Handling, Callable[[Any], Awaitable[Any]]]]:
    found: list[tuple[_Handling, Callable[[Any], Awaitable[Any]]]] = []
    for _, method in inspect.getmembers(actor, inspect.ismethod):
        limit: int | str | None = getattr(method, "__engram_handles__", None)
        if limit is None:
            continue
        batch: int = getattr(actor, limit) if isinstance(limit, str) else limit
        hints = typing.get_type_hints(method)
        hints.pop("return", None)
        [hint] = hints.values()
        if batch != _ALONE:
            [hint] = typing.get_args(hint)
        kinds = typing.get_args(hint) or (hint,)
        found.append((_Handling(tuple(kinds), batch), method))
    return found
