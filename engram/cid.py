"""Content identifiers: `v1::` and the SHA-256 of a record's embedding, content, metadata and model version, in hex.

The preimage is in `docs/formats.md`, §1. The first Engram's own algorithms, which also print `v1::`, are in `legacy`.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal, NewType

from engram.errors import Unprocessable
from engram.native import _core

Cid = NewType("Cid", str)
"""A content identifier: `v1::` and 64 lower-case hex digits."""

_CID = re.compile(r"v1::([0-9a-f]{64})\Z")
_CONTENT_CID = re.compile(r"sha256:([0-9a-f]{64})\Z")

NO_CONTENT = bytes(32)
"""The content hash of a record that has none."""


def from_digest(digest: bytes) -> Cid:
    """Print the 32 bytes of a digest as a CID."""
    return Cid("v1::" + digest.hex())


def digest_of(cid: str) -> bytes:
    """Give the 32 bytes that `cid` names; `Unprocessable` if it is not a CID."""
    found = _CID.match(cid)
    if found is None:
        raise Unprocessable(f"not a CID (v1:: and 64 lower-case hex digits): {_shown(cid)}", field="cid")
    return bytes.fromhex(found[1])


def content_cid(content: bytes) -> str:
    """Print a content hash as `sha256:…`."""
    return "sha256:" + content.hex()


def content_of(cid: str) -> bytes | None:
    """Give the 32 bytes that a `sha256:…` content CID names; None if it is not one."""
    if not cid.startswith("sha256:"):
        return None
    found = _CONTENT_CID.match(cid)
    return bytes.fromhex(found[1]) if found else None


def compute(
    embedding: bytes, metadata: bytes, model_version: str, *, content: bytes = NO_CONTENT, flags: int = 0
) -> Cid:
    """Compute the CID of a record from its parts.

    `embedding`: little-endian float32, as stored. `metadata`: canonical JSON, as `engram.record.canonical_metadata`
    gives it. `content`: the hash of the content; `flags` as in the payload (1 for text). Source: formats §1.
    """
    return from_digest(_core.cid_digest(embedding, content, flags, metadata, model_version.encode()))


def key_of(digest: bytes) -> bytes:
    """Give the state trie's key K of a CID's digest: the hash of its hex. Its top 14 bits are the placement group."""
    return hashlib.sha256(digest.hex().encode()).digest()


def legacy(
    embedding: bytes, metadata: dict[str, Any], model_version: str = "v1", *, flavour: Literal["rust", "python"]
) -> Cid:
    """Compute the identifier that the first Engram gave this record; an alias here, never proved.

    `rust`: values by Python's `str`, our model_version wins, keys in UTF-8 order, raw UTF-8. `python`: native types,
    a caller's own model_version wins, ASCII escapes. Both: little-endian float32, then compact sorted JSON.
    """
    if flavour == "rust":
        values = {key: str(value) for key, value in metadata.items()} | {"model_version": model_version}
        ordered = dict(sorted(values.items(), key=lambda item: item[0].encode()))
        text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False)
    else:
        text = json.dumps({"model_version": model_version} | metadata, separators=(",", ":"), sort_keys=True)
    return from_digest(hashlib.sha256(embedding + text.encode()).digest())


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
