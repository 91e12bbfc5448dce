"""What the doors count: requests by door, method and code, and how long they took."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the histogram's buckets; what took longer is in the last, which has none."""


class Latency:
    """A histogram of seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds


class Metrics:
    """Counters over all doors of a node. The names are ours, so that nobody makes them many."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str], int] = {}
        self._latencies: dict[str, Latency] = {}

    @property
    def requests(self) -> Mapping[tuple[str, str, str], int]:
        """How many, by (door, method, code); `ok` is the code of what was no error."""
        return self._requests

    @property
    def latencies(self) -> Mapping[str, Latency]:
        """By door."""
        return self._latencies

    def count(self, door: str, method: str, code: str, seconds: float) -> None:
        """Count a request that was answered with `code`."""
        key = (door, method, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        latency = self._latencies.get(door)
        if latency is None:
            latency = self._latencies[door] = Latency()
        latency.add(seconds)
