"""Which rows a filter lets pass, remembered.

Theory of operation. A row's record never changes and a part's rows are only added to, so what a filter said of a row
holds for as long as the part does; a dead row never lives again. Asked again, a filter looks at the rows since then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from engram import filter as filters
from engram.index import Allowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.filter import Filter
    from engram.index import View

_FILTERS = 64


class _Bits:
    """The verdicts over the first `rows` rows of a part: row i is bit i % 8 of byte i // 8."""

    __slots__ = ("bits", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.bits = bytearray()


class AllowedRows:
    """The bitmaps of the filters that were asked last. One thread at a time may ask."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, Filter], dict[int, _Bits]] = OrderedDict()

    def rows(self, ns: bytes, tree: Filter, view: View, metadata: Callable[[int], dict[str, Any]]) -> Allowed:
        """Give the rows of `view` that `tree` lets pass; `metadata` gives a record's by its location."""
        before = self._known.pop((ns, tree), {})
        accept = filters.compile(tree)
        found = self._known[ns, tree] = {part: before.get(part) or _Bits() for part, _ in view.parts}
        if len(self._known) > _FILTERS:
            self._known.popitem(last=False)
        for part, rows in view.parts:
            _extend(found[part], rows, accept, view.living(part, found[part].rows), metadata)
        return Allowed([(part, bits.bits) for part, bits in found.items()])


def _extend(
    found: _Bits,
    rows: int,
    accept: Callable[[dict[str, Any]], bool],
    living: list[tuple[int, int]],
    metadata: Callable[[int], dict[str, Any]],
) -> None:
    found.bits.extend(bytes(max(0, (rows + 7) // 8 - len(found.bits))))
    for row, location in living:
        if accept(metadata(location)):
            found.bits[row >> 3] |= 1 << (row & 7)
    found.rows = max(found.rows, rows)
