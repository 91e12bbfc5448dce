"""Checkpoints: signed notes that the log must keep. Formats §3."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auditing.events import decode
from auditing.framing import Damage, sha

if TYPE_CHECKING:
    from auditing.log import Log

_NOTE = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,19})\n([A-Za-z0-9+/]{43}=)\n\n— ([^\n ]+) ([A-Za-z0-9+/]+=*)\n\Z")


def check_note(name: str, note: bytes, public: bytes, log: Log) -> None:
    """Check a checkpoint: a note of the node key, of a size at which a frame ends, with the root there."""
    found = _NOTE.match(note.decode(errors="replace"))
    if found is None:
        raise Damage(name, 0, "not a signed note of origin, size, root and one signature")
    origin, size, root = f"engram/node/{ss58(public)}", int(found[2]), base64.b64decode(found[3])
    if found[1] != origin or found[4] != origin:
        raise Damage(name, 0, f"a note of {found[1]}, and event 0 names {origin}")
    try:
        signature = base64.b64decode(found[5], validate=True)
    except ValueError:
        signature = b""
    if base64.b64encode(root).decode() != found[3] or base64.b64encode(signature).decode() != found[5]:
        raise Damage(name, 0, "base64 that its own bytes would not give")
    if signature[:4] != sha(f"{origin}\n\1".encode(), public)[:4] or not _verified(public, note, signature[4:]):
        raise Damage(name, 0, "the signature does not verify under the node key")
    if Path(name).name != f"{size:020}":
        raise Damage(name, 0, f"it is the checkpoint of size {size}")
    if size not in log.ends:
        raise Damage(name, 0, f"no frame of the log ends at {size}: it was rolled back or changed")
    if log.ends[size][0] != root:
        raise Damage(name, 0, "the log has another root at its size: it was rolled back or changed")
    if decode(log.events[size - 1])["type"] != "state_committed.1":
        raise Damage(name, 0, "the event directly before it is not state_committed.1")


def _verified(public: bytes, note: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, note[: note.index(b"\n\n") + 1])
    except InvalidSignature:
        return False
    return True


def ss58(public: bytes) -> str:
    """Print a public key as its address, prefix 42."""
    body = b"\x2a" + public
    number = int.from_bytes(body + hashlib.blake2b(b"SS58PRE" + body).digest()[:2])
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + text
    return text
