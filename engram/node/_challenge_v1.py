"""The first Engram's challenge: an HMAC over the hash of a memory's embedding. `formats.md` §5, version 1.

It shows that 32 bytes are held, the hash, and not the memory: so it earns nothing by itself, and is here for the first
Engram's clients. Anybody may ask it of public memories, as anybody may read them.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from engram import cid as cids
from engram.errors import BadRequest, Unprocessable
from engram.store import PUBLIC
from engram.wire import ChallengeV1Result, ProofV1

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.store import Store
    from engram.wire import ChallengeV1

_KEY_BYTES = 32


def challenge_v1(store: Store, request: ChallengeV1) -> Callable[[], ChallengeV1Result]:
    """Look at a challenge; give what answers it."""
    validator = bytes(_KEY_BYTES) if request.validator is None else request.validator
    for field, value in (("nonce", request.nonce), ("validator", validator)):
        if len(value) != _KEY_BYTES:
            raise BadRequest(f"{field}: {len(value)} bytes; it has {_KEY_BYTES}", field=field)
    digests = [_digest(cid, f"cids[{at}]") for at, cid in enumerate(request.cids)]
    key = hashlib.sha256(validator + request.nonce).digest()

    def answer() -> ChallengeV1Result:
        hashes = [_embedding_hash(store, digest) for digest in digests]
        return ChallengeV1Result(
            proofs=[
                None if found is None else ProofV1(embedding_hash=found, proof=_proof(key, found, at, request))
                for at, found in enumerate(hashes)
            ]
        )

    return answer


def _digest(cid: str, field: str) -> bytes:
    try:
        return cids.digest_of(cid)
    except Unprocessable as error:
        raise Unprocessable(f"{field}: {error.message.removeprefix('cid: ')}", field=field) from None


def _embedding_hash(store: Store, digest: bytes) -> str | None:
    view = store.get(PUBLIC.ns, digest)
    return None if view is None else hashlib.sha256(view.embedding).hexdigest()


def _proof(key: bytes, embedding_hash: str, at: int, request: ChallengeV1) -> str:
    index = at.to_bytes(4, "little") if request.batch else b""
    return hmac.digest(key, index + embedding_hash.encode(), "sha256").hex()
