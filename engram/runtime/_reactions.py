"""The reactions of an actor: every event of their types at least once, in order, from a durable cursor on."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

import trio

from engram.errors import EngramError
from engram.events import decode
from engram.runtime._failures import described
from engram.runtime._snapshot import Cursor, load, save
from engram.runtime._tail import LANE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from engram.events import Event
    from engram.ports import Offload
    from engram.runtime._log import Log
    from engram.runtime._projection import Feed, Projection
    from engram.runtime._tail import Follower

_UNSAVED_REACTIONS = 64
_UNSAVED_EVENTS = 10_000
_UNSAVED_S = 1.0
"""How many reactions a process that is killed may forget, of how many events it then walks again, and how long a cursor
waits for more before it is kept. Where the node is stopped, or the actor crashes, nothing is forgotten."""


class Reactions:
    """One instance's reactions, and how far they have come."""

    def __init__(
        self,
        methods: Mapping[type[Event], Callable[[Any, int], Awaitable[None]]],
        feed: Feed,
        projection: Projection | None,
        offload: Offload,
        log: Log,
        limit_s: float,
    ) -> None:
        """`projection`: what must have folded an event before it is reacted to. `limit_s`: for one reaction."""
        self._methods = methods
        self._feed = feed
        self._projection = projection
        self._offload = offload
        self._log = log
        self._limit_s = limit_s
        self._follower: Follower = feed.tail.follow(0)
        self._position = 0
        self._proved: tuple[int, bytes] | None = None
        self._saved = 0
        self._unsaved = 0

    async def recover(self, first: Literal["start", "end"]) -> None:
        """Go to where the reactions were. `first`: where the actor's first life begins, which is kept at once."""
        begun, found = await self._offload.run(LANE, self._load)
        if found is not None and await self._is_of_this_log(found):
            self._stand(found.position, (found.size, found.root))
        elif begun:
            # Not knowing what has been reacted to, some of it comes again: that is what "at least once" promises.
            self._log.warning("cursor_refused", reason="it is damaged or of another log; every event comes again")
            self._stand(0, None)
        else:
            size = 0 if first == "start" else self._feed.begun_at
            root = await self._feed.tail.root_at(size)
            self._stand(size, None if root is None else (size, root))
            await self._save()

    async def keep(self) -> None:
        """React to what comes, for ever."""
        while True:
            if self._unsaved or self._position - self._saved >= _UNSAVED_EVENTS:
                with trio.move_on_after(_UNSAVED_S) as waiting:
                    await self._feed.tail.beyond(self._follower.position)
                if waiting.cancelled_caught or self._position - self._saved >= _UNSAVED_EVENTS:
                    await self._save()
            for position, _, data in await self._follower.next():
                await self._react(position, data)
            self._proved = self._follower.proved or self._proved

    async def save(self) -> None:
        """Keep the cursor where it is, durably, if it has moved."""
        if self._position != self._saved:
            await self._save()

    async def _react(self, position: int, data: bytes) -> None:
        event = decode(data)
        method = self._methods.get(type(event))  # type: ignore[arg-type]
        if method is not None:
            if self._projection is not None:
                await self._projection.reached(position + 1)
            with trio.fail_after(self._limit_s):
                await self._carry_out(method, event, position)
            self._unsaved += 1
        self._position = self._feed.reacted = position + 1
        if self._unsaved >= _UNSAVED_REACTIONS:
            await self._save()

    async def _carry_out(self, method: Callable[[Any, int], Awaitable[None]], event: object, position: int) -> None:
        """React; again where the error says when to try again, as the node's do until its model is loaded."""
        while True:
            try:
                return await method(event, position)
            except EngramError as error:
                if error.retry_after_s is None:
                    raise
                self._log.info("reaction_postponed", error=described(error), after_s=error.retry_after_s)
                await trio.sleep(error.retry_after_s)

    def _stand(self, position: int, proved: tuple[int, bytes] | None) -> None:
        self._position = self._saved = self._feed.reacted = position
        self._proved = proved
        self._follower = self._feed.tail.follow(position)

    async def _save(self) -> None:
        if self._proved is None:
            return  # in the first frame of a segment: what the log was before it is not known yet
        cursor = Cursor(self._feed.name, self._position, *self._proved)
        self._saved, self._unsaved = self._position, 0
        try:
            with trio.CancelScope(shield=True):
                await self._offload.run(LANE, functools.partial(save, self._feed.disk, self._feed.cursor_path, cursor))
        except OSError as error:  # more comes again than need be
            self._log.warning("cursor_not_written", reason=error.strerror)

    def _load(self) -> tuple[bool, Cursor | None]:
        path = self._feed.cursor_path
        try:
            return self._feed.disk.exists(path), load(self._feed.disk, path, Cursor)
        except OSError:
            return True, None

    async def _is_of_this_log(self, found: Cursor) -> bool:
        in_log = found.name == self._feed.name and found.size <= found.position <= self._feed.tail.size
        return in_log and await self._feed.tail.root_at(found.size) == found.root
