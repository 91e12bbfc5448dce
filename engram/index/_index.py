"""The writer's side: rows come and go here, and readers see them when it publishes.

Theory of operation. Rows are numbered as they come and never renumbered; removing one clears its bit. Codes, digests
and locations only grow, so a snapshot is the codes' snapshot and the bitmap of the living; the rest is shared. One
thread writes; publishing never waits for a reader, nor a reader for the writer.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from engram.index._snapshot import IndexSnapshot
from engram.index._table import DIGEST_BYTES, RowTable
from engram.native._core import Codes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class VectorIndex:
    """The rows of one namespace: records of one dimension, found by cosine. Not thread-safe; its snapshots are.

    A location is the caller's own word for where a row's float32 vector lies: 0..2**64-1, or OverflowError.
    """

    def __init__(self, dim: int) -> None:
        self._codes = Codes(dim)
        self._table = RowTable()
        self._alive = bytearray()
        self._count = 0
        self._published_alive: bytes | None = None

    @property
    def dim(self) -> int:
        """The number of components of a vector."""
        return self._codes.dim

    @property
    def rows(self) -> int:
        """The number of rows, dead ones included."""
        return len(self._table)

    def __len__(self) -> int:
        """Count the living rows."""
        return self._count

    def add(self, items: Sequence[tuple[bytes, int]], vectors: bytes | bytearray | memoryview) -> range:
        """Add rows, given as (digest of 32 bytes, location) and the float32 of all their vectors; give their ids.

        A digest that was removed gets a new row. Raises ValueError, and adds nothing, for a digest that is alive or
        there twice, or a vector that is zero, not finite, or not `dim` long.
        """
        expected = len(items) * self.dim * 4
        if len(vectors) != expected:
            raise ValueError(f"vectors must be {expected} bytes for {len(items)} items, got {len(vectors)}")
        return self._add(items, lambda: self._codes.append(vectors))

    def add_payloads(
        self, items: Sequence[tuple[bytes, int]], payloads: Sequence[bytes | bytearray | memoryview]
    ) -> range:
        """Add rows whose vectors stand in record payloads, one an item; otherwise as `add`."""
        if len(payloads) != len(items):
            raise ValueError(f"payloads must be {len(items)}, one an item, got {len(payloads)}")
        return self._add(items, lambda: self._codes.append_payloads(payloads))

    def _add(self, items: Sequence[tuple[bytes, int]], append_codes: Callable[[], None]) -> range:
        digests = [digest for digest, _ in items]
        self._check_new(digests)
        locations = array("Q", [location for _, location in items])
        append_codes()
        first = self.rows
        self._table.extend(digests, locations)
        # Bits past the last row stay set, so a new row is alive without being touched.
        self._alive.extend(b"\xff" * ((self.rows + 7) // 8 - len(self._alive)))
        self._count += len(items)
        self._published_alive = None
        return range(first, self.rows)

    def _check_new(self, digests: list[bytes]) -> None:
        wrong = next((digest for digest in digests if len(digest) != DIGEST_BYTES), None)
        if wrong is not None:
            raise ValueError(f"digest must be {DIGEST_BYTES} bytes, got {len(wrong)}")
        for digest in self._table.known(digests):
            if self.row_of(digest) is not None:
                raise ValueError(f"digest {digest.hex()} has a living row already")
        if len(set(digests)) != len(digests):
            raise ValueError("digests must be distinct, and one is there twice")

    def remove(self, digest: bytes) -> bool:
        """Take a record's row off what is published next; False if it has no living row."""
        row = self.row_of(digest)
        if row is None:
            return False
        self._alive[row >> 3] &= ~(1 << (row & 7))
        self._count -= 1
        self._published_alive = None
        return True

    def row_of(self, digest: bytes) -> int | None:
        """Give the living row of a record; None if it has none."""
        row = self._table.row_of(digest, self.rows)
        return row if row is not None and self._alive[row >> 3] >> (row & 7) & 1 else None

    def publish(self, position: int) -> IndexSnapshot:
        """Give readers what is here now, as the state at log position `position`."""
        if self._published_alive is None and self._count < self.rows:
            self._published_alive = bytes(self._alive)
        return IndexSnapshot(
            position=position,
            count=self._count,
            codes=self._codes.snapshot(),
            alive=self._published_alive,
            table=self._table,
        )
