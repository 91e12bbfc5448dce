"""The first Engram's challenge: an HMAC over the hash of a memory's embedding. `formats.md` §5, version 1.

It shows that 32 bytes are held, the hash, and not the memory: so it earns nothing by itself, and is here for the first
Engram's clients. Anybody may ask it of public memories, as anybody may read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram import cid as cids
from engram.errors import BadRequest, Unprocessable
from engram.proofs import embedding_hash_v1, key_v1, prove_v1
from engram.store import PUBLIC
from engram.wire import ChallengeV1Result, ProofV1

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.store import Store
    from engram.wire import ChallengeV1

_KEY_BYTES = 32


def challenge_v1(store: Store, request: ChallengeV1) -> Callable[[], ChallengeV1Result]:
    """Look at a challenge; give what answers it."""
    for field, value in (("nonce", request.nonce), ("validator", request.validator)):
        if value is not None and len(value) != _KEY_BYTES:
            raise BadRequest(f"{field}: {len(value)} bytes; it has {_KEY_BYTES}", field=field)
    digests = [_digest(cid, f"cids[{at}]") for at, cid in enumerate(request.cids)]
    key = key_v1(request.nonce) if request.validator is None else key_v1(request.nonce, request.validator)

    def answer() -> ChallengeV1Result:
        hashes = [_embedding_hash(store, digest) for digest in digests]
        proofs = prove_v1(key, hashes, batch=request.batch)
        return ChallengeV1Result(
            proofs=[
                None if found is None or proof is None else ProofV1(embedding_hash=found, proof=proof)
                for found, proof in zip(hashes, proofs, strict=True)
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
    return None if view is None else embedding_hash_v1(bytes(view.embedding))
