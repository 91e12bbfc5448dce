"""The mailbox of an actor: what waits, who waits for room in it, and what was counted. It outlives the actor's crashes.

Nothing here costs a task switch where none is needed: a message is an envelope in a deque, the reader and whoever waits
for room or for an answer sleep as tasks that are scheduled again by whoever has something for them.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

from engram.errors import Busy, DeadlineExceeded, EngramError, Internal, Unavailable
from engram.runtime._failures import described, leaf
from engram.runtime._message import Crashed, Message, Restarted, Stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.lowlevel import RaiseCancelT, Task

    from engram.runtime._dead_letters import DeadLetters


class Stats(msgspec.Struct):
    """Counters of one actor, since it was first started.

    Of the messages that were accepted each is, in the end, handled (an error of Engram's is an answer too), expired
    (its deadline passed before it was done, or its asker was cancelled before it was begun), dropped (the actor stopped
    first) or a dead letter. Refused ones were not accepted: the mailbox was full or closed.
    """

    accepted: int = 0
    handled: int = 0
    refused: int = 0
    expired: int = 0
    dropped: int = 0
    dead_letters: int = 0
    crashes: int = 0
    restarts: int = 0


class Envelope:
    """A message, until when it is worth handling (trio's time), and the task that waits for its answer, if one does.

    `heard` is set for a task that waits, right before it is woken, and only then.
    """

    __slots__ = ("alone", "asker", "deadline", "heard", "message")

    def __init__(self, message: Message[Any], deadline: float) -> None:
        self.message = message
        self.deadline = deadline
        self.asker: Task | None = None
        self.alone = False
        self.heard: Any

    async def answered(self) -> Any:
        """Wait for the answer, and raise it where it is an error."""
        self.asker = current_task()
        await wait_task_rescheduled(self._give_up)
        if isinstance(self.heard, EngramError):
            raise self.heard
        return self.heard

    def answer(self, answer: Any) -> None:
        """Give the asker, if one waits, the answer; an `EngramError` is raised there."""
        asker = self.asker
        if asker is not None:
            self.asker = None
            self.heard = answer
            reschedule(asker)

    def _give_up(self, _: RaiseCancelT) -> Abort:
        self.asker = None
        self.deadline = -math.inf  # nobody hears the answer: what waits still is not started
        return Abort.SUCCEEDED


class Mailbox:
    """A bounded queue of envelopes with one reader. Full, it refuses or has the sender wait; it never grows."""

    def __init__(self, name: str, limit: int, kinds: frozenset[type], dead_letters: DeadLetters) -> None:
        """`kinds`: the message types that the actor handles; others are refused as the sender's bug."""
        self.name = name
        self.limit = limit
        self.kinds = kinds
        self.stats = Stats()
        self._dead_letters = dead_letters
        self._waiting: deque[Envelope] = deque()
        self._again: deque[Envelope] = deque()
        self._senders: OrderedDict[Task, Envelope] = OrderedDict()
        self._reader: Task | None = None
        self._closed: str | None = None
        self._watchers: list[Mailbox] = []
        self._ended: Stopped | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to handle."""
        return not self._waiting and not self._again

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken in."""
        return self._closed is not None

    def put(self, envelope: Envelope) -> None:
        """Add an envelope at once, or raise `Busy` or `Unavailable`; `TypeError` for a message of no known type."""
        if not self.offer(envelope):
            self.stats.refused += 1
            raise Busy(f"the {self.name} has {self.limit} messages waiting, its limit", retry_after_s=0.5)

    def offer(self, envelope: Envelope) -> bool:
        """Add an envelope where there is room, and say whether there was. Raises `Unavailable` and `TypeError`."""
        if type(envelope.message) not in self.kinds:
            raise TypeError(f"the {self.name} handles no {type(envelope.message).__name__}")
        if self._closed is not None:
            self.stats.refused += 1
            raise self._refusal()
        if len(self._waiting) >= self.limit:
            return False
        self._waiting.append(envelope)
        self.stats.accepted += 1
        reader = self._reader
        if reader is not None:
            self._reader = None
            reschedule(reader)
        return True

    async def put_in_turn(self, envelope: Envelope) -> None:
        """Wait for room and add an envelope; those who wait get it in the order they came."""
        # Whoever waits, waits at a full mailbox: room goes to them before anybody else can see it.
        task = current_task()
        self._senders[task] = envelope

        def give_up(_: RaiseCancelT) -> Abort:
            del self._senders[task]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(give_up)
        if envelope.heard is not None:
            raise envelope.heard

    async def get(self) -> Envelope | None:
        """Take the next envelope that is in time, waiting for it; None once the mailbox is closed and empty."""
        while (envelope := self.next()) is None:
            if self._closed is not None:
                return None
            self._reader = current_task()
            await wait_task_rescheduled(self._stop_reading)
        return envelope

    def _stop_reading(self, _: RaiseCancelT) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED

    def next(self) -> Envelope | None:
        """Take the next envelope that is in time, if one waits."""
        while True:
            if self._again:
                envelope = self._again.popleft()
            elif self._waiting:
                envelope = self._waiting.popleft()
                if self._senders:
                    self._let_in()
            else:
                return None
            if envelope.deadline == math.inf or self.in_time(envelope):
                return envelope

    def take(self, kinds: frozenset[type], limit: int) -> list[Envelope]:
        """Take up to `limit` more envelopes that wait and are not late, while they are of `kinds`."""
        taken: list[Envelope] = []
        while len(taken) < limit and self._waiting and type(self._waiting[0].message) in kinds:
            envelope = self._waiting.popleft()
            if self._senders:
                self._let_in()
            if self.in_time(envelope):
                taken.append(envelope)
        return taken

    def _let_in(self) -> None:
        """Give the room that has just become to who has waited longest for it."""
        sender, sent = self._senders.popitem(last=False)
        self._waiting.append(sent)
        self.stats.accepted += 1
        sent.heard = None
        reschedule(sender)

    def in_time(self, envelope: Envelope) -> bool:
        """Say whether it is not late; one that is, is answered so."""
        if envelope.deadline > trio.current_time():
            return True
        self.expire([envelope], f"it waited for the {self.name} until its deadline")
        return False

    def expire(self, batch: Sequence[Envelope], message: str) -> None:
        """Answer that the deadline has passed."""
        self.stats.expired += len(batch)
        for envelope in batch:
            envelope.answer(DeadlineExceeded(message))

    def drop(self, batch: Sequence[Envelope], message: str) -> None:
        """Answer that the actor has stopped."""
        self.stats.dropped += len(batch)
        for envelope in batch:
            envelope.answer(Unavailable(message))

    def bury(self, batch: Sequence[Envelope], error: BaseException) -> None:
        """Make dead letters of what crashed the actor."""
        self.stats.dead_letters += len(batch)
        kind = type(leaf(error)).__name__
        for envelope in batch:
            self._dead_letters.add(self.name, envelope.message, described(error))
            envelope.answer(Internal(f"the {self.name} failed on it ({kind})"))

    def put_back(self, batch: Sequence[Envelope]) -> None:
        """Have a batch that failed handled again before all that waits, each message alone.

        It is in hand still, and not among what waits: the places that it had may have been taken since.
        """
        for envelope in batch:
            envelope.alone = True
        self._again.extendleft(reversed(batch))

    def close(self, why: str) -> None:
        """Refuse what comes from now on, and those who wait for room; what waits is still handled."""
        self._closed = why
        self.stats.refused += len(self._senders)
        while self._senders:
            sender, sent = self._senders.popitem(last=False)
            sent.heard = self._refusal()
            reschedule(sender)
        reader = self._reader
        if reader is not None:
            self._reader = None
            reschedule(reader)

    def drop_waiting(self) -> None:
        """Answer everything that still waits with `Unavailable`."""
        waiting = [*self._again, *self._waiting]
        self._again.clear()
        self._waiting.clear()
        self.drop(waiting, f"the {self.name} {self._closed}")

    def watch(self, watcher: Mailbox) -> None:
        """Have `watcher` hear of the actor's crashes, restarts and end; of an end that was, at once."""
        if self._ended is not None:
            watcher.hear(self._ended)
        elif watcher not in self._watchers:
            self._watchers.append(watcher)

    def announce(self, news: Crashed | Restarted | Stopped) -> None:
        """Tell the watchers."""
        if isinstance(news, Stopped):
            self._ended = news
        for watcher in self._watchers:
            watcher.hear(news)

    def hear(self, news: Message[None]) -> None:
        """Take news in. Nobody waits with it: without room it is a dead letter, when closed it is nothing."""
        if self._closed is None and not self.offer(Envelope(news, math.inf)):
            self.stats.refused += 1
            self._dead_letters.add(self.name, news, "no room in its mailbox")

    def _refusal(self) -> Unavailable:
        return Unavailable(f"the {self.name} {self._closed}", retry_after_s=1)
