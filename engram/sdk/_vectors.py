"""Vectors as callers have them, and as they travel."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from engram.record import stored_vector

VectorLike: TypeAlias = Iterable[float] | bytes | bytearray | memoryview
"""A vector as callers have it: bytes of little-endian float32, a float32 or float64 buffer (numpy), or numbers."""


def f32_bytes(vector: object) -> bytes:
    """Give the vector as it is stored: bytes of little-endian float32, each number rounded to the nearest.

    Raises `Unprocessable` (field `vector`) as `engram.record.stored_vector` does.
    """
    if isinstance(vector, Iterator):
        vector = list(vector)
    return stored_vector(vector)


def floats(data: bytes) -> list[float]:
    """Give the numbers in bytes of little-endian float32."""
    return list(struct.unpack(f"<{len(data) // 4}f", data))
