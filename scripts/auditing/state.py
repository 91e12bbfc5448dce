"""What the log folds to: namespaces, memberships, living records, heads, and their tries. Formats §4 and §8."""

from __future__ import annotations

import bisect
import json
import struct
from typing import TYPE_CHECKING, Any

from auditing.bodies import DIM, ERASED, PATCH, RECORD
from auditing.events import bytes32, committed_root, digest_of, u64
from auditing.framing import FRAME, Damage, Wrong, sha

if TYPE_CHECKING:
    from pathlib import Path

    from auditing.bodies import Body
    from auditing.log import Log

PUBLIC, NONE = bytes(32), bytes(32)


class State:
    """The fold of the log: namespaces, memberships, living records and heads."""

    def __init__(self, folder: Path, bodies: dict[bytes, Body]) -> None:
        self._folder = folder
        self._bodies = bodies
        self._bindings: dict[bytes, tuple[str, int] | None] = {PUBLIC: None}
        self._wants: dict[bytes, set[tuple[bytes, bytes]]] = {}
        self._members: dict[tuple[bytes, bytes, bytes], tuple[int, bool]] = {}
        self._lives: dict[bytes, int] = {}
        self._inside: dict[bytes, int] = {}
        """How many memberships and keys live in each namespace."""
        self._payloads: dict[bytes, bytes] = {}
        self._stored_at: dict[bytes, int] = {}
        self._heads: dict[bytes, tuple[int, bool, bytes]] = {}
        self._last: tuple[bytes, int] | None = None
        self._unknown = self._unchecked = 0

    def counts(self) -> dict[str, int]:
        """Count what the log says is here."""
        return {
            "namespaces": len(self._bindings),
            "memberships": sum(not dead for _, dead in self._members.values()),
            "records": sum(lives > 0 for lives in self._lives.values()),
            "unknown_events": self._unknown,
            "signatures_not_checked": self._unchecked,
        }

    def fold(self, position: int, event: dict[str, Any]) -> None:
        """Take the next event in; `Wrong` where it does not fit what stands before it, or its body."""
        self._unchecked += "signature" in event
        match event["type"]:
            case "log_created.1":
                if position:
                    raise Wrong("a log is created once, at position 0")
            case "namespace_created.1":
                self._namespace(event)
            case "record_stored.1":
                self._stored(position, event)
            case "record_deleted.1":
                self._deleted(event)
            case "key_set.1":
                self._key(event)
            case "namespace_deleted.1":
                self._dropped(event)
            case "state_committed.1":
                self._committed(event)
            case _:
                self._unknown += 1

    def _namespace(self, event: dict[str, Any]) -> None:
        ns, owner, name = (bytes32(event, key) for key in ("ns", "owner", "name"))
        text = self._patch(name, "name")
        if text is not None and ns != sha(b"engram/ns/1\n", owner, len(text).to_bytes(2), text):
            raise Wrong("the namespace's id is not that of its owner and name")
        model, dim = event.get("model_version"), event.get("dim")
        if not isinstance(model, str) or type(dim) is not int or not 1 <= dim <= DIM:
            raise Wrong("a namespace without model_version and dim")
        self._bindings.setdefault(ns, (model, dim))

    def _dropped(self, event: dict[str, Any]) -> None:
        ns = bytes32(event, "ns")
        bytes32(event, "signer")
        u64(event, "issued_unix_ms")
        if ns == PUBLIC or ns not in self._bindings:
            raise Wrong(f"no namespace {ns.hex()} was there to be deleted")
        if self._inside.get(ns):
            raise Wrong("a namespace was deleted with something in it")
        del self._bindings[ns]

    def _stored(self, position: int, event: dict[str, Any]) -> None:
        ns, signer, payload = (bytes32(event, key) for key in ("ns", "signer", "payload"))
        digest, issued = digest_of(event.get("cid")), u64(event, "issued_unix_ms")
        body = self._bodies.get(digest)
        if body is not None and body.kind == RECORD:
            if body.digest != payload:
                raise Wrong(f"its payload hash is not that of the body in {body.file}, offset {body.offset}")
            self._check_binding(ns, body)
        self._payloads[digest] = payload
        self._stored_at[digest] = position
        before = self._members.get((ns, digest, signer))
        if before is None or (issued, False) > before:
            self._members[ns, digest, signer] = (issued, False)
            self._wants.get(digest, set()).discard((ns, signer))
            self._live(ns, digest, 1 if before is None or before[1] else 0)

    def _deleted(self, event: dict[str, Any]) -> None:
        ns, signer = (bytes32(event, key) for key in ("ns", "signer"))
        digest, issued = digest_of(event.get("cid")), u64(event, "issued_unix_ms")
        if not isinstance(event.get("erase"), bool):
            raise Wrong("a deletion without erase")
        before = self._members.get((ns, digest, signer))
        if before is None or (issued, True) > before:
            self._members[ns, digest, signer] = (issued, True)
            if event["erase"] and before:
                self._wants.setdefault(digest, set()).add((ns, signer))
            self._live(ns, digest, -1 if before and not before[1] else 0)

    def _live(self, ns: bytes, digest: bytes, change: int) -> None:
        self._lives[digest] = self._lives.get(digest, 0) + change
        self._inside[ns] = self._inside.get(ns, 0) + change
        self._last = None

    def _check_binding(self, ns: bytes, body: Body) -> None:
        if ns not in self._bindings:
            raise Wrong(f"no namespace {ns.hex()} was created before it")
        bound = self._bindings[ns]
        if bound is None and body.dim:
            bound = self._bindings[ns] = (body.model_version, body.dim)
        if body.dim and bound != (body.model_version, body.dim):
            raise Wrong(f"a record of {body.model_version}, dim {body.dim}, in a namespace of {bound}")

    def _key(self, event: dict[str, Any]) -> None:
        ns, key, patch = (bytes32(event, name) for name in ("ns", "K", "key"))
        if ns not in self._bindings:
            raise Wrong(f"no namespace {ns.hex()} was created before it")
        text = self._patch(patch, "key")
        if text is not None and key != sha(b"engram/key/1\n", ns, len(text).to_bytes(2), text):
            raise Wrong("the key's K is not that of its namespace and text")
        removed = event.get("cid") == ""
        said = (u64(event, "issued_unix_ms"), removed, b"" if removed else digest_of(event.get("cid")))
        before = self._heads.get(key)
        if before is None or said > before:
            self._heads[key] = said
            self._inside[ns] = self._inside.get(ns, 0) + (before is None or before[1]) - removed

    def _patch(self, key: bytes, name: str) -> bytes | None:
        """Give the text of a patch; None where it was erased."""
        body = self._bodies.get(key)
        if body is None:
            raise Wrong(f"the patch {key.hex()} that it names is in no body segment")
        if body.kind == ERASED:
            return None
        with (self._folder / body.file).open("rb") as file:
            file.seek(body.offset + 8)
            length = int.from_bytes(file.read(4), "little")
            file.seek(body.offset + FRAME)
            content = json.loads(file.read(length))
        if body.kind != PATCH or set(content) != {name} or not isinstance(content[name], str):
            raise Wrong(f'the body {key.hex()} is not the patch {{"{name}": text}}')
        return content[name].encode()

    def _committed(self, event: dict[str, Any]) -> None:
        said = {name: committed_root(event, name) for name in ("records", "edges", "heads")}
        if self._last is None:
            living = (digest for digest, lives in self._lives.items() if lives > 0)
            self._last = trie_root({key_of(digest): self._payloads[digest] for digest in living})
        heads = {key: digest for key, (_, removed, digest) in self._heads.items() if not removed}
        found = {"records": self._last, "heads": trie_root(heads)}
        if not self._unknown:
            found["edges"] = (NONE, 0)
        for name, (root, count) in found.items():
            if said[name] != (root, count):
                raise Wrong(
                    f"it commits to {said[name][1]} {name} under {said[name][0].hex()}; "
                    f"the log folds to {count} under {root.hex()}"
                )

    def check_living(self, log: Log) -> None:
        """Check that each record which lives at the end has its body."""
        for digest, lives in self._lives.items():
            body = self._bodies.get(digest)
            if lives > 0 and (body is None or body.kind != RECORD):
                gone = "is in no body segment" if body is None else f"was erased: {body.file}, offset {body.offset}"
                reason = f"event {self._stored_at[digest]}: the body of v1::{digest.hex()}, which lives, {gone}"
                raise Damage(*log.place(self._stored_at[digest]), reason)

    def check_erased(self) -> None:
        """Check that of what was erased, and nobody put again, no bytes are here."""
        for digest, wants in self._wants.items():
            body = self._bodies.get(digest)
            if wants and not self._lives.get(digest) and body is not None and body.kind != ERASED:
                raise Damage(body.file, body.offset, f"the log has v1::{digest.hex()} erased, and its bytes are here")


def key_of(digest: bytes) -> bytes:
    """Give a record's K."""
    return sha(digest.hex().encode())


def trie_root(leaves: dict[bytes, bytes]) -> tuple[bytes, int]:
    """Give (root, count) of a state trie of K -> value."""
    keys = sorted(leaves)

    def subtree(low: int, high: int, depth: int) -> bytes:
        if high - low < 2:
            return sha(b"\2", keys[low], leaves[keys[low]]) if high > low else NONE
        bit = 0x80 >> depth % 8
        middle = bisect.bisect_left(keys, 1, low, high, key=lambda key: 1 if key[depth // 8] & bit else 0)
        counts = struct.pack(">QQ", middle - low, high - middle)
        return sha(b"\3", counts, subtree(low, middle, depth + 1), subtree(middle, high, depth + 1))

    return subtree(0, len(keys), 0), len(keys)
