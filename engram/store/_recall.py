"""Answer queries again, exactly, to see what an approximate mode had missed of the nearest rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.events import RecallMeasured
from engram.index import Measure, RecallTally
from engram.store._group import MeasureOperation

if TYPE_CHECKING:
    from engram.store._store import Store


class RecallCheck:
    """Replays what a store was asked last. One thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tally = RecallTally(store.indexes.measures.items())

    def step(self, now_s: float) -> tuple[bool, MeasureOperation | None]:
        """Replay one query, if an approximate mode has answered any since: (whether, what is to be kept now).

        `now_s`: seconds of a steady clock.
        """
        asked = self._store.take_asked()
        if asked is None:
            return False, None
        if asked.ns not in self._store.published.namespaces:
            self.forget(asked.ns)
            return True, None
        nearest = self._store.replay(asked)
        # Every score is exact, so a row that ties with the last of the nearest is as good as that.
        found = sum(score >= nearest[-1] for score in asked.scores) if nearest else 0
        kept = self._tally.add(asked.ns, asked.mode, len(nearest), min(found, len(nearest)), now_s)
        return True, MeasureOperation(_event(asked.ns, kept)) if kept is not None else None

    def keep(self, operation: MeasureOperation) -> None:
        """Note that what was to be kept is durable."""
        self._tally.keep(operation.measured.ns, _measure(operation.measured))

    def forget(self, ns: bytes) -> None:
        """Forget a namespace, which is gone: one of its name that comes later has other rows."""
        self._tally.forget(ns)

    def latest(self, ns: bytes) -> Measure | None:
        """Give what is known best of a namespace's recall; None where nothing was ever measured."""
        return self._tally.latest(ns)


def _measure(event: RecallMeasured) -> Measure:
    return Measure(event.mode, event.queries, event.expected, event.found, event.widening)


def _event(ns: bytes, kept: Measure) -> RecallMeasured:
    return RecallMeasured(
        ns=ns,
        mode=kept.mode,
        queries=kept.queries,
        expected=kept.expected,
        found=kept.found,
        widening=kept.widening,
    )
