"""The frames of a log and of its bodies, held against what formats §2 and §3 say: each CRC, each root.

A node that writes and checks its frames wrongly in the same way agrees with itself; this shares no code with it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engram.testing._oracle import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = 64
_CASTAGNOLI = 0x82F63B78


def check_frames(files: Mapping[str, bytes], folder: str) -> None:
    """Check every frame of the log, and the CRC of every body. Raises `Violation` that names the place."""
    tree = LogTree()
    for path in sorted(files):
        if path.startswith(f"{folder}/events/") and path.endswith(".log"):
            _check_log(path, files[path], tree)
        elif path.startswith(f"{folder}/bodies/") and path.endswith(".seg"):
            _check_bodies(path, files[path])


def _check_log(path: str, data: bytes, tree: LogTree) -> None:
    at = 0
    while data[at : at + 4] == b"EGL1":
        end = at + _HEADER + int.from_bytes(data[at + 8 : at + 12], "little")
        _check_crc(path, data, at, end)
        event = at + _HEADER
        while event < end:
            size = int.from_bytes(data[event : event + 4], "little")
            tree.append(data[event + 4 : event + 4 + size])
            event += 4 + size
        if tree.root() != data[at + 32 : at + 64]:
            raise Violation(f"{path}, offset {at}: the frame's root is not that of the events up to its end")
        at = (end + 7) // 8 * 8


def _check_bodies(path: str, data: bytes) -> None:
    at = 0
    while data[at : at + 4] == b"EGB1":
        end = at + _HEADER + int.from_bytes(data[at + 8 : at + 12], "little")
        _check_crc(path, data, at, end)
        at = (end + 63) // 64 * 64


def _check_crc(path: str, data: bytes, at: int, end: int) -> None:
    if _crc32c(data[at + 8 : end]) != int.from_bytes(data[at + 4 : at + 8], "little"):
        raise Violation(f"{path}, offset {at}: the frame's CRC is not that of its bytes from 8 to {end - at}")


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)  # noqa: PLW2901 (the register)
        table.append(byte)
    return table


_TABLE = _table()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class LogTree:
    """The Merkle tree of RFC 6962 §2.1, as the roots of its complete subtrees, largest first."""

    def __init__(self) -> None:
        self._subtrees: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        level, node = 0, hashlib.sha256(b"\0" + leaf).digest()
        while self._subtrees and self._subtrees[-1][0] == level:
            node = hashlib.sha256(b"\1" + self._subtrees.pop()[1] + node).digest()
            level += 1
        self._subtrees.append((level, node))

    def root(self) -> bytes:
        root = self._subtrees[-1][1]
        for _, node in reversed(self._subtrees[:-1]):
            root = hashlib.sha256(b"\1" + node + root).digest()
        return root
