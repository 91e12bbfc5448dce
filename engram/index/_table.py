"""Which record each row is, and where its vector lies: append-only, so that readers share it with the writer.

A row's entry never changes once it is there, and a snapshot looks only at the rows that it counts. So one table serves
the writer and every snapshot ever published, without a lock and without a copy.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DIGEST_BYTES = 32


class RowTable:
    """Rows in the order they were added: digest, location, and the row that the same digest had before."""

    __slots__ = ("_latest", "_previous", "digests", "locations")

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.locations = array("Q")
        self._latest: dict[bytes, int] = {}
        self._previous: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.digests)

    def known(self, digests: Sequence[bytes]) -> list[bytes]:
        """Give those that have a row, dead or alive."""
        return [digest for digest in digests if digest in self._latest]

    def extend(self, digests: Sequence[bytes], locations: array[int]) -> None:
        """Append rows of distinct digests. Their codes are published after this, so no reader counts them yet."""
        first = len(self.digests)
        for row, digest in enumerate(digests, start=first):
            if digest in self._latest:
                self._previous[row] = self._latest[digest]
        self._latest.update(zip(digests, range(first, first + len(digests)), strict=True))
        self.locations.extend(locations)
        self.digests.extend(digests)

    def row_of(self, digest: bytes, rows: int) -> int | None:
        """Give the last of the first `rows` rows that is `digest`, dead or alive; None if there is none."""
        row = self._latest.get(digest)
        while row is not None and row >= rows:
            row = self._previous.get(row)
        return row
