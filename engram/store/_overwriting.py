"""Overwriting bodies where they stand: with zeros, to erase them, or with what they were, to mend them. Formats §2.

Theory of operation. An event says durably that a body is erased before anything here happens. Then its frame becomes
that of an erased body: first the header, whose checksum is the one that zeros give; when that is durable, zeros over
the bytes. So a frame is at any time a body's or an erased one's, whatever a crash leaves of either write: an erased one
whose bytes are not zero yet is overwritten again by the next start, and one whose header was lost by the event, which
is folded again, since the tables that know of it are committed last.

A rotten body is mended by the same bytes, which its id certifies: they take exactly the place that it had.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engram.events import SEGMENT_BYTES
from engram.store._frames import (
    FRAME_BYTES,
    HEADER,
    ID,
    Body,
    erased_header,
    frame_bytes,
    is_sound,
    padded,
    segment_name,
    to_next_sound,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from engram.ports import Disk, File

_TORN_COPY = re.compile(r"[0-9]{20}\.seg\.torn-[0-9]+(\.[0-9]+)?")


def erase(disk: Disk, folder: Path, bodies: Iterable[Body], tail: int) -> None:
    """Overwrite bodies durably, and whatever was kept of torn tails, which may hold the same. Raises `OSError`.

    `tail`: the location at which the bodies end.
    """
    by_segment: dict[int, list[Body]] = {}
    for body in bodies:
        by_segment.setdefault(body.location // SEGMENT_BYTES, []).append(body)
    if by_segment:
        remove_torn_copies(disk, folder)
    for number, some in sorted(by_segment.items()):
        file = disk.open(folder / segment_name(number))
        try:
            end = min(tail - number * SEGMENT_BYTES, file.size())
            overwrite(file, [(body.id, body.location % SEGMENT_BYTES) for body in some], end)
        finally:
            file.close()


def overwrite(file: File, frames: Sequence[tuple[bytes, int]], end: int) -> None:
    """Erase the frames of these ids at these offsets of a segment, durably; twice is as good as once.

    `end`: the offset at which its frames end.
    """
    sizes = [(body_id, offset, _size(file, body_id, offset, end)) for body_id, offset in frames]
    there = [(body_id, offset, size) for body_id, offset, size in sizes if size]
    for body_id, offset, size in there:
        file.write(offset, erased_header(body_id, size))
    file.datasync()
    for _, offset, size in there:
        file.write(offset + HEADER, bytes(padded(size)))
    file.datasync()


def mend(disk: Disk, folder: Path, location: int, frame: bytes) -> None:
    """Write a body again, durably, where it has rotted. Raises `OSError`."""
    number, offset = divmod(location, SEGMENT_BYTES)
    file = disk.open(folder / segment_name(number))
    try:
        file.write(offset, frame)
        file.datasync()
    finally:
        file.close()


def may_mend(disk: Disk, folder: Path, location: int, frame: bytes) -> bool:
    """Say whether a body may be written again where it was; not where another one stands now. Raises `OSError`."""
    number, offset = divmod(location, SEGMENT_BYTES)
    file = disk.open(folder / segment_name(number), writable=False)
    try:
        there = file.read(offset, FRAME_BYTES)
    except OSError:  # a sector that cannot be read: writing it is what may mend it
        return True
    finally:
        file.close()
    return not is_sound(there, 0) or there[:HEADER] == frame[:HEADER]


def _size(file: File, body_id: bytes, offset: int, end: int) -> int:
    """Give how many bytes the body at an offset has; 0 where it is not there. A damaged one's reach to the next."""
    header = file.read(offset, HEADER)
    said = file.read(offset, min(frame_bytes(header, 0), FRAME_BYTES, end - offset))
    if is_sound(said, 0):
        return int.from_bytes(header[8:12], "little") if header[ID] == body_id else 0
    rest = file.read(offset, min(FRAME_BYTES, max(0, end - offset)))
    return max(0, to_next_sound(rest, 0) - HEADER)


def remove_torn_copies(disk: Disk, folder: Path) -> None:
    """Overwrite and remove what was kept of torn tails. Raises `OSError`."""
    copies = [name for name in disk.list(folder) if _TORN_COPY.fullmatch(name)]
    for name in copies:
        file = disk.open(folder / name)
        try:
            file.write(0, bytes(file.size()))
            file.sync()
        finally:
            file.close()
        disk.remove(folder / name)
    if copies:
        disk.sync_folder(folder)
