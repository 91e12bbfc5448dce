"""The recall checker: about once a second, one query that was answered approximately is answered again, exactly."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from engram.actors._store import Commit
from engram.errors import EngramError, NotFound
from engram.runtime import Actor, Message, handle

if TYPE_CHECKING:
    from engram.store import RecallCheck

PERIOD_S = 1.0
"""How long after one replay the next may come."""

IDLE_S = 10.0
"""How often it looks where nothing was to be replayed."""


class ReplayOnce(Message[float], frozen=True):
    """Replay a query, if there is one; answers in how many seconds to ask again."""


class RecallChecker(Actor):
    """Measures what the index's fast mode finds, keeps that in the log, and so widens it where it finds too little."""

    asks = ("store",)
    mailbox_limit = 4

    def __init__(self, check: RecallCheck) -> None:
        self._check = check

    @handle
    async def once(self, message: ReplayOnce) -> float:
        """Replay a query that came since, and have what is to be kept kept."""
        del message
        step = functools.partial(self._check.step, self.context.clock.monotonic())
        replayed, keep = await self.context.offload.run("scrub", step)
        if keep is not None:
            [outcome] = await self.context.refs["store"].ask(Commit([keep]))
            if isinstance(outcome, NotFound):
                self._check.forget(keep.measured.ns)
                return PERIOD_S
            if isinstance(outcome, EngramError):
                raise outcome
            self._check.keep(keep)
            kept = keep.measured
            recall = round(kept.found / kept.expected, 4)
            facts = {"mode": kept.mode, "queries": kept.queries, "widening": kept.widening}
            self.context.log.info("recall_measured", recall=recall, **facts)
        return PERIOD_S if replayed else IDLE_S
