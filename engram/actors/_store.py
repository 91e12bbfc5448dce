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
FRAME_OPERATIONS = 8192
"""Operations a commit, so that their events fit one frame of the log."""


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
        outcomes: list[Done | EngramError] = []
        for start in range(0, len(operations), FRAME_OPERATIONS):
            part = operations[start : start + FRAME_OPERATIONS]
            call = functools.partial(self._store.commit, part, self._clock.now_ns())
            outcomes += await self._offload.run("writer", call)
        rest = iter(outcomes)
        return [[next(rest) for _ in message.operations] for message in messages]
