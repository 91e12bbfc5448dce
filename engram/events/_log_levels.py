"""The log's tree in levels of 256 to 1, as C2SP tlog-tiles cut it: any hash of it, made of what stands in the levels.

Level 0 has the hash of each event, level 1 the root of each complete 256 events, level 2 of each 65,536, and so on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from engram.events._log_proof import Range, subtrees
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_BYTES = 32
LEVEL_BITS = 8
TILE_WIDTH = 1 << LEVEL_BITS
LEVELS = 8
"""As many as 2^64 events have."""


class Levels(ABC):
    """Gives the hashes of a tree from its levels, wherever those stand."""

    @abstractmethod
    def read(self, level: int, start: int, count: int) -> bytes:
        """Give hashes of a level, which stand in one tile of it, one behind the other."""

    def root(self, size: int) -> bytes:
        """Give the root over the first `size` events."""
        return self._hash((0, size))

    def hashes(self, ranges: Sequence[Range]) -> list[bytes]:
        """Give the hash of each range of a path."""
        return [self._hash(each) for each in ranges]

    def _hash(self, leaves: Range) -> bytes:
        start, end = leaves
        return _core.LogState(end - start, [self._subtree(*each) for each in subtrees(start, end)]).root

    def _subtree(self, height: int, number: int) -> bytes:
        level, above = divmod(height, LEVEL_BITS)
        return _core.subtree_roots(self.read(level, number << above, 1 << above), 1 << above)
