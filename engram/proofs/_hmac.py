"""The first Engram's proof, for its clients: an HMAC that shows 32 bytes to be held, no more. Formats §5, version 1."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = bytes(32)
"""The validator that is not named."""


def embedding_hash_v1(embedding: bytes) -> str:
    """Give the hex of the hash of an embedding: little-endian float32."""
    return hashlib.sha256(embedding).hexdigest()


def key_v1(nonce: bytes, validator: bytes = NOBODY) -> bytes:
    """Give the key of a challenge's proofs."""
    return hashlib.sha256(validator + nonce).digest()


def prove_v1(key: bytes, embedding_hashes: Sequence[str], *, batch: bool = False) -> list[str]:
    """Give the proof of each embedding's hash, in hex; `batch`: each with its number before it."""
    return [
        hmac.digest(key, _message(at, each, batch=batch), "sha256").hex() for at, each in enumerate(embedding_hashes)
    ]


def verify_v1(key: bytes, embedding_hashes: Sequence[str], proofs: Sequence[str], *, batch: bool = False) -> list[bool]:
    """Say of each proof whether it is that of its embedding's hash."""
    expected = prove_v1(key, embedding_hashes, batch=batch)
    return [hmac.compare_digest(one.encode(), other.encode()) for one, other in zip(expected, proofs, strict=True)]


def _message(number: int, embedding_hash: str, *, batch: bool) -> bytes:
    prefix = number.to_bytes(4, "little") if batch else b""
    return prefix + embedding_hash.encode()
