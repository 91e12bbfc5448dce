"""The engine alone, without store and log: an index over vectors in memory, whose rows are their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from index_data import K

from engram.index import VectorIndex
from engram.native._core import exact_cosines

if TYPE_CHECKING:
    import numpy as np


class Engine:
    """An index of these rows; digests are their numbers, so that of equal scores the lower row comes first."""

    def __init__(self, rows: np.ndarray) -> None:
        index = VectorIndex(rows.shape[1])
        index.add([(row.to_bytes(32, "big"), row) for row in range(len(rows))], rows.tobytes())
        self._snapshot = index.publish(0)
        self._view, self._size = memoryview(rows).cast("B"), rows.shape[1] * 4
        self.mode = "exact"

    def search(self, query: np.ndarray, kernel: str | None = None, *, exact: bool = False) -> list[int]:
        """Give the nearest rows, best first."""
        asked = query.tobytes()
        rows = self._snapshot.codes.candidates(asked, K, kernel=kernel)
        scores = exact_cosines(asked, [self._vector(row) for row in rows], kernel=kernel)
        return [row for _, row in sorted(zip((-score for score in scores), rows, strict=True))[:K]]

    def _vector(self, row: int) -> memoryview:
        return self._view[row * self._size : (row + 1) * self._size]
