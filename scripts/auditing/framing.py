"""What log and body segments share: damage and its name, CRC-32C, and when a write was never finished."""

from __future__ import annotations

import hashlib
import itertools
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAME = 64
SEGMENT_BYTES = 64 << 20


class Damage(Exception):
    """Something durable is not what it must be: `status` "damaged", or "torn" where a write was never finished."""

    def __init__(self, file: str, offset: int, reason: str, status: str = "damaged") -> None:
        super().__init__(f"{file}, offset {offset}: {reason}")
        self.file, self.offset, self.reason, self.status = file, offset, reason, status


class Wrong(Exception):
    """Bytes break a rule of their format; whoever knows where they stand turns it into `Damage`."""


def raise_or_tell(damage: Damage, torn: Callable[[Damage], object]) -> None:
    """Raise damage, tell of a torn tail."""
    if damage.status == "damaged":
        raise damage
    torn(damage)


def sha(*parts: bytes) -> bytes:
    """Give the SHA-256 of the parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def zeros(data: bytes, at: int) -> bool:
    """Say whether everything from `at` on is zero."""
    return data.count(0, at) == len(data) - at


def looks_unfinished(data: bytes, at: int, extent: int) -> bool:
    """Say whether the file ends inside an extent, or its part of some aligned 512-byte block is all zero."""
    end = at + extent
    if end > len(data):
        return True
    edges = [at, *range(at // 512 * 512 + 512, end, 512), end]
    return any(not any(data[low:high]) for low, high in itertools.pairwise(edges))


def finds(data: bytes, magic: bytes, start: int, step: int, base: int) -> Iterator[int]:
    """Give the places of a magic at `base` plus multiples of `step`."""
    found = data.find(magic, start)
    while found >= 0:
        if (found - base) % step == 0:
            yield found
        found = data.find(magic, found + 1)


def _tables() -> tuple[list[int], list[int]]:
    """Give what 16 bits do to a CRC-32C (reflected 0x82F63B78) that two bytes, and none, still follow."""
    first = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        first.append(crc)
    low = []
    for pair in range(1 << 16):
        crc = first[pair & 255] ^ pair >> 8
        low.append(first[crc & 255] ^ crc >> 8)
    return [low[crc & 0xFFFF] ^ crc >> 16 for crc in low], low


_HIGH, _LOW = _tables()


def crc32c(data: bytes) -> int:
    """Give the CRC-32C of RFC 3720, four bytes a step."""
    crc, whole = 0xFFFFFFFF, len(data) // 4
    for word in struct.unpack_from(f"<{whole}I", data):
        mixed = crc ^ word
        crc = _HIGH[mixed & 0xFFFF] ^ _LOW[mixed >> 16]
    for byte in data[4 * whole :]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
