"""What challenges have shown of a miner: a fold of verdicts, and the weight that is left to it.

PASS and MISSING are samples of records: they feed the ratio test. INVALID, and other evidence that anyone can verify,
ends it. LATE, REFUSED and UNREACHABLE sample nothing, and count as challenges that were not passed: by the seeds' rule,
who passes fewer than half has no weight. So silence in place of MISSING wins a miner little: with m records a
challenge, one that has lost the part p of them passes (1 - p)^m, whatever it says of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.proofs import Outcome
from engram.scoring._ratio_test import Decision, RatioTest

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_RATE = 0.5
"""The seeds' rule: below it the weight is 0."""

ERASED_A_WINDOW, ERASED_OF_ALL = 3, 12
"""How many records of one owner, and of all, a miner may have had erased in a window before they count as missing.

Whose a record is stands in the miner's log, not in the tombstone: anyone signs one for any record. So all are counted.
"""

WINDOW_EPOCHS = 8
_TEST = RatioTest()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict as it is counted. `records`: of a PASS those that were shown, else those that were asked for.

    `owner`: who had one erased, of an ERASED.
    """

    outcome: Outcome
    records: int
    epoch: int = 0
    owner: bytes | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What verdicts have shown of one miner so far.

    `excused`: challenges that ended at an erased record, and count as neither. `samples`: records that were shown.
    `misses`: challenges at which one was missing. `ratio`: the logarithm since the test's last end. `decision`: how the
    test ended last.
    """

    challenges: int = 0
    passed: int = 0
    excused: int = 0
    samples: int = 0
    misses: int = 0
    ratio: float = 0.0
    decision: Decision | None = None
    condemned: bool = False
    erased: tuple[tuple[int, bytes, int], ...] = ()
    """(window, owner, how many), of the newest window."""

    @property
    def rate(self) -> float:
        """The part of challenges that were passed; 1 where there was none."""
        return self.passed / self.challenges if self.challenges else 1.0

    @property
    def weight(self) -> float:
        """What a score is multiplied with: 0 by evidence, by the ratio test, or by the seeds' rule; else the rate.

        For that rule what was excused was not passed: who has an excuse each time shows nothing.
        """
        too_few = self.passed < LEAST_RATE * (self.challenges + self.excused)
        if self.condemned or self.decision == "loses" or too_few:
            return 0.0
        return self.rate


def fold(standing: Standing, verdict: Verdict, test: RatioTest = _TEST) -> Standing:
    """Give the standing after one verdict more."""
    match verdict.outcome:
        case Outcome.PASS:
            after = _counted(standing, passed=1)
            return _sampled(after, test, test.shown(verdict.records), samples=verdict.records)
        case Outcome.ERASED:
            return _erased(standing, verdict, test)
        case Outcome.MISSING:
            return _sampled(_counted(standing), test, test.missing(verdict.records), misses=1)
        case Outcome.INVALID:
            return msgspec.structs.replace(_counted(standing), condemned=True)
        case Outcome.LATE | Outcome.REFUSED | Outcome.UNREACHABLE:
            return _counted(standing)


def condemn(standing: Standing) -> Standing:
    """Give the standing after evidence that anyone can verify: it has no weight any more."""
    return msgspec.structs.replace(standing, condemned=True)


def _counted(standing: Standing, passed: int = 0) -> Standing:
    return msgspec.structs.replace(standing, challenges=standing.challenges + 1, passed=standing.passed + passed)


def _sampled(standing: Standing, test: RatioTest, adds: float, *, samples: int = 0, misses: int = 0) -> Standing:
    """Go on with the test; where it ends it begins anew, since what a miner keeps may change."""
    ratio = standing.ratio + adds
    decision = test.decide(ratio)
    return msgspec.structs.replace(
        standing,
        samples=standing.samples + samples,
        misses=standing.misses + misses,
        ratio=0.0 if decision else ratio,
        decision=decision or standing.decision,
    )


def _erased(standing: Standing, verdict: Verdict, test: RatioTest) -> Standing:
    """Neither pass nor miss; but an owner who has ever more erased, wherever it is challenged, hides what is lost."""
    window, owner = verdict.epoch // WINDOW_EPOCHS, verdict.owner or b""
    counts: Mapping[bytes, int] = {who: many for at, who, many in standing.erased if at == window}
    many = counts.get(owner, 0) + 1
    erased = tuple((window, who, count) for who, count in {**counts, owner: many}.items())
    after = msgspec.structs.replace(standing, erased=erased[:ERASED_OF_ALL])
    if many <= ERASED_A_WINDOW and sum(counts.values()) < ERASED_OF_ALL:
        return msgspec.structs.replace(after, excused=after.excused + 1)
    return _sampled(_counted(after), test, test.missing(verdict.records), misses=1)
