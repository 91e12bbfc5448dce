"""The simulated Rng: a seed decides every byte."""

from __future__ import annotations

import random


def stream(seed: int, *labels: str | int) -> random.Random:
    """Give the random numbers of one part of a simulation, so that no part's draws change another's."""
    return random.Random("/".join(map(str, (seed, *labels))))  # noqa: S311 (to be repeated, not to be secret)


class SimRng:
    """The Rng port, seeded. Not fit for keys outside of a simulation."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def bytes(self, count: int) -> bytes:
        """Give the next `count` bytes."""
        return self._rng.randbytes(count)
