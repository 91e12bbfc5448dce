"""What a node has signed of its state, and of a write: commitments and receipts, verified from themselves. Formats §3.

A verifier holds no data: the node's key stands in the note's origin (a caller that knows the key pins it), the size and
root in the note, the tries' roots in the event directly before it, and the path binds that event to the root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.errors import LogCorrupt, Unprocessable
from engram.events import _checkpoint as checkpoints
from engram.events._log_proof import verify_inclusion
from engram.events._vocabulary import StateCommitted, decode
from engram.identity import receipt_message, verify
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Sequence


class CommittedState(msgspec.Struct, frozen=True):
    """What a commitment proves: the node of this key had a log of this size and root, and its tries were these."""

    node_key: bytes
    size: int
    root: bytes
    state: StateCommitted


def verify_commitment(note: bytes, event: bytes, path: Sequence[bytes], public: bytes | None = None) -> CommittedState:
    """Verify a checkpoint's note, the event directly before it and that event's path.

    `public`: the node's key, where the caller knows whose commitment this has to be. Raises `Unprocessable`, which
    names what does not hold.
    """
    node_key, checkpoint = _signed(note, public)
    if checkpoint.size == 0:
        raise Unprocessable("a checkpoint of an empty log speaks for no state", field="checkpoint")
    state = _state(event)
    if not verify_inclusion(event, checkpoint.size - 1, checkpoint.size, path, checkpoint.root):
        raise Unprocessable(
            f"the event and its path do not lead to the root of the checkpoint of size {checkpoint.size}", field="path"
        )
    return CommittedState(node_key, checkpoint.size, checkpoint.root, state)


def _signed(note: bytes, public: bytes | None) -> tuple[bytes, checkpoints.Checkpoint]:
    try:
        node_key = checkpoints.signer(note) if public is None else public
        return node_key, checkpoints.parse(note, node_key)
    except LogCorrupt as error:
        raise Unprocessable(str(error), field="checkpoint") from None


def _state(event: bytes) -> StateCommitted:
    if (wrong := _core.check_event(event)) is not None:
        raise Unprocessable(f"the event is none of a log: {wrong}", field="event")
    try:
        state = decode(event)
    except LogCorrupt as error:
        raise Unprocessable(str(error), field="event") from None
    if not isinstance(state, StateCommitted):
        raise Unprocessable("the event before the checkpoint is no state_committed.1", field="event")
    for name, trie in (("records", state.records), ("edges", state.edges), ("heads", state.heads)):
        if len(trie.root) != 32 or not 0 <= trie.count < 2**64:
            raise Unprocessable(f"{name} has no root of 32 bytes and a count of 64 bits", field="event")
    return state


def verify_receipt(
    event: bytes,
    position: int,
    size: int,
    root: bytes,
    time_unix_ns: int,
    path: Sequence[bytes],
    signature: bytes,
    public: bytes,
) -> None:
    """Verify that the node of this key has signed to hold `event` at `position`; `Unprocessable` says what is wrong."""
    if not 0 <= time_unix_ns < 2**64:
        raise Unprocessable(f"time_unix_ns {time_unix_ns} is no time of 64 bits", field="time_unix_ns")
    if (wrong := _core.check_event(event)) is not None:
        raise Unprocessable(f"the event is none of a log: {wrong}", field="event")
    if not verify_inclusion(event, position, size, path, root):
        raise Unprocessable(f"the event and its path do not lead to the root at size {size}", field="path")
    if not verify(public, receipt_message(size, root, time_unix_ns), signature):
        raise Unprocessable("the signature is not that of this node's key over size, root and time", field="signature")
