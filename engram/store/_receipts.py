"""Receipts: what the node signs of a durable write, so that whoever has one can show it. Formats §3 and §9.

One signature a frame, over the log as the frame left it; each event of it has its inclusion path there.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import msgspec

from engram.identity import receipt_message
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Collection

    from engram.events import Committed
    from engram.identity import NodeKey


RECENT_EVENTS, RECENT_FRAMES = 4096, 512
"""What is remembered of the log's end: four of the largest batches, 2 MiB as a rule. The last frame always is."""


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

    def sign(self, key: NodeKey, written: Written, positions: Collection[int]) -> None:
        """Make the receipts of the events at `positions`."""
        done = written.committed
        self.prove(written, key.sign(receipt_message(done.size, done.root, done.time_unix_ns)), positions)

    def prove(self, written: Written, signature: bytes, positions: Collection[int]) -> None:
        """Have the paths of the events at `positions`, under a signature that was made before."""
        self._committed, self._events, self._signature = written.committed, written.events, signature
        first = written.committed.first_position
        paths = _core.frame_paths(written.before, written.events, [position - first for position in positions])
        self._paths = dict(zip(positions, paths, strict=True))

    @property
    def signature(self) -> bytes:
        """The node's, over the log as the frame left it."""
        return self._signature


class Written(msgspec.Struct, frozen=True, eq=False):
    """A frame that is durable, with its events, and the log's state before it."""

    before: _core.LogState
    events: list[bytes]
    committed: Committed


class RecentFrames:
    """The frames of late: who sends a write again, since its answer was lost, finds the receipt of the first time here.

    Kept is what the receipts are made of, and not they, which are many. One thread notes frames, any may ask.
    """

    def __init__(self, events: int = RECENT_EVENTS, frames: int = RECENT_FRAMES) -> None:
        """How many are remembered at most, but for the last frame."""
        self._most_events, self._most_frames = events, frames
        self._kept: tuple[tuple[Written, bytes], ...] = ()
        self._events = 0
        self._made: tuple[Written, Frame] | None = None

    def note(self, written: Written, signature: bytes) -> None:
        """Remember a frame."""
        self._events += len(written.events)
        gone = 0
        while gone < len(self._kept) and (
            self._events > self._most_events or len(self._kept) - gone >= self._most_frames
        ):
            self._events -= len(self._kept[gone][0].events)
            gone += 1
        self._kept = (*self._kept[gone:], (written, signature))

    def frame_of(self, position: int) -> Frame | None:
        """Give the frame of an event that is of late."""
        kept = self._kept
        at = bisect.bisect_right(kept, position, key=lambda each: each[0].committed.first_position) - 1
        if at < 0 or position >= kept[at][0].committed.size:
            return None
        written, signature = kept[at]
        made = self._made
        if made is None or made[0] is not written:
            frame = Frame()
            frame.prove(written, signature, range(written.committed.first_position, written.committed.size))
            self._made = made = (written, frame)
        return made[1]
