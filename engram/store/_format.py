"""The file `FORMAT`: which format a folder has, and how an older one becomes this build's.

Theory of operation. The file is the lock's target, so it is written in place and never renamed. It is one line of JSON,
well within a disk's sector. An upgrade runs one step a format, each of which may be run again after a crash; the new
number is written and synced behind its step. A line that grows is first given room in spaces, synced, and then written
over what was there: whatever of this a crash keeps, either the old line or the new one can be read. The log is never
upgraded: events stay as they were written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import FolderRefused
from engram.events import FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from engram.ports import Disk, File

    Step = Callable[[Disk, Path], None]

UPGRADES: Mapping[int, Step] = {}
"""What makes a folder of format n, the key, one of n + 1; a step that a crash cut short is run again from its start."""

_LINE_BYTES = 4096
_FIRST = b'{"format": '
_BESIDE = {"FORMAT", "pid", "lost+found"}


class _Line(msgspec.Struct):
    format: int
    writer: str = "another build"


def settle(
    file: File, disk: Disk, path: Path, writer: str, upgrades: Mapping[int, Step] = UPGRADES, wanted: int = FORMAT
) -> int | None:
    """Bring the locked folder to the format `wanted`; give the one it had, if that was older.

    A new folder's file is written; one that a crash left unfinished, before anything else was in the folder, is too.
    Raises `FolderRefused` for a newer format, one from which no step leads here, and a file that is none.
    """
    content = file.read(0, _LINE_BYTES + 1).rstrip(b"\0")
    found = _read(content)
    if found is None:
        _refuse_all_but_unfinished(content, disk, path)
        file.truncate(0)
        _write(file, _line(wanted, writer))
        disk.sync_folder(path)
        return None
    if not _data_beside(disk, path):  # whoever began this folder may have ended before it was durable
        _write(file, content.rstrip(b"\n"))
        disk.sync_folder(path)
    if found.format > wanted:
        raise FolderRefused(
            f"the data folder {path} has format {found.format}, written by {found.writer}; "
            f"this build reads format {wanted}. Use a newer build, or another folder."
        )
    for number in range(found.format, wanted):
        if number not in upgrades:
            raise FolderRefused(
                f"the data folder {path} has format {found.format}, written by {found.writer}; no step of this build, "
                f"which reads format {wanted}, upgrades format {number}. Use another folder."
            )
        upgrades[number](disk, path)
        _write(file, _line(number + 1, writer))
    return found.format if found.format < wanted else None


def format_of(content: bytes) -> int | None:
    """Give the format that the bytes of a `FORMAT` file name; None where they are none."""
    found = _read(content.rstrip(b"\0"))
    return found.format if found else None


def _read(content: bytes) -> _Line | None:
    if len(content) > _LINE_BYTES:
        return None
    try:
        return msgspec.json.decode(content, type=_Line)
    except UNDECODABLE:
        return None


def _refuse_all_but_unfinished(content: bytes, disk: Disk, path: Path) -> None:
    """Refuse what is no line of ours; its beginning is that of a new folder, where nothing else came before it."""
    if not _FIRST.startswith(content[: len(_FIRST)]) or content.endswith((b"}", b"\n")):
        raise FolderRefused(f"{path / 'FORMAT'} is not a line of JSON with a format; is this a data folder?")
    if data := _data_beside(disk, path):
        raise FolderRefused(
            f"{path / 'FORMAT'} is empty or cut off, and the folder holds {data[0]!r}: restore it from a backup."
        )


def _data_beside(disk: Disk, path: Path) -> list[str]:
    return [name for name in disk.list(path) if not name.startswith(".") and name not in _BESIDE]


def _line(number: int, writer: str) -> bytes:
    return _FIRST + b'%d, "writer": %s}' % (number, msgspec.json.encode(writer))


def _write(file: File, line: bytes) -> None:
    size = file.size()
    if 0 < size <= len(line):
        file.write(size, b" " * (len(line) + 1 - size))
        file.sync()
    file.write(0, line.ljust(max(size, len(line) + 1) - 1) + b"\n")
    file.sync()
