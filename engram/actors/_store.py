"""The store actor: what waits in its mailbox becomes one group commit."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engram.errors import EngramError
from engram.runtime import Actor, Message, handle_batch
from engram.store import Done, Operation, Store

if TYPE_CHECKING:
    from engram.ports import Clock, Offload

GROUP_MESSAGES = 64


class Commit(Message[list[Done | EngramError]], frozen=True):
    """Carry out operations durably, in order; one outcome each."""

    operations: list[Operation]


class StoreActor(Actor):
    """Owns the writer thread of a store."""

    def __init__(self, store: Store, offload: Offload, clock: Clock) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock

    @handle_batch(GROUP_MESSAGES)
    async def commit(self, messages: Sequence[Commit]) -> list[list[Done | EngramError]]:
        """Commit everything that waits, together."""
        operations = [operation for message in messages for operation in message.operations]
        call = functools.partial(self._store.commit, operations, self._clock.now_ns())
        rest = iter(await self._offload.run("writer", call))
        return [[next(rest) for _ in message.operations] for message in messages]
