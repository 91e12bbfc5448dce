"""The store actor: what waits in its mailbox becomes one group commit."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from engram.errors import EngramError
from engram.runtime import Actor, Message, handle, handle_batch
from engram.store import Commitment, Done, Operation, Store

if TYPE_CHECKING:
    from engram.ports import Clock, Offload
    from engram.runtime import Tail

GROUP_MESSAGES = 64


class Commit(Message[list[Done | EngramError]], frozen=True):
    """Carry out operations durably, in order; one outcome each."""

    operations: list[Operation]


class CommitCheckpoint(Message[Commitment], frozen=True):
    """Sign what the store holds, unless it has been since the event at `position`; None: since the last there is."""

    position: int | None = None


class StoreActor(Actor):
    """Owns the writer thread of a store."""

    def __init__(self, store: Store, offload: Offload, clock: Clock, tail: Tail) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock
        self._tail = tail

    @handle_batch(GROUP_MESSAGES, repeatable=True)
    async def commit(self, messages: Sequence[Commit]) -> list[list[Done | EngramError]]:
        """Commit everything that waits, together.

        It may be repeated where it crashed: a crash before the log was written has left nothing, and after that a put
        finds its own record, named by its content.
        """
        operations = [operation for message in messages for operation in message.operations]
        call = functools.partial(self._store.commit, operations, self._clock.now_ns())
        # Neither a deadline nor a stop ends a commit that has begun: the thread would go on with it all the same, with
        # nobody there to hear what it did, and of a failed disk nobody would ever hear.
        with trio.CancelScope(shield=True):
            try:
                rest = iter(await self._offload.run("writer", call))
            finally:  # whatever went wrong, it may have been after the log's sync
                self._tail.committed()
        return [[next(rest) for _ in message.operations] for message in messages]

    @handle
    async def checkpoint(self, message: CommitCheckpoint) -> Commitment:
        """Commit to what the store holds now, as an event and a signed checkpoint."""
        call = functools.partial(self._store.commitment, self._clock.now_ns(), message.position)
        with trio.CancelScope(shield=True):
            try:
                commitment = await self._offload.run("writer", call)
            finally:
                self._tail.committed()
        return commitment
