"""A sequential probability ratio test of what a miner has lost, over the records that challenges have sampled.

Source: A. Wald, Sequential Analysis (1947), §3: of H0, each record is missing with probability p0, against H1, with p1,
go on until the logarithm of the likelihood ratio leaves (ln(beta / (1 - alpha)), ln((1 - beta) / alpha)).

A challenge is one chain, which ends at the first record that is missing; where that was, the miner alone says. So a
challenge of m records that shows them all counts m records, all there; one that does not counts for what is certain: of
m records at least one was missing, which has the probability 1 - (1 - p)^m.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Decision = Literal["keeps", "loses"]


class RatioTest(msgspec.Struct, frozen=True):
    """The two hypotheses, and how often either is taken for the other: `alpha` an honest miner condemned."""

    p0: float = 0.001
    p1: float = 0.05
    alpha: float = 1e-6
    beta: float = 1e-3

    def __post_init__(self) -> None:
        if not (0 < self.p0 < self.p1 < 1 and 0 < self.alpha < 0.5 and 0 < self.beta < 0.5):
            raise ValueError("a ratio test needs 0 < p0 < p1 < 1, and alpha and beta below 1/2")

    @property
    def loses_at(self) -> float:
        """The logarithm of the ratio from which on the miner loses records."""
        return math.log((1 - self.beta) / self.alpha)

    @property
    def keeps_at(self) -> float:
        """The logarithm of the ratio down to which it may still be otherwise."""
        return math.log(self.beta / (1 - self.alpha))

    def shown(self, records: int) -> float:
        """Give what so many records that were shown add to the logarithm."""
        return records * (math.log1p(-self.p1) - math.log1p(-self.p0))

    def missing(self, records: int) -> float:
        """Give what a challenge of so many records adds, of which at least one was missing."""
        return math.log(_some(self.p1, records) / _some(self.p0, records))

    def decide(self, ratio: float) -> Decision | None:
        """Say what the logarithm of the ratio shows; None: not enough yet."""
        if ratio >= self.loses_at:
            return "loses"
        return "keeps" if ratio <= self.keeps_at else None


def _some(p: float, records: int) -> float:
    """Give the probability that at least one of so many records is missing."""
    return -math.expm1(records * math.log1p(-p))


def detection(lost: float, m: int, challenges: int = 1) -> float:
    """Give the probability that a miner who lost this part of its records fails one of so many challenges of m."""
    return _some(lost, m * challenges) if lost < 1 else 1.0
