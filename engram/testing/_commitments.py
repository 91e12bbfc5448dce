"""What a node has committed to, held against the log that is left, by code that shares none with the node's.

Formats §3 and §4: every `state_committed.1` names the roots and counts of the tries over the events before it; every
checkpoint is signed by the node's key, and its size and root are the log's.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from engram.testing._frames import LogTree
from engram.testing._oracle import Event, Violation, events_of, frames_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMPTY = bytes(32)


def check_commitments(files: Mapping[str, bytes], folder: str) -> int:
    """Check every commitment of a folder; give how many there are. Raises `Violation`."""
    found = 0
    state = _State()
    for event in events_of(files, f"{folder}/events"):
        if event.type == "state_committed.1":
            found += 1
            for trie, leaves in (("records", state.records()), ("heads", state.heads), ("edges", {})):
                said, true = event.fields[trie], {"root": _root(leaves), "count": len(leaves)}
                if said != true:
                    raise Violation(
                        f"event {event.position} says that the trie of {trie} is {_shown(said)}, and by the log it is "
                        f"{_shown(true)}"
                    )
        else:
            state.take(event)
    _check_notes(files, folder)
    return found


class _State:
    """The fold of the log: who has a record's memberships, and what keys name."""

    def __init__(self) -> None:
        self.heads: dict[bytes, bytes] = {}
        self._lives: dict[bytes, set[tuple[bytes, bytes]]] = {}
        self._payloads: dict[bytes, bytes] = {}

    def take(self, event: Event) -> None:
        fields = event.fields
        digest = bytes.fromhex(fields.get("cid", "")[4:])
        if event.type == "record_stored.1":
            self._lives.setdefault(digest, set()).add((fields["ns"], fields["signer"]))
            self._payloads[digest] = fields["payload"]
        elif event.type == "record_deleted.1":
            self._lives.setdefault(digest, set()).discard((fields["ns"], fields["signer"]))
        elif event.type == "key_set.1":
            self.heads[fields["K"]] = digest
            if not digest:
                del self.heads[fields["K"]]

    def records(self) -> dict[bytes, bytes]:
        living = (digest for digest, lives in self._lives.items() if lives)
        return {hashlib.sha256(digest.hex().encode()).digest(): self._payloads[digest] for digest in living}


def _root(leaves: Mapping[bytes, bytes], depth: int = 0) -> bytes:
    """Give the root of a trie by its definition."""
    if not leaves:
        return _EMPTY
    if len(leaves) == 1:
        [(k, value)] = leaves.items()
        return hashlib.sha256(b"\2" + k + value).digest()
    sides: tuple[dict[bytes, bytes], dict[bytes, bytes]] = {}, {}
    for k, value in leaves.items():
        sides[k[depth // 8] >> 7 - depth % 8 & 1][k] = value
    counts = b"".join(len(side).to_bytes(8) for side in sides)
    return hashlib.sha256(b"\3" + counts + b"".join(_root(side, depth + 1) for side in sides)).digest()


def _shown(trie: Mapping[str, Any]) -> str:
    return f"{trie['root'].hex()[:16]}… of {trie['count']}"


def _check_notes(files: Mapping[str, bytes], folder: str) -> None:
    notes = {path: data for path, data in sorted(files.items()) if _is_note(path, folder)}
    if not notes:
        return
    [created] = events_of(files, f"{folder}/events")[:1]
    key = Ed25519PublicKey.from_public_bytes(created.fields["node_key"])
    roots, tree = {}, LogTree()
    for frame in frames_of(files, f"{folder}/events"):
        for data in frame.events:
            tree.append(data)
        roots[frame.size] = tree.root()
    for path, data in notes.items():
        body, _, signatures = data.partition(b"\n\n")
        _, size, root = body.split(b"\n")
        signed = base64.b64decode(signatures.split(b" ")[2])
        if path.rsplit("/", 1)[1] != f"{int(size):020}" or roots.get(int(size)) != base64.b64decode(root):
            raise Violation(f"{path}: the log had another root when it had {int(size)} events")
        try:
            key.verify(signed[4:], body + b"\n")
        except InvalidSignature:
            raise Violation(f"{path} is not signed by the node") from None


def _is_note(path: str, folder: str) -> bool:
    name = path.rsplit("/", 1)[1]
    return path.startswith(f"{folder}/checkpoints/") and len(name) == 20 and name.isdigit()
