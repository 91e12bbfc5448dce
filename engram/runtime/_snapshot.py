"""The small files beside the log that save a follower the way from its beginning: snapshots and cursors.

Each can be deleted: what it holds is worked out again from the log. A file is

    "EGP1" | SHA-256 of the rest 32 | one msgpack array: the fields of `Snapshot` or `Cursor`, in order

written under a temporary name, synced, renamed, and the folder synced. One that is torn, changed or of something else
reads as None; whether it is of this log is for the reader to ask the log, whose root at `size` it names.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from engram.decoding import UNDECODABLE

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk

_MAGIC = b"EGP1"
_BYTES = 1 << 30
_HEADER_BYTES = len(_MAGIC) + 32
_AUDITED_BYTES = 1 << 30
"""More than a state of one Struct is read for nobody but its actor."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A state and what it is of: events before `position`, folded by `fold`, of the log with `root` at `size`.

    `size` is the end of the last frame before `position`. `skipped`: types of events that the fold passed over because
    that build did not know them. The file's digest is the state's too: a state is one Struct, and has no rows to sum.
    """

    name: str
    fold: str
    position: int
    size: int
    root: bytes
    skipped: list[str]
    state: bytes


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a reaction is: all before `position` has been reacted to; the log has `root` at `size`, as above."""

    name: str
    position: int
    size: int
    root: bytes


class Folded(msgspec.Struct, frozen=True):
    """What a snapshot or a cursor says that it is of, to who audits it. `fault`: why it cannot be read."""

    file: str
    size: int = 0
    root: bytes = b""
    fault: str | None = None


Kept = TypeVar("Kept", Snapshot, Cursor)


def save(disk: Disk, path: Path, kept: Snapshot | Cursor) -> None:
    """Write a file durably, whole or not at all. Raises `OSError`."""
    body = msgspec.msgpack.encode(kept)
    fresh = path.with_name(f".{path.name}.new")
    disk.make_folder(path.parent)
    file = disk.open(fresh, create=True)
    try:
        file.truncate(0)
        file.write(0, _MAGIC + hashlib.sha256(body).digest() + body)
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, path)
    disk.sync_folder(path.parent)


def load(disk: Disk, path: Path, kind: type[Kept]) -> Kept | None:
    """Read a file back; None where there is none, or none that is sound. Raises `OSError`."""
    if not disk.exists(path):
        return None
    file = disk.open(path, writable=False)
    try:
        data = file.read(0, min(file.size(), _BYTES + 1))
    finally:
        file.close()
    body = data[_HEADER_BYTES:]
    if data[:_HEADER_BYTES] != _MAGIC + hashlib.sha256(body).digest():
        return None
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except UNDECODABLE:
        return None


def folded_files(disk: Disk, folder: Path) -> list[Folded]:
    """Say of which log every snapshot and cursor of a folder is."""
    paths = [folder / name for name in disk.list(folder) if not name.startswith(".")]
    snapshots = [_folded(disk, path, Snapshot) for path in paths if path.suffix == ".snapshot"]
    return snapshots + [_folded(disk, path, Cursor) for path in paths if path.suffix == ".cursor"]


def _folded(disk: Disk, path: Path, kind: type[Kept]) -> Folded:
    try:
        file = disk.open(path, writable=False)
        try:
            small = file.size() <= _AUDITED_BYTES
        finally:
            file.close()
        kept: Kept | None = load(disk, path, kind) if small else None
    except OSError as error:
        return Folded(path.name, fault=f"it cannot be read: {error.strerror or error}")
    if kept is None:
        return Folded(path.name, fault="torn, changed, or no file of this kind: its actor begins without it")
    return Folded(path.name, kept.size, kept.root)
