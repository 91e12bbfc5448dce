"""The engine alone, without log and tables: an index over bodies in memory, sealed where a node would seal it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from folders import MODEL
from index_data import K

from engram import record
from engram.native import _core

if TYPE_CHECKING:
    import numpy as np

SEALED_AT = 65_536
"""Rows of a head at which a node seals it."""
_SEGMENT_BYTES = 2**26
_RECORD = 0


class Engine:
    """An index of these rows, each known by its number; of equal scores the lower digest comes first."""

    def __init__(self, rows: np.ndarray) -> None:
        self._bodies = _core.BodyMaps()
        placed = self._place(rows)
        self.digests = [digest for digest, _ in placed]
        self._number = {digest: number for number, digest in enumerate(self.digests)}
        started = time.process_time()
        space = _core.Space(rows.shape[1], self._bodies)
        for at in range(0, len(placed), SEALED_AT):
            refused = space.add(placed[at : at + SEALED_AT])
            assert not refused, f"{len(refused)} rows refused"
            if space.head_rows >= SEALED_AT:
                self._seal(space)
        self.view = space.publish()
        self.build_cpu_s = time.process_time() - started
        """What adding the rows and sealing took, without making their bodies."""

    def _place(self, rows: np.ndarray) -> list[tuple[bytes, int]]:
        segments = [bytearray()]
        placed = []
        for number, row in enumerate(rows):
            digest, payload = record.encode_vector(row.tobytes(), b'{"n":%d}' % number, MODEL)
            frame = _core.encode_body(_RECORD, digest, payload)
            if len(segments[-1]) + len(frame) > _SEGMENT_BYTES:
                segments.append(bytearray())
            placed.append((digest, (len(segments) - 1) * _SEGMENT_BYTES + len(segments[-1])))
            segments[-1] += frame
        for number, segment in enumerate(segments):
            self._bodies.put(number, bytes(segment))
        return placed

    @staticmethod
    def _seal(space: _core.Space) -> None:
        view = space.publish()
        head = view.parts[-1][0]
        built = view.build([head])
        space.adopt(_core.Segment(built), [], built.head_rows)

    @property
    def ways(self) -> str:
        """How each part is searched by default: by signs, raw or centred, and how many of them; or by codes alone."""
        return ", ".join(map(_way, self.view.fast))

    def search(self, query: np.ndarray, kernel: str | None = None, *, exact: bool = False) -> list[int]:
        """Give the nearest rows, best first."""
        hits = self.view.search(query.tobytes(), K, exact=exact, kernel=kernel)[0]
        return [self._number[hit[0]] for hit in hits]


def _way(fast: tuple[int, float, bytes | None] | None) -> str:
    if fast is None:
        return "codes"
    rows, _, mean = fast
    return f"{'raw' if mean is None else 'centred'} {rows}"
