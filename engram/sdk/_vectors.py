"""Turn whatever holds numbers into bytes of little-endian float32, without loading numpy."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import TypeAlias

from engram.errors import Unprocessable

VectorLike: TypeAlias = Iterable[float] | bytes | bytearray | memoryview
"""A vector as callers have it: bytes of little-endian float32, a float32 or float64 buffer (numpy), or numbers."""

_FLOAT32, _FLOAT64, _BYTES = ("f", "<f"), ("d", "<d"), ("B", "b", "c")


def f32_bytes(vector: object) -> bytes:
    """Give the vector as bytes of little-endian float32, each number rounded to the nearest.

    Bytes are taken as float32 already; numpy arrays and other buffers of float32 or float64, and iterables of numbers,
    have one dimension. Raises `Unprocessable` (field `vector`) for what is no number, NaN, infinite, beyond float32,
    or empty.
    """
    data = _from_buffer(vector)
    if data is None:
        data = _from_numbers(vector)
    if not data:
        raise _refused("it is empty")
    values = struct.unpack(f"<{len(data) // 4}f", data)
    if not math.isfinite(sum(values)):  # a sum of finite float32 cannot overflow a double
        at = next(at for at, value in enumerate(values) if not math.isfinite(value))
        raise _refused(f"number {at} is {values[at]}")
    return data


def floats(data: bytes) -> list[float]:
    """Give the numbers in bytes of little-endian float32."""
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _from_buffer(vector: object) -> bytes | None:
    try:
        view = memoryview(vector)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return None  # no buffer, or one that Python cannot describe: it is asked for its numbers
    if view.ndim != 1:
        raise _refused(f"it has {view.ndim} dimensions, and a vector has one")
    if view.format in _BYTES:
        if view.nbytes % 4:
            raise _refused(f"{view.nbytes} bytes are not whole float32 numbers of 4 bytes")
        return view.tobytes()
    if view.format in _FLOAT32:
        return view.tobytes()
    if view.format in _FLOAT64:
        return _pack(struct.unpack(f"<{len(view)}d", view.tobytes()))
    if view.format.startswith("Z"):
        raise _refused("its numbers are complex, and a vector's are real")
    return None


def _from_numbers(vector: object) -> bytes:
    if isinstance(vector, str) or not isinstance(vector, Iterable):
        raise _refused(f"expected bytes, an array or numbers, got {type(vector).__name__}")
    return _pack(tuple(vector))


def _pack(values: tuple[float, ...]) -> bytes:
    try:
        return struct.pack(f"<{len(values)}f", *values)
    except (struct.error, OverflowError, TypeError, ValueError):
        raise _first_bad(values) from None


def _first_bad(values: tuple[float, ...]) -> Unprocessable:
    for at, value in enumerate(values):
        try:
            struct.pack("<f", value)
        except OverflowError:
            return _refused(f"number {at} is beyond float32: {value:g}" if isinstance(value, float) else _beyond(at))
        except (struct.error, TypeError, ValueError):
            if isinstance(value, int):  # one that no double holds, which `struct` calls no float
                return _refused(_beyond(at))
            return _refused(f"item {at} is not a number but {type(value).__name__}")
    raise AssertionError("each number packs, and all of them do not")


def _beyond(at: int) -> str:
    return f"number {at} is beyond float32"


def _refused(why: str) -> Unprocessable:
    return Unprocessable(f"vector: {why}", field="vector")
