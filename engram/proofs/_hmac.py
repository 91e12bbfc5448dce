"""The first Engram's proof, for its clients: an HMAC that shows 32 bytes to be held, no more. Formats §5, version 1."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = bytes(32)
"""The validator that is not named."""

_DIGITS = 64


def embedding_hash_v1(embedding: bytes) -> str:
    """Give the hex of the hash of an embedding: little-endian float32."""
    return hashlib.sha256(embedding).hexdigest()


def key_v1(nonce: bytes, validator: bytes = NOBODY) -> bytes:
    """Give the key of a challenge's proofs."""
    return hashlib.sha256(validator + nonce).digest()


def prove_v1(key: bytes, embedding_hashes: Sequence[str | None], *, batch: bool = False) -> list[str | None]:
    """Give the proof of each embedding's hash, in hex; `batch`: each with its number before it. None of None.

    `ValueError` if a hash has not 64 digits.
    """
    if batch:
        return _core.hmac_v1_batch(key, embedding_hashes)
    return [None if each is None else _core.hmac_v1(key, each) for each in embedding_hashes]


def verify_v1(key: bytes, embedding_hashes: Sequence[str], proofs: Sequence[str], *, batch: bool = False) -> list[bool]:
    """Say of each proof whether it is that of its embedding's hash. Of what is no hash there is none."""
    hashes = [each if len(each.encode()) == _DIGITS else None for each in embedding_hashes]
    expected = prove_v1(key, hashes, batch=batch)
    return [
        one is not None and hmac.compare_digest(one.encode(), other.encode())
        for one, other in zip(expected, proofs, strict=True)
    ]
