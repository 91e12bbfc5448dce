"""Run trio so that a seed decides the order of everything: the one place that touches what trio keeps to itself.

Trio shuffles the tasks that may run, and lets a plug-in seed the shuffle; pytest-trio does it for Hypothesis. The time
is trio's mock clock, which jumps to the next deadline where every task waits.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, TypeVar

import trio
import trio.testing
from trio._core import _run as _trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def run_seeded(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` on virtual time, its tasks in the order that the seed gives.

    Raises `RuntimeError` where trio is not as this build knows it: better none than one that cannot be repeated.
    """
    seeded = isinstance(getattr(_trio, "_r", None), random.Random)
    if not seeded or not hasattr(_trio, "_ALLOW_DETERMINISTIC_SCHEDULING"):
        raise RuntimeError(f"trio {trio.__version__} cannot be seeded as this build knows it; use the trio it names")
    before = _trio._r, _trio._ALLOW_DETERMINISTIC_SCHEDULING  # noqa: SLF001 (see above)
    _trio._r = random.Random(seed)  # noqa: S311, SLF001 (to be repeated, not to be secret)
    _trio._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001
    try:
        return trio.run(main, clock=_virtual_time())
    finally:
        _trio._r, _trio._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]  # noqa: SLF001


def _virtual_time() -> trio.testing.MockClock:
    """Give trio's mock clock, made to move always: a step too small for a float would be tried again for ever."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    jump = clock.jump
    clock.jump = lambda seconds: jump(max(seconds, math.ulp(clock.current_time())))  # type: ignore[method-assign]
    return clock
