"""What a crash keeps of what was not yet synced: one answer a unit, in the order in which the units were made.

A unit is a sector of one write, a change of a file's size, or a change of a name. What is kept of a sector is the whole
of it as it was after some write, as a page cache writes it back; so a later unit of a sector implies the earlier ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random


class Loss(Protocol):
    """Decides what is kept of the unsynced, unit by unit."""

    def keeps(self) -> bool:
        """Say whether the next unit is kept."""
        ...


class LoseAll:
    """Nothing that was not synced is kept."""

    def keeps(self) -> bool:
        """Say no."""
        return False


class LoseNothing:
    """All is kept, as where the power holds and the process alone is killed."""

    def keeps(self) -> bool:
        """Say yes."""
        return True


class LoseSome:
    """Each unit is kept or lost by chance; `share` of them is kept."""

    def __init__(self, rng: Random, share: float = 0.5) -> None:
        self._rng = rng
        self._share = share

    def keeps(self) -> bool:
        """Draw."""
        return self._rng.random() < self._share


class _Numbered:
    def __init__(self, number: int) -> None:
        self._number = number
        self._next = 0

    def _count(self) -> int:
        self._next += 1
        return self._next - 1


class KeepOnly(_Numbered):
    """Unit `number` alone is kept."""

    def keeps(self) -> bool:
        """Say whether it is the one."""
        return self._count() == self._number


class KeepFirst(_Numbered):
    """The first `number` units are kept, and none after them."""

    def keeps(self) -> bool:
        """Say whether it is one of the first."""
        return self._count() < self._number


class LoseFirst(_Numbered):
    """The first `number` units are lost, and none after them: the writes were reordered."""

    def keeps(self) -> bool:
        """Say whether it comes after those."""
        return self._count() >= self._number


class CountUnits:
    """Keeps nothing, and counts: how many units there are to be lost."""

    def __init__(self) -> None:
        self.units = 0

    def keeps(self) -> bool:
        """Count."""
        self.units += 1
        return False
