"""What replaying queries exactly shows of an approximate mode, and when it is to look at more rows.

Theory of operation. Each replay gives how many of the nearest rows the mode had found. A namespace's replays are
summed until they are kept: after an hour, or as soon as they can hardly be those of a mode that finds `TARGET` of the
rows. Of n rows such a mode misses n (1 - TARGET) on the average, with a standard deviation of about the root of that
(Poisson); `SIGMAS` of these above the average come by chance once in many thousand looks. A sum below the target
widens; nothing is ever narrowed. It is kept in the log, so that a log position has one answer, and says why.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

TARGET = 0.995
"""The part of the nearest rows that an approximate mode is to find."""

SIGMAS = 4.0
KEEP_S = 3600.0
"""How long replays are summed."""

WIDEST = 64


class Measure(msgspec.Struct, frozen=True):
    """Of `expected` nearest rows of `queries` queries, `found` were found; `widening` is to be used from now on."""

    mode: str
    queries: int
    expected: int
    found: int
    widening: int = 1

    @property
    def recall(self) -> float:
        """The part that was found, 0..1."""
        return self.found / self.expected if self.expected else 1.0


class RecallTally:
    """Sums the replays of each namespace. Not thread-safe."""

    def __init__(self, kept: Iterable[tuple[bytes, Measure]] = ()) -> None:
        """`kept`: each namespace's last measure."""
        self._kept = dict(kept)
        self._running: dict[bytes, tuple[float, Measure]] = {}

    def add(self, ns: bytes, mode: str, expected: int, found: int, now_s: float) -> Measure | None:
        """Take one more replay in; give the sum where it is to be kept now, for `keep` once it is durable.

        `now_s`: seconds of a steady clock.
        """
        since, before = self._running.get(ns, (now_s, None))
        if before is None or before.mode != mode:
            since, before = now_s, Measure(mode, 0, 0, 0, self.widening(ns))
        now = Measure(mode, before.queries + 1, before.expected + expected, before.found + found, before.widening)
        self._running[ns] = since, now
        poor = _misses_too_many(now) or (now_s - since >= KEEP_S and now.recall < TARGET)
        if not poor and now_s - since < KEEP_S and not self._is_news(ns, now):
            return None
        return msgspec.structs.replace(now, widening=min(2 * now.widening, WIDEST)) if poor else now

    def keep(self, ns: bytes, measure: Measure) -> None:
        """Note that a namespace's measure is kept; the next sum begins anew."""
        self._kept[ns] = measure
        self._running.pop(ns, None)

    def forget(self, ns: bytes) -> None:
        """Forget a namespace, which is gone."""
        self._kept.pop(ns, None)
        self._running.pop(ns, None)

    def latest(self, ns: bytes) -> Measure | None:
        """Give what is known best: the running sum where there is one, else what was kept last; None for neither."""
        return self._running[ns][1] if ns in self._running else self._kept.get(ns)

    def widening(self, ns: bytes) -> int:
        """Give how many times as many rows a namespace's mode looks at."""
        kept = self._kept.get(ns)
        return kept.widening if kept else 1

    def _is_news(self, ns: bytes, now: Measure) -> bool:
        """Say whether the namespace is answered in another mode than when it was last measured."""
        kept = self._kept.get(ns)
        return now.queries >= _FIRST_QUERIES and (kept is None or kept.mode != now.mode)


_FIRST_QUERIES = 64
_LEAST_QUERIES = 16  # the misses of one query are not independent of one another


def _misses_too_many(measure: Measure) -> bool:
    usual = measure.expected * (1 - TARGET)
    most = usual + SIGMAS * math.sqrt(max(usual, 1.0))
    return measure.queries >= _LEAST_QUERIES and measure.expected - measure.found > most
