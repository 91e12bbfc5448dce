"""What provers read of a node's state, and what verifiers take from a commitment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from engram import events
from engram.errors import Unprocessable
from engram.proofs._errors import not_held
from engram.wire import Commitment

if TYPE_CHECKING:
    from engram.events import CommittedState
    from engram.native._core import TrieView


class Committed(Protocol):
    """A state that the node has signed, with its tries: what `engram.store` keeps of each checkpoint.

    `note`: the signed checkpoint of `size` events and `root`; `event`: the last of them, `path` its inclusion path.
    """

    @property
    def note(self) -> bytes: ...
    @property
    def event(self) -> bytes: ...
    @property
    def path(self) -> list[bytes]: ...
    @property
    def size(self) -> int: ...
    @property
    def root(self) -> bytes: ...
    @property
    def records(self) -> TrieView: ...
    @property
    def heads(self) -> TrieView: ...


def commitment_of(state: Committed) -> Commitment:
    """Give a state's commitment as it travels."""
    return Commitment(checkpoint=state.note, event=state.event, path=state.path)


def check_commitment(commitment: Commitment, node: bytes | None = None) -> CommittedState:
    """Verify a commitment, of this node where one is given; `DoesNotHold` says what is wrong."""
    try:
        return events.verify_commitment(commitment.checkpoint, commitment.event, commitment.path, node)
    except Unprocessable as error:
        raise not_held(error) from None
