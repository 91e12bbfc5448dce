"""What phase B of a challenge shows, from the payloads alone: the chain, the leaves, an excuse for what is missing."""

from __future__ import annotations

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


class Shown(msgspec.Struct, frozen=True):
    """What phase B shows: the seed that its payloads lead to, and the leaf of the record at which they end too early.

    `wrong`: what no honest miner sends: INVALID, if the miner has signed it. `hashes`: of the payloads, either way.
    """

    hashes: bytes
    seed: bytes
    lacks: bytes | None
    wrong: str | None


def are_leaves(leaves: Sequence[bytes]) -> bool:
    """Say whether these are leaves. The miner signs them one behind the other, so where each ends is in their size."""
    return all(len(leaf) == _LEAF for leaf in leaves)


def show(challenge: Challenge, chal_id: bytes, trie: TrieRoot, slow: Slow) -> Shown:
    """Walk the chain over payloads, certify each as a record, and hold all against the committed trie."""
    keys = None if challenge.mode == BY_RANK else challenge.keys
    parts = (slow.leaves, slow.multiproof, slow.payloads)
    return Shown(*_core.pos_show(chal_id, trie.root, trie.count, challenge.m, keys, *parts))


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
