"""Which rows a filter lets pass, remembered.

Theory of operation. A row's record never changes and rows are only added, so what a filter said of a row holds for as
long as the row lives; a dead row never lives again. A filter that is asked again looks at the rows since then only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from engram import filter as filters

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.filter import Filter
    from engram.index import IndexSnapshot

_FILTERS = 64


class _Bits:
    """The verdicts over the first `rows` rows of a table: row i is bit i % 8 of byte i // 8."""

    __slots__ = ("bits", "rows", "table")

    def __init__(self, table: object) -> None:
        self.table = table
        self.rows = 0
        self.bits = bytearray()


class AllowedRows:
    """The bitmaps of the filters that were asked last. One thread at a time may ask."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, Filter], _Bits] = OrderedDict()

    def bitmap(
        self,
        ns: bytes,
        tree: Filter,
        index: IndexSnapshot,
        metadata: Callable[[int], dict[str, Any]],
    ) -> bytes:
        """Give the bitmap, for `IndexSnapshot.search`, of the rows that `tree` lets pass."""
        found = self._known.get((ns, tree))
        if found is None or found.table is not index.table:
            found = self._known[ns, tree] = _Bits(index.table)
            if len(self._known) > _FILTERS:
                self._known.popitem(last=False)
        self._known.move_to_end((ns, tree))
        _extend(found, filters.compile(tree), index, metadata)
        return bytes(found.bits)


def _extend(
    found: _Bits,
    accept: Callable[[dict[str, Any]], bool],
    index: IndexSnapshot,
    metadata: Callable[[int], dict[str, Any]],
) -> None:
    found.bits.extend(bytes(max(0, (index.rows + 7) // 8 - len(found.bits))))
    for row in range(found.rows, index.rows):
        if index.is_alive(row) and accept(metadata(index.location_of(row))):
            found.bits[row >> 3] |= 1 << (row & 7)
        found.rows = row + 1
