"""What names a challenge, and what makes its nonce. Formats §5."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.wire import Challenge

BY_RANK, BY_KEY = 0, 3
"""The modes: records whose ranks the payloads draw, or those of given keys."""

EPOCH_S = 4320
"""An epoch without a chain: formats §5."""

_NO_QUERY = bytes(32)


class Nonce(msgspec.Struct, frozen=True):
    """A challenge's nonce, and what it was made of; both absent: it was random."""

    nonce: bytes
    block_hash: bytes | None = None
    secret: bytes | None = None


def draw_nonce(block_hash: bytes, secret: bytes) -> Nonce:
    """Make the nonce of a finalised block's hash and a secret that is told with the verdict."""
    return Nonce(hashlib.sha256(b"engram/pos/2/nonce\n" + block_hash + secret).digest(), block_hash, secret)


def epoch_of(unix_ms: int) -> int:
    """Give the epoch of a time, where there is no chain."""
    return unix_ms // 1000 // EPOCH_S


def query_of(mode: int, keys: Sequence[bytes]) -> bytes:
    """Give what a challenge's id holds of the keys that it asks for."""
    return _NO_QUERY if mode == BY_RANK else hashlib.sha256(b"engram/pos/2/keys\n" + b"".join(keys)).digest()


def challenge_id(challenge: Challenge, log_root: bytes, state_root: bytes, count: int) -> bytes:
    """Give a challenge's id. Root of the log, root and count of the records: of the commitment of its `log_size`."""
    return hashlib.sha256(
        b"engram/pos/2/chal\n"
        + challenge.netuid.to_bytes(2)
        + challenge.epoch.to_bytes(8)
        + challenge.mode.to_bytes(1)
        + challenge.m.to_bytes(2)
        + challenge.validator
        + challenge.miner
        + challenge.log_size.to_bytes(8)
        + log_root
        + state_root
        + count.to_bytes(8)
        + challenge.nonce
        + query_of(challenge.mode, challenge.keys)
        + challenge.issued_unix_ms.to_bytes(8)
        + challenge.t1_ms.to_bytes(4)
        + challenge.t2_ms.to_bytes(4)
    ).digest()


def why_refused(challenge: Challenge, count: int) -> str | None:
    """Say why no miner answers such a challenge, whoever asks; None: it may be answered."""
    if challenge.mode not in (BY_RANK, BY_KEY):
        return f"mode: {challenge.mode}, and there are 0 (by rank) and 3 (by key)"
    if count < 1:
        return "no record was held at this commitment: there is nothing to show"
    if challenge.mode == BY_RANK and challenge.keys:
        return "keys: mode 0 draws ranks, and takes none"
    if challenge.mode == BY_KEY and len(challenge.keys) != challenge.m:
        return f"keys: {len(challenge.keys)}, and m says {challenge.m}"
    if any(first >= second for first, second in zip(challenge.keys, challenge.keys[1:], strict=False)):
        return "keys: they must ascend, each once"
    return None
