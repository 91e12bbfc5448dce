"""A plug-in of the simulation: it folds what lives, reacts to deletions, is asked, and crashes where the seed says so.

What it does is written into a `Book`, which outlives its crashes and the node's lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec
import trio

from engram.events import RecordDeleted, RecordStored
from engram.runtime import Message, Plugin, apply, handle, handle_batch, react
from engram.testing._checks import CRASHING

if TYPE_CHECKING:
    from random import Random

    from engram.runtime import Feed, Ref, Tail

MAILBOX = 6
_TOGETHER = 3
_CRASHES = 5
"""Planted crashes in one life: one more in a minute, and the actor would be given up."""


class Planted(Exception):
    """The bug that crashes the tally."""


class Living(msgspec.Struct):
    """The fold: the CIDs that live in each namespace, by its id in hex."""

    cids: dict[str, list[str]] = {}


class Seen(msgspec.Struct, frozen=True):
    """An answer: what lives after the first `position` events."""

    position: int
    cids: dict[str, list[str]]


class Look(Message[Seen], frozen=True):
    """Ask what lives. `until`: when it is not worth beginning any more; a poisoned one crashes whoever handles it."""

    number: int
    until: float
    slow_s: float
    poison: bool


class LookTogether(Look, frozen=True):
    """The same, handled with others that wait."""


class Book:
    """What the tally did, and how often it is to crash."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.reacted: list[tuple[int, str]] = []
        self.begun: set[int] = set()
        self.wrong: list[str] = []
        self.begin_life()

    def begin_life(self) -> None:
        """Begin a life of the node."""
        self.ref: Ref | None = None
        self.tail: Tail | None = None
        self.feed: Feed | None = None
        self.open = trio.Event()
        self._crashes_left = _CRASHES
        self.standing = False

    def may_crash(self, share: float) -> None:
        """Raise `Planted` by chance, where the tally may crash once more."""
        if self.standing and self._crashes_left and self.rng.random() < share:
            self._crashes_left -= 1
            raise Planted

    def poisoned(self) -> None:
        """Note the crashes that a poisoned message is about to cause: with others, and alone."""
        self._crashes_left -= 2

    def may_poison(self) -> bool:
        """Say whether a poisoned message may be sent."""
        return self._crashes_left > 1


class _Tally(Plugin):
    book: ClassVar[Book]
    State = Living
    mailbox_limit = MAILBOX
    snapshot_every = 12
    react_from = "start"
    state: Living

    def __init__(self) -> None:
        self._last = -1
        self._reacting = False

    async def on_start(self) -> None:
        """Be there."""
        self.book.feed = self.feed
        self.book.standing = True

    @apply
    def stored(self, event: RecordStored, position: int) -> None:
        """Note that a record lives."""
        del position
        self.book.may_crash(0.01)
        self.state.cids.setdefault(event.ns.hex(), []).append(event.cid)

    @apply
    def deleted(self, event: RecordDeleted, position: int) -> None:
        """Note that it lives no more, if it did: what was deleted before may be deleted again, to be erased."""
        del position
        self.book.may_crash(0.02)
        living = self.state.cids[event.ns.hex()]
        if event.cid in living:
            living.remove(event.cid)

    @react
    async def on_deleted(self, event: RecordDeleted, position: int) -> None:
        """Tell of a deletion, slowly."""
        book = self.book
        if self._reacting or position <= self._last:
            book.wrong.append(f"the reaction to event {position} comes after that to {self._last}, or beside another")
        if (self.feed.applied or 0) <= position:
            book.wrong.append(f"event {position} was reacted to before it was folded")
        self._reacting, self._last = True, position
        book.may_crash(0.1)
        await trio.sleep(book.rng.random() * 0.03)
        book.may_crash(0.1)
        book.reacted.append((position, event.cid))
        self._reacting = False

    @handle
    async def look(self, message: Look) -> Seen:
        """Say what lives."""
        await self._look([message])
        return self._seen()

    @handle_batch(_TOGETHER, repeatable=True)
    async def look_together(self, messages: Sequence[LookTogether]) -> list[Seen]:
        """Say what lives to several."""
        await self._look(messages)
        return [self._seen()] * len(messages)

    async def _look(self, messages: Sequence[Look]) -> None:
        for message in messages:
            self.book.begun.add(message.number)
            if trio.current_time() > message.until:
                self.book.wrong.append(f"ask {message.number} was begun after its deadline")
        for message in messages:
            if message.poison:
                raise Planted
            await trio.sleep(message.slow_s)

    def _seen(self) -> Seen:
        return Seen(self.feed.applied or 0, {ns: sorted(cids) for ns, cids in self.state.cids.items() if cids})


class _Door(Plugin):
    """Shows the simulation the way to the tally."""

    book: ClassVar[Book]
    asks = (CRASHING,)

    async def on_start(self) -> None:
        self.book.ref, self.book.tail = self.context.ref(CRASHING), self.feed.tail
        self.book.open.set()


def plugins_of(book: Book) -> dict[str, type[Plugin]]:
    """Give the plug-ins to run, by name, which write into `book`."""
    return {CRASHING: type("Tally", (_Tally,), {"book": book}), "door": type("Door", (_Door,), {"book": book})}
