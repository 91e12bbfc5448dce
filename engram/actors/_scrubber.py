"""The scrubber actor: while nothing is written, it has the scrub look at one piece after the other, slowly."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from engram.errors import LogCorrupt
from engram.runtime import Actor, Message, handle

if TYPE_CHECKING:
    from engram.store import Finding, Scrub, Store

IDLE_S = 30.0
"""How long nothing must have been written."""

_LOOK_S = 60.0
"""How often it looks whether it is time; a day may be long where a machine sleeps."""


class ScrubOnce(Message[float], frozen=True):
    """Look at one more piece if it is time; answers in how many seconds to ask again."""


class Scrubber(Actor):
    """Reads what is on disk again, at most `bytes_per_s`, and says what is wrong with it.

    Damage in the log ends the node: `LogCorrupt`. Tables that went wrong are folded again at once.
    """

    mailbox_limit = 4

    def __init__(self, store: Store, scrub: Scrub, bytes_per_s: float) -> None:
        self._store = store
        self._scrub = scrub
        self._bytes_per_s = bytes_per_s
        self._position = -1
        self._written_at = 0.0

    async def on_stop(self) -> None:
        """Keep the place."""
        await self.context.offload.run("scrub", self._scrub.close)

    @handle
    async def once(self, message: ScrubOnce) -> float:
        """Look at one more piece, if nothing was written for a while and a pass is under way or due."""
        del message
        clock = self.context.clock
        now = clock.monotonic()
        if self._store.published.position != self._position:
            self._position, self._written_at = self._store.published.position, now
        wait = max(self._scrub.due_s(clock.now_ns()), self._written_at + IDLE_S - now)
        if wait > 0:
            return min(wait, _LOOK_S)
        stepped = await self.context.offload.run("scrub", functools.partial(self._scrub.step, clock.now_ns()))
        for finding in stepped.findings:
            await self._found(finding)
        if stepped.completed:
            wrong = len(self._scrub.place.findings)
            self.context.log.info("scrub_completed", size_bytes=self._scrub.place.size_bytes, findings=wrong)
        return max(0.0, stepped.size_bytes / self._bytes_per_s - (clock.monotonic() - now))

    async def _found(self, finding: Finding) -> None:
        where = {"file": finding.file, "offset": finding.offset, "reason": finding.reason}
        self.context.log.warning("damage_found", part=finding.part, **where)
        if finding.part == "log":
            error = LogCorrupt(
                f"{self._store.folder.path / finding.file}, offset {finding.offset}: {finding.reason}. "
                "Restore the folder from a backup."
            )
            self._store.fail(error)
            raise error
        if finding.part == "tables":
            self._store.distrust_tables()
            await self.context.offload.run("writer", self._store.refold)
            self.context.log.warning("tables_refolded", events=self._store.published.position)
