"""What a reader holds: the rows, the codes and the dead ones as they were when the writer published them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.native._core import exact_cosines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engram.index._table import RowTable
    from engram.native._core import CodesSnapshot


class Match(msgspec.Struct, frozen=True):
    """A row found: its record's digest (32 bytes), where its vector lies, its cosine in [-1, 1], and its row id."""

    digest: bytes
    location: int
    score: float
    row: int


class IndexSnapshot(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An index as it was at a log position. It never changes; any number of threads may search it at once.

    `count` is the number of living rows, out of `rows`. `alive` is their bitmap (row i is bit i % 8 of byte i // 8;
    bits past the last row mean nothing), or None while no row is dead. Row ids are 0..rows-1, dead ones included.
    """

    position: int
    count: int
    codes: CodesSnapshot
    alive: bytes | None
    table: RowTable

    @property
    def dim(self) -> int:
        """The number of components of a vector."""
        return self.codes.dim

    @property
    def rows(self) -> int:
        """The number of rows, dead ones included."""
        return len(self.codes)

    def search(
        self,
        query: bytes,
        k: int,
        fetch: Callable[[int], bytes | bytearray | memoryview],
        allowed: bytes | None = None,
    ) -> list[Match]:
        """Find the `k` living, allowed rows nearest to `query` by cosine, exactly; all of them if there are fewer.

        `query` is little-endian float32; `fetch(location)` gives a stored vector as the same. `allowed` is a bitmap
        such as `bitmap` makes, or None for every row. The order is score descending, then digest ascending, and holds
        for what is left out too. Raises ValueError for a wrong length, a NaN, an infinity, a zero vector, or k < 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        rows = self.codes.candidates(query, k, allowed, self.alive)
        table = self.table
        scores = exact_cosines(query, [fetch(table.locations[row]) for row in rows])
        ranked = sorted((-score, table.digests[row], row) for score, row in zip(scores, rows, strict=True))
        return [Match(digest, table.locations[row], -negated, row) for negated, digest, row in ranked[:k]]

    def bitmap(self, rows: Iterable[int]) -> bytes:
        """Make the bitmap that allows these rows, for `search`. Raises ValueError for a row that is not here."""
        return self.codes.bitmap(list(rows))

    def is_alive(self, row: int) -> bool:
        """Say whether row `row` is here and not dead."""
        return 0 <= row < self.rows and (self.alive is None or bool(self.alive[row >> 3] >> (row & 7) & 1))

    def row_of(self, digest: bytes) -> int | None:
        """Give the living row of a record; None if it has none here."""
        row = self.table.row_of(digest, self.rows)
        return row if row is not None and self.is_alive(row) else None

    def digest_of(self, row: int) -> bytes:
        """Give the digest of a row, dead or alive. Raises ValueError for a row that is not here."""
        return self.table.digests[self._checked(row)]

    def location_of(self, row: int) -> int:
        """Give the location of a row's vector, as its writer gave it. Raises ValueError for a row that is not here."""
        return self.table.locations[self._checked(row)]

    def _checked(self, row: int) -> int:
        if not 0 <= row < self.rows:
            raise ValueError(f"row must be 0..{self.rows - 1}, got {row}")
        return row
