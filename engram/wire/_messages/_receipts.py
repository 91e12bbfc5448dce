"""What a node signs of what it did, and of what it holds: `formats.md` §3."""

from __future__ import annotations

from engram.wire._messages._base import Answer


class Receipt(Answer, frozen=True, kw_only=True, gc=False, tag_field="format", tag="engram/receipt/1"):
    """A node's word for a durable write: `event` stands at `position` of its log, which had `size` events and `root`.

    `path`: the event's inclusion path in that tree, from the leaf upwards. `signature`: the node key's, over size, root
    and time of the frame (`formats.md` §9); one for all events of a frame. `time_unix_ns`: the frame's.
    """

    event: bytes
    position: int
    size: int
    root: bytes
    time_unix_ns: int
    path: list[bytes]
    signature: bytes


class Commitment(Answer, frozen=True, kw_only=True):
    """What a node stands by: a signed checkpoint of its log, and the roots of its tries there.

    `checkpoint`: the signed note, of a size n. `event`: that at position n-1, `state_committed.1`. `path`: its
    inclusion path in the tree of n events, from the leaf upwards.
    """

    checkpoint: bytes
    event: bytes
    path: list[bytes]
