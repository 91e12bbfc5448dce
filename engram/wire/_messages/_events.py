"""The log, for who follows it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from engram.wire._messages._base import (
    Answer,
    Index,
    Request,
)


class EventInfo(Answer, frozen=True, kw_only=True):
    """A fact of the node's log, at its position. `data`: the event's fields, hashes and keys as hex.

    `namespace`, `cid` and `key` are set where the event is about one and the caller may know it.
    """

    position: int
    type: str
    time_unix_ns: int
    namespace: str | None = None
    cid: str | None = None
    key: str | None = None
    data: dict[str, Any] = {}


class EventsResult(Answer, frozen=True, kw_only=True):
    """Events in order. `next`: the `since` to go on with, which passes over what was not asked for.

    None, and `next` below `position`: a call looks at so many events at most, and there are more.
    """

    events: list[EventInfo]
    next: int
    position: int
    """Events in the log."""


class Events(Request[EventsResult], frozen=True, kw_only=True):
    """Give what happened from position `since` on: events of `types` (all, if absent), of one namespace or of all.

    `wait_s`: how long to wait where there is nothing yet, at most 30.
    """

    method: ClassVar[str] = "events"
    since: Index = 0
    limit: Index = 100
    wait_s: float = 0.0
    types: Annotated[list[str], msgspec.Meta(max_length=64)] | None = None
    namespace: str | None = None
