"""The simulated Clock: virtual time, which passes only where every task waits."""

from __future__ import annotations

import trio

START_NS = 1_767_225_600_000_000_000
"""Unix time at which simulations begin: the first of January 2026."""


class SimClock:
    """The Clock port on trio's virtual time. `skew_ns`: how far this machine's wall clock is off; it may be changed."""

    def __init__(self, skew_ns: int = 0) -> None:
        self.skew_ns = skew_ns

    def now_ns(self) -> int:
        """Give unix time in nanoseconds."""
        return START_NS + self.skew_ns + round(trio.current_time() * 1e9)

    def monotonic(self) -> float:
        """Give the virtual seconds since the simulation began."""
        return trio.current_time()

    async def sleep(self, duration_s: float) -> None:
        """Wait."""
        await trio.sleep(duration_s)
