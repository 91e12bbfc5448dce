"""The snapshot of the state tries, `trie/tries`, from which they are loaded faster than from the tables.

    H(what follows) 32 | u32 bytes of the header | header (msgpack) | the trie of records | that of heads

A projection: what is in it counts where its checksum holds, this build's fold made it, and the log has, at its
position, the root that it names. Anything else is as if it were not there.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram.decoding import UNDECODABLE
from engram.events import is_known, read_whole
from engram.native import _core
from engram.store._tables import FOLD_VERSION
from engram.store._tries import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from engram.ports import Disk
    from engram.store._proof_state import Commitment

FOLDER, NAME = "trie", "tries"
_HASH, _LENGTH = 32, 4
_HEAD_BYTES, _LEAF_BYTES = 1 << 20, 104


class Header(msgspec.Struct, frozen=True):
    """Which tries they are, of which log, how far they have come, and what types of events they passed over."""

    name: str
    fold_version: int
    position: int
    root: bytes
    records: bytes
    heads: bytes
    records_bytes: int
    skipped: list[str]


def save(disk: Disk, path: Path, committed: Commitment, skipped: Iterable[str]) -> None:
    """Write a snapshot in the place of the one before. Raises `OSError`, and leaves nothing that counts."""
    records, heads = committed.records.save(), committed.heads.save()
    header = msgspec.msgpack.encode(
        Header(
            NAME,
            FOLD_VERSION,
            committed.size,
            committed.root,
            committed.records.root,
            committed.heads.root,
            len(records),
            sorted(skipped),
        )
    )
    parts = [len(header).to_bytes(_LENGTH) + header, records, heads]  # large: nothing joins them in memory
    folder = path / FOLDER
    disk.make_folder(folder)
    fresh = folder / f".{NAME}.new"
    try:
        file = disk.open(fresh, create=True)
        try:
            file.truncate(0)
            at = 0
            for part in (_checksum(parts), *parts):
                file.write(at, part)
                at += len(part)
            file.sync()
        finally:
            file.close()
        disk.rename(fresh, folder / NAME)
        disk.sync_folder(folder)
    except OSError:
        with contextlib.suppress(OSError):
            disk.remove(fresh)
        raise


def _checksum(parts: Iterable[bytes]) -> bytes:
    hashing = hashlib.sha256()
    for part in parts:
        hashing.update(part)
    return hashing.digest()


def load(disk: Disk, path: Path, root_at: Callable[[int], bytes | None], log_size: int) -> Tries | None:
    """Read the snapshot; None where there is none that counts. `root_at` gives the log's root at a size.

    `log_size`: how many events there are. None adds more than a leaf to each trie, so a longer file is not read.
    """
    file = path / FOLDER / NAME
    if not disk.exists(file):
        return None
    try:
        return _decoded(memoryview(read_whole(disk, file, _HEAD_BYTES + 2 * _LEAF_BYTES * log_size)), root_at)
    except (OSError, ValueError, *UNDECODABLE):
        return None


def remove(disk: Disk, path: Path) -> None:
    """Remove the snapshot durably: it may have been made of tables that were wrong. Raises `OSError`."""
    file = path / FOLDER / NAME
    if disk.exists(file):
        disk.remove(file)
        disk.sync_folder(file.parent)


def header_of(data: memoryview) -> tuple[Header, memoryview]:
    """Give the header of a snapshot and what stands behind it. `ValueError` or `UNDECODABLE` where it is none."""
    checksum, rest = data[:_HASH], data[_HASH:]
    if hashlib.sha256(rest).digest() != checksum:
        raise ValueError("its checksum does not hold")
    at = _LENGTH + int.from_bytes(rest[:_LENGTH])
    return msgspec.msgpack.decode(rest[_LENGTH:at], type=Header), rest[at:]


def tries_of(header: Header, rest: memoryview) -> Tries:
    """Load the tries that stand behind a header. `ValueError` where they are not those that it names."""
    records = _core.Trie.load(rest[: header.records_bytes])
    heads = _core.Trie.load(rest[header.records_bytes :])
    if (records.commit().root, heads.commit().root) != (header.records, header.heads):
        raise ValueError("its tries have other roots than it says")
    return Tries(records, heads, header.position)


def _decoded(data: memoryview, root_at: Callable[[int], bytes | None]) -> Tries | None:
    header, rest = header_of(data)
    if (header.name, header.fold_version) != (NAME, FOLD_VERSION) or any(map(is_known, header.skipped)):
        return None
    return tries_of(header, rest) if root_at(header.position) == header.root else None
