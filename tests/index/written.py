"""Bodies in segments, as an index reads them: frames of record payloads, at locations of their own."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from engram.index import BodyMaps
from engram.native._core import encode_body

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

SEGMENT = 2**26
"""How far apart the locations of two segments are."""

Row = tuple[bytes, int]


def digest_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def payload_of(
    vector: np.ndarray,
    *,
    magic: bytes = b"EPR1",
    dtype: int = 0,
    dim: int | None = None,
    metadata: bytes = b'{"a":1}',
) -> bytes:
    """Lay out a payload as formats §2 has it, as far as an index looks at it."""
    version = b"v1"
    header = magic + bytes([0, dtype]) + struct.pack("<H", len(vector) if dim is None else dim)
    header += struct.pack("<IH", len(metadata), len(version))
    return header.ljust(64, b"\x07") + vector.tobytes() + metadata + version


class Segments:
    """Segments that are written and mapped at once, few bodies to each, so that there are several."""

    def __init__(self, segment_bytes: int = 1 << 20) -> None:
        self.maps = BodyMaps()
        self.bytes: list[bytearray] = []
        self._limit = segment_bytes

    def write(self, bodies: Iterable[tuple[bytes, bytes]]) -> list[Row]:
        """Write bodies, given as (digest, payload); give their rows."""
        rows = []
        last = bytearray(self.bytes.pop() if self.bytes else b"")  # one that is lent out keeps its size
        for digest, payload in bodies:
            frame = encode_body(0, digest, payload)
            if len(last) + len(frame) > self._limit:
                self._close(last)
                last = bytearray()
            rows.append((digest, len(self.bytes) * SEGMENT + len(last)))
            last += frame
        self._close(last)
        return rows

    def _close(self, segment: bytearray) -> None:
        self.bytes.append(segment)
        self.maps.put(len(self.bytes) - 1, segment)

    def write_vectors(self, vectors: np.ndarray, first: int = 0) -> list[Row]:
        """Write the vectors of records `first`, `first + 1`, and so on."""
        return self.write((digest_of(number), payload_of(vector)) for number, vector in enumerate(vectors, first))

    def change(self, location: int, offset: int, flip: int = 0xFF) -> None:
        """Flip bits of one byte of the frame at a location, as a failing disk does."""
        self.bytes[location // SEGMENT][location % SEGMENT + offset] ^= flip
