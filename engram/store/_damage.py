"""Which bodies are known to be damaged, so that nobody is given one: found by the scrub, or met by a reader.

Theory of operation. Three threads meet here: readers, who find a body that is not what it was; the scrub, who has
looked at all of them; and the writer, who mends and erases. A reader may come with what it saw when the writer has
mended that already, and so may the scrub. So the writer counts its overwritings, and what was seen before the last of
them is not taken for what stands there now: if it is damaged still, the next who looks will meet it.
"""

from __future__ import annotations

import bisect
import operator
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Ranges = Sequence[tuple[int, int]]


class DamageMarks:
    """Marks of locations, for any thread. `is_erased` says whether what stands at one is erased, or is being so."""

    def __init__(self, is_erased: Callable[[int], bool]) -> None:
        self._is_erased = is_erased
        self._lock = threading.Lock()
        self._found: Ranges = ()
        self.met: frozenset[int] = frozenset()
        """Where readers met a body that is not what it was, and nobody has looked for more yet."""
        self.overwritten: Ranges = ()
        """Ranges of what was marked and was overwritten since the scrub has looked at it."""
        self.overwritings = 0
        """How often bodies were overwritten."""

    def is_at(self, location: int) -> bool:
        """Say whether the body at a location is known to be damaged."""
        if location in self.met:
            return True
        found = self._found
        if not found:
            return False
        at = bisect.bisect_right(found, location, key=operator.itemgetter(0))
        return at > 0 and location < found[at - 1][1]

    def ranges(self) -> list[tuple[int, int]]:
        """Give the ranges of locations of what is known to be damaged."""
        if not self._found and not self.met:
            return []
        return [*self._found, *((location, location + 1) for location in self.met)]

    def find(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Mark what begins in these ranges of locations, which take the place of those found before.

        What was overwritten since the scrub has looked is not marked again.
        """
        with self._lock:
            self._found = _outside(sorted(ranges), self.overwritten)

    def meet(self, locations: Iterable[int], before: int | None = None) -> None:
        """Remember that the bodies at these locations are not what they were.

        One that is erased while somebody reads it is no damage: it has gone. `before`: how many overwritings there were
        before they were read; None for the writer itself, whom nobody overtakes.
        """
        damaged = frozenset(location for location in locations if not self._is_erased(location))
        with self._lock:
            if before in (None, self.overwritings):
                self.met |= damaged

    def forget_met(self, locations: frozenset[int]) -> None:
        """Forget that readers met damage at these locations: all of them were looked at since."""
        with self._lock:
            self.met -= locations

    def overwrite(self, ranges: Ranges) -> bool:
        """Unmark what begins in these ranges, which was overwritten just now; say whether any was marked.

        The scrub looks again.
        """
        if not ranges:
            return False
        with self._lock:
            self.overwritings += 1
            marked = [(start, end) for start, end in ranges if self.is_at(start)]
            self.met -= {start for start, _ in marked}
            self._found = _outside(self._found, marked)
            self.overwritten = (*self.overwritten, *marked)
        return bool(marked)

    def look_again(self) -> None:
        """Note that the scrub looks at what was overwritten, from now on."""
        with self._lock:
            self.overwritten = ()


def _outside(held: Ranges, gone: Ranges) -> Ranges:
    """Give what ranges hold but for others, in order."""
    for start, end in gone:
        pieces = [piece for first, last in held for piece in ((first, min(last, start)), (max(first, end), last))]
        held = [(first, last) for first, last in pieces if first < last]
    return held
