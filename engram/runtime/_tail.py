"""The tail of the log: facts, pulled by position, each follower at its own pace.

A follower holds no more than the batch it has just been given; what it has not read stands in the log. Whoever appends
says so with `committed`, on the trio thread, once it is durable; reading happens on a thread of the Offload port.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Self

import trio

from engram.events import BATCH_BYTES, BATCH_EVENTS

if TYPE_CHECKING:
    from engram.events import Entry, Log, LogReader
    from engram.ports import Offload

LANE = "log"
"""The Offload lane on which the log is read, and the small files of its followers are kept."""


class Tail:
    """What is committed of a log, for any number of followers."""

    def __init__(self, log: Log, offload: Offload) -> None:
        self._log = log
        self._offload = offload
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def size(self) -> int:
        """How many events are durable: whoever could know of one finds it counted, though nobody was woken for it."""
        return self._log.size

    def committed(self) -> None:
        """Say that the log has grown, or may have; called on the trio thread after every commit."""
        self._waiting.unpark_all()

    async def grown(self) -> None:
        """Wait for the next commit to be told of; what it wrote can be read then."""
        await self._waiting.park()

    async def beyond(self, position: int) -> None:
        """Wait until an event of this position is committed."""
        # Between looking and waiting nothing else runs, so no `committed` is missed there.
        while self.size <= position:
            await self._waiting.park()

    def follow(self, position: int) -> Follower:
        """Give a follower that begins with the event of this position, or with that which will have it."""
        return Follower(self, self._log.reader(position), self._offload)

    async def root_at(self, size: int) -> bytes | None:
        """Give the root of the log when it had `size` events; None where no frame ends there."""
        return await self._offload.run(LANE, functools.partial(self._log.root_at, size))


class Follower:
    """A place in the log for one task. An async iterator of batches that never ends."""

    def __init__(self, tail: Tail, reader: LogReader, offload: Offload) -> None:
        self._tail = tail
        self._reader = reader
        self._offload = offload

    @property
    def position(self) -> int:
        """The position of the next event."""
        return self._reader.position

    @property
    def proved(self) -> tuple[int, bytes] | None:
        """The size and root of the log at the end of the last frame before `position`, where that is known."""
        return self._reader.proved

    async def next(self, limit_events: int = BATCH_EVENTS, limit_bytes: int = BATCH_BYTES) -> list[Entry]:
        """Wait for events and give the next of them, at most about so many.

        Cancelled while it waits, it has taken nothing. Raises `LogCorrupt`, and `StorageFailed` where the disk cannot
        read.
        """
        # One that is far behind never waits for events: it too must hear that it is to end.
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._tail.beyond(self.position)
        # A thread that reads is not stopped: with nobody to take what it brings, those events would be skipped.
        entries: list[Entry] = []
        with trio.CancelScope(shield=True):
            entries += await self._offload.run(LANE, functools.partial(self._reader.read, limit_events, limit_bytes))
        return entries

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Entry]:
        return await self.next()
