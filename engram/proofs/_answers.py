"""What phase B of a challenge shows, from the payloads alone: the chain, the leaves, an excuse for what is missing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram import events
from engram.errors import LogCorrupt, Unprocessable
from engram.identity import tombstone_message, verify
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
_LEAF = 64


class Wrong(Exception):
    """The miner has signed this, and it is not what an honest one can have: INVALID."""


class Shown(msgspec.Struct, frozen=True):
    """What payloads show: the seed that they lead to, and the leaf of the record at which they end too early."""

    seed: bytes
    lacks: bytes | None = None


class Walked(msgspec.Struct, frozen=True):
    """A chain that was walked over payloads: its last seed, the ranks that it drew, and the leaf of each payload.

    `refused`: why it cannot be walked to its end. `hashes`: of the payloads, either way.
    """

    hashes: list[bytes]
    seed: bytes = b""
    drawn: list[int] = []
    leaves: list[bytes] = []
    refused: str | None = None


def are_leaves(leaves: Sequence[bytes]) -> bool:
    """Say whether these are leaves. The miner signs them one behind the other, so where each ends is in their size."""
    return all(len(leaf) == _LEAF for leaf in leaves)


def walk(challenge: Challenge, chal_id: bytes, count: int, payloads: Sequence[bytes]) -> Walked:
    """Walk the chain over payloads, and certify each as a record."""
    try:
        if challenge.mode == BY_RANK:
            seed, drawn, leaves = _core.pos_walk(chal_id, count, challenge.m, payloads)
        else:
            (seed, leaves), drawn = _core.pos_chain(chal_id, payloads), []
    except ValueError as error:
        return Walked([hashlib.sha256(payload).digest() for payload in payloads], refused=str(error))
    return Walked([leaf[_K:] for leaf in leaves], seed, drawn, leaves)


def show(challenge: Challenge, chal_id: bytes, trie: TrieRoot, slow: Slow, walked: Walked) -> Shown:
    """Hold leaves, multiproof and payloads against the committed trie; `Wrong` says what no honest miner sends."""
    by_rank = challenge.mode == BY_RANK
    try:
        ranks = _core.verify_multiproof(
            trie.root, trie.count, slow.leaves, slow.multiproof, None if by_rank else challenge.keys
        )
    except ValueError as error:
        raise Wrong(f"the multiproof does not hold: {error}") from None
    if by_rank:
        opened = dict(zip(ranks, slow.leaves, strict=True))
        return _by_rank(challenge.m, chal_id, trie.count, opened, slow.payloads, walked)
    if walked.refused is not None:
        raise Wrong(walked.refused)
    wanted = set(challenge.keys)
    held = [leaf for leaf in slow.leaves if leaf[:_K] in wanted]
    if walked.leaves != held[: len(walked.leaves)]:
        raise Wrong("the payloads are not those of the keys that are held, in their order")
    return Shown(walked.seed, held[len(walked.leaves)] if len(walked.leaves) < len(held) else None)


def _by_rank(
    m: int, chal_id: bytes, count: int, opened: dict[int, bytes], payloads: Sequence[bytes], walked: Walked
) -> Shown:
    lacks = None
    if walked.refused is not None:
        walked = _walk_as_far(m, chal_id, count, payloads, walked)
        lacks = opened.get(walked.drawn[-1])
        walked.leaves.append(lacks or b"")
    if opened != dict(zip(walked.drawn, walked.leaves, strict=True)):
        raise Wrong("the leaves that it opens are not those that the payloads draw, or not theirs")
    return Shown(walked.seed, lacks)


def _walk_as_far(m: int, chal_id: bytes, count: int, payloads: Sequence[bytes], walked: Walked) -> Walked:
    """Walk a chain to where its payloads end; the last rank is the first that has none."""
    try:
        _, leaves = _core.pos_chain(chal_id, payloads)
    except ValueError as error:
        raise Wrong(str(error)) from None
    seed = _core.pos_seed(chal_id)
    drawn: dict[int, bytes] = {}
    for _ in range(m):
        rank = _core.pos_rank(seed, count)
        if rank not in drawn:
            if len(drawn) == len(payloads):
                return Walked(walked.hashes, seed, [*drawn, rank], leaves)
            drawn[rank] = payloads[len(drawn)]
        seed = _core.pos_next(seed, drawn[rank])
    raise Wrong(str(walked.refused))


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
