"""A plug-in that follows the log in every simulated node: its state and its reactions show what an actor is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.events import RecordDeleted, RecordStored
from engram.runtime import Plugin, apply, react
from engram.testing._oracle import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.testing._oracle import Event

NAME = "witness"
_KINDS = ("record_stored.1", "record_deleted.1")


class Seen(msgspec.Struct):
    """What it has folded: how many records came and went, and the position of the last."""

    stored: int = 0
    deleted: int = 0
    last: int = -1


class Testimony:
    """What all its instances have seen, over all lives."""

    def __init__(self) -> None:
        self.reactions: list[tuple[int, str]] = []
        self.state = Seen()

    def actor(self) -> type[Plugin]:
        """Give a plug-in that writes down here what it sees."""
        testimony = self

        class Witness(Plugin):
            """Counts records, and tells of each."""

            State = Seen
            snapshot_every = 8
            react_from = "start"

            async def on_start(self) -> None:
                testimony.state = self.state

            @apply
            def stored(self, event: RecordStored, position: int) -> None:
                del event
                self.state.stored += 1
                self._move(position)

            @apply
            def deleted(self, event: RecordDeleted, position: int) -> None:
                del event
                self.state.deleted += 1
                self._move(position)

            @react
            async def told(self, event: RecordStored | RecordDeleted, position: int) -> None:
                testimony.reactions.append((position, event.cid))

            def _move(self, position: int) -> None:
                if position <= self.state.last:
                    raise Violation(f"an actor was given event {position} after event {self.state.last}")
                self.state.last = position

        return Witness


def check_testimony(testimony: Testimony, events: Sequence[Event]) -> None:
    """Compare it with the log: the state is its fold; each event was reacted to, and none that is not there."""
    records = {event.position: event for event in events if event.type in _KINDS}
    stored, deleted = (sum(event.type == kind for event in records.values()) for kind in _KINDS)
    expected = Seen(stored, deleted, max(records, default=-1))
    if testimony.state != expected:
        raise Violation(f"an actor's state is {testimony.state}, and the fold of the log is {expected}")
    for position, cid in testimony.reactions:
        if position not in records or records[position].fields["cid"] != cid:
            raise Violation(f"an actor reacted to {cid} at {position}, which the log does not have")
    if missed := sorted(set(records) - {position for position, _ in testimony.reactions}):
        raise Violation(f"an actor was never told of the events {missed}")
