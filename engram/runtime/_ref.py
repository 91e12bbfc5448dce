"""A ref: where messages for an actor go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import trio

from engram.errors import DeadlineExceeded
from engram.runtime._mailbox import Envelope
from engram.runtime._message import NEWS

if TYPE_CHECKING:
    from typing import Any

    from engram.runtime._mailbox import Mailbox, Stats
    from engram.runtime._message import Answer, Message


class Ref:
    """Where messages for an actor go. It outlives the actor's crashes.

    Deadlines are absolute, in trio's time. A message of a type that the actor does not handle raises `TypeError` at the
    sender, whose bug it is; an actor that stops, or has been given up, refuses with `Unavailable`.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def tell(self, message: Message[Any], *, deadline: float = math.inf) -> None:
        """Send without an answer, and wait while the mailbox is full; who waits first is let in first.

        The caller's own deadline bounds that wait and nothing more: once it is accepted the message is the actor's, and
        the caller need not live to see it handled. `deadline` is the message's: no room until then raises
        `DeadlineExceeded`, and later than that it is not begun, or is ended where it is under way.

        While there is room this returns at once, and is no checkpoint.
        """
        envelope = Envelope(message, deadline)
        if self._mailbox.offer(envelope):
            return
        if deadline == math.inf:
            await self._mailbox.put_in_turn(envelope)
            return
        with trio.CancelScope(deadline=deadline) as scope:
            await self._mailbox.put_in_turn(envelope)
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"the {self._mailbox.name} had no room for it until its deadline")

    def try_tell(self, message: Message[Any], *, deadline: float = math.inf) -> None:
        """Send without an answer and without waiting: raises `Busy` where the mailbox is full."""
        self._mailbox.put(Envelope(message, deadline))

    async def ask(self, message: Message[Answer], *, deadline: float = math.inf) -> Answer:
        """Send and wait for the answer.

        The message has the caller's deadline, or `deadline` where that is earlier. Late, or with the caller cancelled,
        it is not begun; where it is under way the deadline ends it, and a cancelled caller does not.

        Raises what the actor answers with, `Busy` where the mailbox is full, `Internal` where the message crashed the
        actor, and `DeadlineExceeded` at `deadline`. The caller's own scope ends the wait as trio has it.
        """
        if deadline == math.inf:
            return await self._ask(message)
        with trio.CancelScope(deadline=deadline):
            return await self._ask(message)
        raise DeadlineExceeded(f"the {self._mailbox.name} gave no answer until the deadline")

    async def _ask(self, message: Message[Answer]) -> Answer:
        envelope = Envelope(message, trio.current_effective_deadline())
        self._mailbox.put(envelope)
        return cast("Answer", await envelope.answered())

    def watch(self, watcher: Ref) -> None:
        """Have `watcher` be told when this actor has `Crashed`, `Restarted` and `Stopped`; it must handle all three.

        Raises `TypeError` where it does not. An actor that has ended already is told of at once.
        """
        missing = [kind.__name__ for kind in NEWS if kind not in watcher._mailbox.kinds]
        if missing:
            raise TypeError(f"the {watcher.name} cannot watch: it handles no {', '.join(missing)}")
        self._mailbox.watch(watcher._mailbox)

    @property
    def name(self) -> str:
        """The actor's name."""
        return self._mailbox.name

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._mailbox)

    @property
    def stats(self) -> Stats:
        """The actor's counters."""
        return self._mailbox.stats
