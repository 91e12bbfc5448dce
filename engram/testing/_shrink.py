"""Make a failing simulation smaller: leave out lives, faults and steps as long as it fails in the same way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from engram.testing._simulation import Report, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engram.testing._plan import LifePlan, Plan

_NAMES = re.compile(r"v1::[0-9a-f]+|[0-9a-f]{16,}|\d+")


def parts_of(plan: Plan) -> list[str]:
    """Name what can be left out of a plan: `life:2`, `fault:2.0`, `flip:2`, `part:2`, `step:17`."""
    names = []
    for life in plan.lives:
        names.append(f"life:{life.number}")
        names += [f"fault:{life.number}.{number}" for number in range(len(life.faults))]
        names += [f"flip:{life.number}"] if life.flip else []
        names += [f"part:{life.number}"] if life.part_at_s is not None else []
    return names + [f"step:{step.number}" for step in plan.steps]


def without(plan: Plan, names: Sequence[str]) -> Plan:
    """Give a plan without these of its parts."""
    left_out = frozenset(names)
    lives = tuple(_life_without(life, left_out) for life in plan.lives if f"life:{life.number}" not in left_out)
    steps = tuple(step for step in plan.steps if f"step:{step.number}" not in left_out)
    return msgspec.structs.replace(plan, lives=lives, steps=steps)


def _life_without(life: LifePlan, left_out: frozenset[str]) -> LifePlan:
    faults = tuple(fault for number, fault in enumerate(life.faults) if f"fault:{life.number}.{number}" not in left_out)
    return msgspec.structs.replace(
        life,
        faults=faults,
        flip="" if f"flip:{life.number}" in left_out else life.flip,
        part_at_s=None if f"part:{life.number}" in left_out else life.part_at_s,
    )


def shrink(report: Report, go_on: Callable[[], bool]) -> tuple[Report, list[str]]:
    """Give the smallest failing simulation that was found while `go_on` said so, and what it leaves out.

    Halves, quarters and so on of what is left are tried, as in delta debugging, until no single part can go.
    """
    kind = _kind(report)
    original = report.plan
    kept = parts_of(original)
    left_out: list[str] = []
    size = max(1, len(kept) // 2)
    while size and go_on():
        at = 0
        while at < len(kept) and go_on():
            tried = left_out + kept[at : at + size]
            smaller = simulate(without(original, tried))
            if _kind(smaller) == kind:
                report, left_out = smaller, tried
                del kept[at : at + size]
            else:
                at += size
        size //= 2
    return report, left_out


def _kind(report: Report) -> str:
    """Give what failed, without its numbers and names."""
    return _NAMES.sub("#", report.failure)[:80]
