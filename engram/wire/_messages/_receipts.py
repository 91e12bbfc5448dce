"""What a node signs of what it did, and of what it holds: `formats.md` §3."""

from __future__ import annotations

from typing import Annotated

import msgspec

from engram.wire._messages._base import Answer

Path = Annotated[list[bytes], msgspec.Meta(max_length=128)]
"""A path through a log's tree: no log that can be has one of more hashes."""


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
    path: Path
    signature: bytes


class Commitment(Answer, frozen=True, kw_only=True):
    """What a node stands by: a signed checkpoint of its log, and the roots of its tries there.

    `checkpoint`: the signed note, of a size n. `event`: that at position n-1, `state_committed.1`. `path`: its
    inclusion path in the tree of n events, from the leaf upwards.
    """

    checkpoint: bytes
    event: bytes
    path: Path
