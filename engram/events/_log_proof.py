"""Proofs about a log: that an event stands in it, and that a later one begins with all of an earlier one.

Sources: RFC 6962 §2.1.1 and §2.1.2 say which hashes a path holds, RFC 9162 §2.1.3.2 and §2.1.4.2 how it is verified.
Verifying needs the proof and a root alone. What a stranger sends may be anything: a wrong proof is False, no error.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

Range: TypeAlias = tuple[int, int]
"""The leaves that a hash in a path stands for: from the first one up to, and without, the second."""

_HASH_BYTES = 32
_SIZES = 2**64


def leaf_hash(event: bytes) -> bytes:
    """Give the hash that an event has in the log's tree."""
    return hashlib.sha256(b"\0" + event).digest()


def verify_inclusion(event: bytes, position: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Say whether `event` stands at `position` of the log that had this root when it had `size` events.

    `path`: 32 bytes each, from the leaf upwards.
    """
    return verify_leaf(leaf_hash(event), position, size, path, root)


def verify_leaf(leaf: bytes, position: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Say the same of an event whose hash alone is known."""
    if not 0 <= position < size < _SIZES or not _are_hashes(path) or not _are_hashes((leaf, root)):
        return False
    return _core.verify_inclusion(leaf, position, size, path, root)


def verify_consistency(
    first_size: int, first_root: bytes, second_size: int, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Say whether the log of `second_size` events begins with all that the log of `first_size` held.

    Two equal sizes have equal roots and an empty path, and any log begins with the empty one.
    """
    if not 0 <= first_size <= second_size < _SIZES or not _are_hashes(path):
        return False
    if not _are_hashes((first_root, second_root)):
        return False
    return _core.verify_consistency(first_size, first_root, second_size, second_root, path)


def _are_hashes(path: Sequence[bytes]) -> bool:
    return len(path) <= _core.LONGEST_LOG_PATH and all(len(each) == _HASH_BYTES for each in path)


def inclusion_ranges(position: int, size: int) -> list[Range]:
    """Give what the hashes of an inclusion path stand for, from the leaf upwards."""
    start, end = 0, size
    path: list[Range] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if position < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """Give what the hashes of a consistency path between two sizes stand for, in the path's order."""
    if first in {0, second}:
        return []
    start, end = 0, second
    path: list[Range] = []
    while first < end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start > 0:  # else the first tree is whole, and who verifies has its root
        path.append((start, end))
    return path[::-1]


def _split(leaves: int) -> int:
    """Give the largest power of two that is smaller."""
    return 1 << ((leaves - 1).bit_length() - 1)


def subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """Cut a range of a path into complete subtrees, largest first: (height, number in its row) each."""
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        found.append((height, start >> height))
        start += 1 << height
    return found
