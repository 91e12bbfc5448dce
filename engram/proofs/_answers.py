"""What phase B of a challenge shows, from the payloads alone: the chain, the leaves, an excuse for what is missing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram import events
from engram.errors import LogCorrupt, Unprocessable
from engram.identity import slow_message, tombstone_message, verify
from engram.native import _core
from engram.proofs._chal_id import BY_RANK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.events import TrieRoot
    from engram.wire import Challenge, Slow

ERASED_BEFORE_MS = 31 * 60 * 1000
"""How long before a challenge a record may have been erased that a challengeable state still names: formats §5."""

_CLOCKS_MS = 60_000
_K = 32


class Wrong(Exception):
    """The miner has signed this, and it is not what an honest one can have: INVALID."""


class Shown(msgspec.Struct, frozen=True):
    """What payloads show: the seed that they lead to, and the leaf of the record at which they end too early."""

    seed: bytes
    lacks: bytes | None = None


def sign_slow_of(chal_id: bytes, slow: Slow) -> bytes:
    """Give the bytes that the miner has to have signed of this phase B."""
    hashes = (hashlib.sha256(payload).digest() for payload in slow.payloads)
    return slow_message(chal_id, slow.multiproof, slow.leaves, hashes)


def show(challenge: Challenge, chal_id: bytes, trie: TrieRoot, slow: Slow) -> Shown:
    """Hold leaves, multiproof and payloads against the committed trie; `Wrong` says what no honest miner sends."""
    by_rank = challenge.mode == BY_RANK
    try:
        ranks = _core.verify_multiproof(
            trie.root, trie.count, slow.leaves, slow.multiproof, None if by_rank else challenge.keys
        )
    except ValueError as error:
        raise Wrong(f"the multiproof does not hold: {error}") from None
    if by_rank:
        return _by_rank(challenge.m, chal_id, trie.count, dict(zip(ranks, slow.leaves, strict=True)), slow.payloads)
    wanted = set(challenge.keys)
    return _by_key(chal_id, [leaf for leaf in slow.leaves if leaf[:_K] in wanted], slow.payloads)


def _by_rank(m: int, chal_id: bytes, count: int, opened: dict[int, bytes], payloads: Sequence[bytes]) -> Shown:
    lacks = None
    try:
        seed, drawn, leaves = _core.pos_walk(chal_id, count, m, payloads)
    except ValueError as error:
        seed, drawn, leaves = _walk_as_far(m, chal_id, count, payloads, error)
        lacks = opened.get(drawn[-1])
        leaves = [*leaves, lacks or b""]
    if opened != dict(zip(drawn, leaves, strict=True)):
        raise Wrong("the leaves that it opens are not those that the payloads draw, or not theirs")
    return Shown(seed, lacks)


def _walk_as_far(
    m: int, chal_id: bytes, count: int, payloads: Sequence[bytes], refused: ValueError
) -> tuple[bytes, list[int], list[bytes]]:
    """Walk a chain to where its payloads end; the last rank is the first that has none."""
    _, leaves = _certified(chal_id, payloads)
    seed = _core.pos_seed(chal_id)
    drawn: dict[int, bytes] = {}
    for _ in range(m):
        rank = _core.pos_rank(seed, count)
        if rank not in drawn:
            if len(drawn) == len(payloads):
                return seed, [*drawn, rank], leaves
            drawn[rank] = payloads[len(drawn)]
        seed = _core.pos_next(seed, drawn[rank])
    raise Wrong(str(refused))


def _by_key(chal_id: bytes, held: Sequence[bytes], payloads: Sequence[bytes]) -> Shown:
    seed, leaves = _certified(chal_id, payloads)
    if leaves != held[: len(leaves)]:
        raise Wrong("the payloads are not those of the keys that are held, in their order")
    return Shown(seed, held[len(leaves)] if len(leaves) < len(held) else None)


def _certified(chal_id: bytes, payloads: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    try:
        return _core.pos_chain(chal_id, payloads)
    except ValueError as error:
        raise Wrong(str(error)) from None


def owner_of(tombstone: bytes, leaf: bytes, network: bytes, issued_unix_ms: int) -> bytes | None:
    """Give who has signed that the record of this leaf is to be erased; None where nobody has.

    `issued_unix_ms`: of the challenge. An old tombstone explains nothing: the state that is challenged held the record.
    """
    if _core.check_event(tombstone) is not None:
        return None
    try:
        event = events.decode(tombstone)
        if not isinstance(event, events.RecordDeleted) or not event.erase or event.signature is None:
            return None
        digest = cids.digest_of(event.cid)
    except (LogCorrupt, Unprocessable):
        return None
    in_time = issued_unix_ms - ERASED_BEFORE_MS <= event.issued_unix_ms <= issued_unix_ms + 2 * _CLOCKS_MS
    if not in_time or cids.key_of(digest) != leaf[:_K] or len(event.ns) != _K:
        return None
    message = tombstone_message(network, event.ns, digest, event.issued_unix_ms)
    return event.signer if verify(event.signer, message, event.signature) else None
