"""The checkpointer actor: while anything is written, it has a checkpoint signed every epoch. Formats §3.

It has the state tries loaded and kept on another thread than the writer's, so that nobody's write waits for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from engram.actors._store import CommitCheckpoint
from engram.runtime import Actor, Message, handle

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.runtime import Ref
    from engram.store import Store

EPOCH_S = 4320
"""Seconds of an epoch where there is no chain. Formats §5."""

_LOOK_S = 60.0
"""How often it looks whether another epoch has begun: a machine may sleep."""
_LANE = "scrub"


class CheckpointOnce(Message[float], frozen=True):
    """Have a checkpoint signed if another epoch has begun; answers in how many seconds to ask again."""


class Checkpointer(Actor):
    """Asks the store actor for checkpoints."""

    mailbox_limit = 4

    def __init__(self, store: Store, store_ref: Ref, epoch_s: float = EPOCH_S) -> None:
        self._store = store
        self._store_ref = store_ref
        self._epoch_s = epoch_s
        self._epoch: int | None = None

    @handle
    async def once(self, message: CheckpointOnce) -> float:
        """Look at the clock. The epoch in which a node starts is one that it does not end early."""
        del message
        epoch, since_s = divmod(self.context.clock.now_ns() / 1e9, self._epoch_s)
        if self._epoch not in (None, int(epoch)) and not self._store.is_committed:
            await self._beside(self._store.prepare_commitment)
            await self._store_ref.ask(CommitCheckpoint())
            await self._beside(self._store.keep_snapshot)
        self._epoch = int(epoch)
        return min(self._epoch_s - since_s, _LOOK_S)

    async def _beside(self, call: Callable[[], None]) -> None:
        with trio.CancelScope(shield=True):  # the folder must not be closed under it
            await self.context.offload.run(_LANE, call)
