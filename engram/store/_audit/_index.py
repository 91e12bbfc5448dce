"""An audit's look at `index/`: the MANIFEST is of this log, each sealed part the one that it names, byte for byte."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engram.store._index_files import MANIFEST, decoded, segment_file

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk
    from engram.store._audit._report import Ledger
    from engram.store._index_files import Manifest

_MANIFEST_BYTES = 64 << 20
_BLOCK = 1 << 20
_HEADER, _HASHED = 64, 32


def read_manifest(disk: Disk, path: Path, ledger: Ledger) -> Manifest | None:
    """Read the MANIFEST; None where there is none, or it was told to be wrong."""
    file = path / "index" / MANIFEST
    if not disk.exists(file):
        ledger.note("index", "nothing is sealed: the next start fills it from the bodies")
        return None
    ledger.count("index")
    try:
        opened = disk.open(file, writable=False)
        try:
            data = opened.read(0, _MANIFEST_BYTES + 1)
        finally:
            opened.close()
        return decoded(data)
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
    except ValueError as error:
        reason = str(error)
    ledger.found("index", f"index/{MANIFEST}", 0, reason)
    return None


def check_index(disk: Disk, path: Path, manifest: Manifest, root: bytes | None, ledger: Ledger, *, known: bool) -> None:
    """Hold the MANIFEST against the log's `root` at its position, and every sealed part against its digest.

    `known`: the log is proved that far.
    """
    if not known:
        ledger.note("index", "not held against the log, which is not proved up to its position")
    elif root != manifest.root:
        reason = f"the log has another root at its position, {manifest.position}: it is of another log"
        ledger.found("index", f"index/{MANIFEST}", 0, reason)
    else:
        ledger.count("index", 0, 1)
    for digest in sorted({digest for digests in manifest.segments.values() for digest in digests}):
        name = f"index/{segment_file(digest)}"
        ledger.count("index")
        try:
            found, size = _digest(disk, path / name)
        except OSError as error:
            ledger.found("index", name, None, f"it cannot be read: {error.strerror or error}")
            continue
        ledger.count("index", 0, int(found == digest), size)
        if found != digest:
            ledger.found("index", name, None, "its bytes are not those of its name")


def _digest(disk: Disk, path: Path) -> tuple[bytes, int]:
    """Give the digest that a sealed part of these bytes has, and their size."""
    file = disk.open(path, writable=False)
    try:
        header = file.read(0, _HEADER)
        found, at = hashlib.sha256(header[:_HASHED]), len(header)
        while block := file.read(at, _BLOCK):
            found.update(block)
            at += len(block)
    finally:
        file.close()
    return (found.digest() if found.digest() == header[_HASHED:] else b""), at
