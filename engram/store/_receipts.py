"""Receipts: what the node signs of a durable write, so that whoever has one can show it. Formats §3 and §9.

One signature a frame, over the log as the frame left it; each event of it has its inclusion path there.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from engram.identity import receipt_message
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from engram.events import Committed
    from engram.identity import NodeKey


RECENT = 2048
"""Events whose receipts are remembered: two of the largest batches, at most 2 KiB each."""


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

    __slots__ = ("_committed", "_proved", "_signature")

    def __init__(self) -> None:
        self._proved: dict[int, tuple[bytes, list[bytes]]] = {}

    def __repr__(self) -> str:
        return "Frame()"  # of two groupings the outcomes are the same

    def receipt(self, position: int) -> Receipt | None:
        """Give the receipt of an event that stands for an operation; None for any other."""
        proved = self._proved.get(position)
        if proved is None:
            return None
        event, path = proved
        done = self._committed
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
        self._committed = committed
        self._signature = key.sign(receipt_message(committed.size, committed.root, committed.time_unix_ns))
        numbers = [position - committed.first_position for position in positions]
        paths = _core.frame_paths(before, events, numbers)
        named = zip((events[number] for number in numbers), paths, strict=True)
        self._proved = dict(zip(positions, named, strict=True))


class RecentFrames:
    """The frames of late: who sends a write again, since its answer was lost, finds the receipt of the first time here.

    One thread notes them, any may ask.
    """

    def __init__(self, most: int = RECENT) -> None:
        """`most`: events that are remembered."""
        self._most = most
        self._frames: OrderedDict[int, Frame] = OrderedDict()

    def note(self, frame: Frame, positions: Iterable[int]) -> None:
        """Remember a frame, by the events that stand for its operations."""
        self._frames.update(dict.fromkeys(positions, frame))
        while len(self._frames) > self._most:
            self._frames.popitem(last=False)

    def frame_of(self, position: int) -> Frame | None:
        """Give the frame of an event, if it stands for an operation and is of late."""
        return self._frames.get(position)
