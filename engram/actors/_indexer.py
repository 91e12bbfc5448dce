"""The indexer actor: seals and merges the parts of the index in the background, one at a time."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from engram.runtime import Actor, Message, handle

if TYPE_CHECKING:
    from engram.store import Indexing, Store

LANE = "index"
"""The Offload lane on which segments are built and the files of the index are kept."""

_AGAIN_S = 60.0
"""How long it leaves a disk alone that has failed it: the index is whole without its files."""


class IndexOnce(Message[float], frozen=True):
    """Seal or merge once, if that is due; answers in how many seconds to ask again."""


class Indexer(Actor):
    """Has parts built on a thread of their own and adopted on the writer's."""

    mailbox_limit = 4

    def __init__(self, store: Store, indexing: Indexing) -> None:
        self._store = store
        self._indexing = indexing

    async def on_stop(self) -> None:
        """Have the MANIFEST name what there is, behind whatever is being built."""
        try:
            await self.context.offload.run(LANE, self._indexing.record)
        except OSError as error:
            self._failed(error)

    @handle
    async def once(self, message: IndexOnce) -> float:
        """Seal or merge once, if that is due."""
        del message
        offload = self.context.offload
        try:
            task = await offload.run(LANE, self._indexing.next)
            if task is not None:
                built = await offload.run(LANE, functools.partial(self._indexing.build, task))
                await offload.run("writer", functools.partial(self._store.adopt, built))
            await offload.run(LANE, self._indexing.record)
        except OSError as error:
            self._failed(error)
            return _AGAIN_S
        return self._indexing.look_s if task is None else 0.0

    def _failed(self, error: OSError) -> None:
        self.context.log.warning("index_not_written", reason=error.strerror or str(error))
