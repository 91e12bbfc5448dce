"""Going over the body segments, a piece at a time, beside the one who appends to them and erases in them.

A body is what its id says, or was erased. No further than what is committed. An erasure rewrites a frame in place,
header first: a frame that is found between its two writes is an erased one whose bytes are still there, and no damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.events import SEGMENT_BYTES
from engram.native import _core
from engram.store._frames import FRAME_BYTES, HEADER, frame_bytes, segment_name, to_next_sound
from engram.store._verify_log import PIECE_BYTES, Damage, Look

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from engram.ports import Disk
    from engram.store._place import Finding

_DAMAGED = 2


class BodiesVerifier:
    """Stands at a location between two frames of the segments in `folder`."""

    def __init__(self, disk: Disk, folder: Path, location: int) -> None:
        self._disk = disk
        self._folder = folder
        self.location = location
        self._suspect: int | None = None

    def step(self, tail: int) -> Look:
        """Look at one more piece, no further than location `tail`. Raises `OSError`.

        Damage is told when it is seen a second time, and passed over then.
        """
        if self.location >= tail:
            return Look(done=True)
        number, offset = divmod(self.location, SEGMENT_BYTES)
        file = self._disk.open(self._folder / segment_name(number), writable=False)
        try:
            end = tail - number * SEGMENT_BYTES if tail // SEGMENT_BYTES == number else file.size()
            data = file.read(offset, min(end - offset, PIECE_BYTES + FRAME_BYTES)) if offset < end else b""
        finally:
            file.close()
        if offset >= end:
            self.skip()
            return Look()
        return self._look(data)

    def skip(self) -> None:
        """Go on to the next segment."""
        self.location = (self.location // SEGMENT_BYTES + 1) * SEGMENT_BYTES

    def _look(self, data: bytes) -> Look:
        piece = data[: whole_frames(data)]
        status, at, reason = _DAMAGED, 0, "an unsound frame"
        if piece:
            _, _, (status, at, reason) = _core.scan_bodies(piece, 0, None, False, True)
        self.location += at
        if status != _DAMAGED:
            return Look(len(piece))
        if self._suspect != self.location:
            self._suspect = self.location
            return Look(at)
        number, offset = divmod(self.location, SEGMENT_BYTES)
        size = to_next_sound(data, at)
        self.location += size
        damage = Damage(f"{self._folder.name}/{segment_name(number)}", offset, size, reason)
        return Look(at + size, damages=(damage,))


def still_damaged(disk: Disk, path: Path, findings: Iterable[Finding], tail: int) -> list[Finding]:
    """Give the findings in the bodies of the folder that another look still finds, as far as it finds them."""
    of_bodies = (finding for finding in findings if finding.part == "bodies")
    looked = (_look_again(disk, path / "bodies", finding, tail) for finding in of_bodies)
    return [finding for finding in looked if finding is not None]


def ranges_of(findings: Iterable[Finding]) -> list[tuple[int, int]]:
    """Give the ranges of locations that the findings in bodies tell not to trust."""
    starts = [(_location(finding), finding.size_bytes) for finding in findings if finding.part == "bodies"]
    return [(start, start + size) for start, size in starts]


def _location(finding: Finding) -> int:
    return int(finding.file.removeprefix("bodies/")[:20]) * SEGMENT_BYTES + finding.offset


def _look_again(disk: Disk, folder: Path, finding: Finding, tail: int) -> Finding | None:
    """Look at what stands where a finding begins; where that is damaged still, it reaches to the next sound frame."""
    start = _location(finding)
    bodies = BodiesVerifier(disk, folder, start)
    try:
        if bodies.step(tail).size_bytes > 0 and bodies.location > start:
            return None
        damages = bodies.step(tail).damages if bodies.location == start else ()
    except OSError:
        return finding
    sizes = [damage.size_bytes for damage in damages if damage.offset == finding.offset]
    return msgspec.structs.replace(finding, size_bytes=min([finding.size_bytes, *sizes]))


def whole_frames(data: bytes) -> int:
    """Give the size of the frames that stand whole at the beginning of `data`, of about a piece of them."""
    at = 0
    while at < PIECE_BYTES and at + HEADER <= len(data) and at + frame_bytes(data, at) <= len(data):
        at += frame_bytes(data, at)
    return at
