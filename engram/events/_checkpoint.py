"""Checkpoints: a C2SP signed note (tlog-checkpoint) that says, for ever, what the log's root was at a size.

Source: formats §3; C2SP `signed-note` and `tlog-checkpoint`. A file is the note byte for byte, temp + fsync + rename +
folder fsync, and never rewritten.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from engram.errors import LogCorrupt, StorageFailed, Unprocessable
from engram.events._segments import NO_ROOM, no_room
from engram.identity import NodeKey, from_ss58, ss58, verify

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk, File

_NOTE = re.compile(
    r"(?P<body>(?P<origin>[^\n]+)\n(?P<size>0|[1-9][0-9]{0,19})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)\n"
    r"— (?P<name>[^\n ]+) (?P<signature>[A-Za-z0-9+/]+=*)\n"
)
_ED25519 = b"\x01"
_ORIGIN = "engram/node/"
_NOTE_BYTES = 1024
"""More than any note has."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A log's size (events) and RFC 6962 root, as its node signed them."""

    size: int
    root: bytes


def origin(public: bytes) -> str:
    """Give the origin, which is the key name too, of a node's checkpoints."""
    return f"{_ORIGIN}{ss58(public)}"


def key_id(public: bytes) -> bytes:
    """Give the 4 bytes that name the key in a signature line."""
    return _key_id(origin(public), public)


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def vkey(public: bytes) -> str:
    """Give the key as verifiers of signed notes are told it: name, key id and key."""
    return f"{origin(public)}+{key_id(public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def sign(checkpoint: Checkpoint, key: NodeKey) -> bytes:
    """Write and sign the note."""
    name = origin(key.public)
    body = f"{name}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n".encode()
    signature = base64.b64encode(_key_id(name, key.public) + key.sign(body))
    return body + f"\n— {name} ".encode() + signature + b"\n"


def signer(note: bytes) -> bytes:
    """Give the key that a note says to be of, which `parse` verifies it under; `LogCorrupt` where it names none."""
    name = _fields(note)["origin"]
    try:
        return from_ss58(name.removeprefix(_ORIGIN) if name.startswith(_ORIGIN) else "")
    except Unprocessable:
        raise LogCorrupt(f"a checkpoint is of {name!r}, which names no node's key") from None


def parse(note: bytes, public: bytes) -> Checkpoint:
    """Read and verify a note under the node's key; `LogCorrupt` says what is wrong with it."""
    found, name = _fields(note), origin(public)
    if found["origin"] != name:
        raise LogCorrupt(f"a checkpoint is of {found['origin']}, not of this node's key")
    if found["name"] != found["origin"]:
        raise LogCorrupt(f"a checkpoint is of {found['origin']}, and signed in the name of {found['name']!r}")
    try:
        signature = base64.b64decode(found["signature"], validate=True)
        root = base64.b64decode(found["root"], validate=True)
    except binascii.Error:
        raise LogCorrupt("a checkpoint's base64 is malformed") from None
    canonical = all(
        base64.b64encode(data).decode() == found[part] for part, data in (("root", root), ("signature", signature))
    )
    signed = signature[:4] == _key_id(name, public) and verify(public, found["body"].encode(), signature[4:])
    size = int(found["size"])
    if not canonical or not signed or size >= 2**64:
        raise LogCorrupt(f"the signature of the checkpoint of size {size} does not verify")
    return Checkpoint(size, root)


def _fields(note: bytes) -> re.Match[str]:
    try:
        found = _NOTE.fullmatch(note.decode()) if len(note) <= _NOTE_BYTES else None
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise LogCorrupt("a checkpoint is not a signed note of origin, size, root and one signature")
    return found


def file_name(size: int) -> str:
    """Give the name of the file of a checkpoint."""
    return f"{size:020}"


def write(disk: Disk, folder: Path, checkpoint: Checkpoint, key: NodeKey) -> bytes:
    """Sign a checkpoint and keep it durably, and give the note; one that stands already is left as it is.

    Raises `DiskFull`, where there is no room for it, or `StorageFailed`.
    """
    path = folder / file_name(checkpoint.size)
    note = sign(checkpoint, key)  # the same each time
    try:
        if not disk.exists(path):
            _write(disk, path, note)
    except OSError as error:
        raise StorageFailed(
            f"cannot write {path}: {error.strerror or error}. Nothing acknowledged is lost; "
            "mend the disk and open the folder again."
        ) from error
    return note


def _write(disk: Disk, path: Path, note: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    file = _filled(disk, fresh, note)
    try:
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, path)
    disk.sync_folder(path.parent)


def _filled(disk: Disk, path: Path, data: bytes) -> File:
    try:
        file = disk.open(path, create=True)
        try:
            file.truncate(0)
            file.write(0, data)
        except OSError:
            file.close()
            raise
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(path, error) from error
        raise
    return file


def names(disk: Disk, folder: Path) -> list[str]:
    """List the files of the folder's checkpoints, smallest first."""
    return [name for name in disk.list(folder) if re.fullmatch(r"[0-9]{20}", name)]


def largest(disk: Disk, folder: Path, public: bytes) -> Checkpoint | None:
    """Read and verify the largest checkpoint of the folder; None where there is none."""
    found = names(disk, folder)
    if not found:
        return None
    path = folder / found[-1]
    file = disk.open(path, writable=False)
    try:
        checkpoint = parse(file.read(0, _NOTE_BYTES + 1), public)
    finally:
        file.close()
    if file_name(checkpoint.size) != path.name:
        raise LogCorrupt(f"{path} holds the checkpoint of size {checkpoint.size}")
    return checkpoint
