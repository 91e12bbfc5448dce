"""Receipts: what the node signs of a durable write, so that whoever has one can show it. Formats §3 and §9.

One signature a frame, over the log as the frame left it; each event of it has its inclusion path there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.identity import receipt_message
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Collection

    from engram.events import Committed
    from engram.identity import NodeKey


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The node's word that `event` stands at `position` of its log, which had `size` events and `root` at that time.

    `path`: from the event's leaf up to the root. `signature`: over size, root and time.
    """

    event: bytes
    position: int
    size: int
    root: bytes
    time_unix_ns: int
    path: list[bytes]
    signature: bytes


class Frame:
    """The frame that a group of operations becomes; once it is durable, it has a receipt of what each of them did."""

    __slots__ = ("_committed", "_events", "_paths", "_signature")

    def __init__(self) -> None:
        self._paths: dict[int, list[bytes]] = {}

    def __repr__(self) -> str:
        return "Frame()"  # of two groupings the outcomes are the same

    def receipt(self, position: int) -> Receipt | None:
        """Give the receipt of an event that stands for an operation; None for any other."""
        path = self._paths.get(position)
        if path is None:
            return None
        done = self._committed
        event = self._events[position - done.first_position]
        return Receipt(event, position, done.size, done.root, done.time_unix_ns, path, self._signature)

    def sign(
        self,
        key: NodeKey,
        before: _core.LogState,
        events: list[bytes],
        committed: Committed,
        positions: Collection[int],
    ) -> None:
        """Make the receipts of the events at `positions`. `before`: the log's state before the frame of `events`."""
        if not positions:
            return
        self._committed, self._events = committed, events
        self._signature = key.sign(receipt_message(committed.size, committed.root, committed.time_unix_ns))
        first = committed.first_position
        paths = _core.frame_paths(before, events, [position - first for position in positions])
        self._paths = dict(zip(positions, paths, strict=True))
