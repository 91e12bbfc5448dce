"""What the idle scrub keeps in the file `scrub`: how far it has come, and what it has found.

The file is no truth: deleted or damaged, the scrub begins again. What it found stands there until a later look finds it
mended, since opening trusts what is before the log's last segment, and must not where damage is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from engram.decoding import UNDECODABLE

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk

NAME = "scrub"
_BYTES = 16 << 20

Part = Literal["log", "bodies", "tables"]


class Finding(msgspec.Struct, frozen=True):
    """Something that was durable and is no longer what it was. `file` is relative to the data folder.

    `size_bytes`: how much from `offset` on cannot be trusted; 0 where nobody can say.
    """

    part: Part
    file: str
    offset: int
    size_bytes: int
    reason: str
    found_unix_ns: int


class LogPlace(msgspec.Struct, frozen=True):
    """A place between two frames of the log: in which segment, by its first position, where, and the tree before it."""

    first: int = 0
    offset: int = 0
    size: int = 0
    roots: list[bytes] = []
    time_unix_ns: int = 0


class Pass(msgspec.Struct, frozen=True):
    """A pass over everything that came to its end. `size_bytes`: of log and bodies."""

    started_unix_ns: int
    finished_unix_ns: int
    size_bytes: int


class Place(msgspec.Struct, frozen=True):
    """Where a pass stands, what it and the one before it have found, and the last one that came to its end.

    `part` None: no pass is under way. `size_bytes`: what this pass has been over.
    """

    part: Part | None = None
    started_unix_ns: int = 0
    log: LogPlace = LogPlace()
    body_location: int = 0
    size_bytes: int = 0
    findings: list[Finding] = []
    last: Pass | None = None


def load(disk: Disk, folder: Path) -> Place:
    """Read the place, or give that of a folder that was never looked at."""
    path = folder / NAME
    if not disk.exists(path):
        return Place()
    file = disk.open(path, writable=False)
    try:
        return msgspec.json.decode(file.read(0, _BYTES + 1), type=Place)
    except UNDECODABLE:
        return Place()
    finally:
        file.close()


def save(disk: Disk, folder: Path, place: Place) -> None:
    """Write the place, durably and at once or not at all."""
    fresh = folder / f".{NAME}.new"
    file = disk.open(fresh, create=True)
    try:
        file.truncate(0)
        file.write(0, msgspec.json.encode(place))
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, folder / NAME)
    disk.sync_folder(folder)
