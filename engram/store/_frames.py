"""The frames of body segments, as whoever writes, reads or overwrites them needs to know them. Formats §2.

A location is segment number * 2^26 + the offset of the frame in its segment.
"""

from __future__ import annotations

import msgspec

from engram.native import _core

RECORD, PATCH, ERASED = 0, 1, 2
HEADER = 64
ALIGN = 64
BODY_BYTES = 1 << 20
FRAME_BYTES = HEADER + BODY_BYTES
"""The largest frame."""

KIND, ID = 12, slice(16, 48)
_MAGIC = b"EGB1"
_DAMAGED = 2


class Body(msgspec.Struct, frozen=True):
    """Where a body is."""

    id: bytes
    kind: int
    location: int


def segment_name(number: int) -> str:
    """Give the file name of a segment."""
    return f"{number:020}.seg"


def frame_bytes(data: bytes, at: int) -> int:
    """Give the size of the frame that is said to stand there, padded."""
    return HEADER + padded(int.from_bytes(data[at + 8 : at + 12], "little"))


def padded(size: int) -> int:
    """Give what a body of this size takes in its segment, behind its header."""
    return -size // ALIGN * -ALIGN


def is_erased(header: bytes) -> bool:
    """Say whether a header is an erased body's, with the checksum of its zeros: no flipped bit makes one."""
    size = int.from_bytes(header[8:12], "little")
    if len(header) < HEADER or not 1 <= size <= BODY_BYTES:
        return False
    return header == erased_header(header[ID], size)


def erased_header(body_id: bytes, size: int) -> bytes:
    """Give the header of an erased body."""
    return _core.encode_body(ERASED, body_id, bytes(size))[:HEADER]


def is_sound(data: bytes, at: int) -> bool:
    """Say whether a whole frame stands there whose checksum is right."""
    if data[at : at + 4] != _MAGIC:
        return False
    frame = data[at : at + frame_bytes(data, at)]
    _, _, (status, _, _) = _core.scan_bodies(frame, 0, None, False, False)
    return status != _DAMAGED


def to_next_sound(data: bytes, damaged: int, tries: int = FRAME_BYTES) -> int:
    """Give how far the next sound frame is: what a damaged one says of its length cannot be trusted.

    `tries`: how many places that look like a frame are looked at; behind the last of them the rest is passed over.
    """
    at = damaged + ALIGN
    while at < len(data) and not is_sound(data, at):
        tries -= data[at : at + 4] == _MAGIC
        at = at + ALIGN if tries else len(data)
    return min(at, len(data)) - damaged
