"""The first Engram's commitment: a Merkle tree over the embedding hashes of the public memories.

A leaf is `H("leaf:" cid ":" hash)`, the hash as 64 letters; leaves are sorted; a node is `H("node:" left right)`, and
the last of an odd level stands twice. It is unsigned, says nothing of order or absence, and is here for its clients:
what this node signs is a `Commitment`.

It is made when it is asked for, a page of memories at a time and off the loop, and kept until the log has grown; where
that took long, for some while after. What comes and goes while it is made may be in it or not.
"""

from __future__ import annotations

import functools
import hashlib
from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec
import trio

from engram import cid as cids
from engram.errors import NotFound, TooLarge
from engram.gateway import LegacyCommitment, LegacyProof, LegacyStep
from engram.store import PUBLIC

if TYPE_CHECKING:
    from engram.ports import Clock, Offload
    from engram.store import Store

_RECORDS = 1_000_000
_PAGE = 1000
_LANE = "scrub"
_HASH_BYTES = 32
_QUICK_S = 0.5
"""A tree that took no longer is made anew whenever the log has grown."""
_SHARE = 20
"""Another is kept for so many times as long as it took, before it is."""


class LegacyTree(msgspec.Struct, frozen=True):
    """Levels of hashes, 32 bytes each: the sorted leaves first, the root last; none for no leaves."""

    levels: list[bytes]

    @property
    def count(self) -> int:
        """How many leaves there are."""
        return len(self.levels[0]) // _HASH_BYTES if self.levels else 0

    @property
    def root(self) -> bytes:
        """The root; zeros over nothing."""
        return self.levels[-1] if self.levels else bytes(_HASH_BYTES)

    def steps(self, leaf: bytes) -> list[LegacyStep] | None:
        """Give the way from a leaf to the root; None where there is no such leaf."""
        at = bisect_left(range(self.count), leaf, key=lambda rank: _hash(self.levels[0], rank))
        if at == self.count or _hash(self.levels[0], at) != leaf:
            return None
        steps = []
        for level in self.levels[:-1]:
            beside = at ^ 1 if (at ^ 1) < len(level) // _HASH_BYTES else at
            steps.append(LegacyStep(sibling=_hash(level, beside).hex(), side="left" if at % 2 else "right"))
            at //= 2
        return steps


def legacy_leaf(cid: str, embedding_hash: str) -> bytes:
    """Give the leaf of a memory, whose embedding's hash is given as 64 letters."""
    return hashlib.sha256(f"leaf:{cid}:{embedding_hash}".encode()).digest()


def legacy_tree(leaves: list[bytes]) -> LegacyTree:
    """Make the tree over leaves of any order."""
    if not leaves:
        return LegacyTree([])
    row = sorted(leaves)
    levels = [b"".join(row)]
    while len(row) > 1:
        if len(row) % 2:
            row.append(row[-1])
        row = [hashlib.sha256(b"node:" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
        levels.append(b"".join(row))
    return LegacyTree(levels)


def _hash(level: bytes, rank: int) -> bytes:
    return level[_HASH_BYTES * rank : _HASH_BYTES * (rank + 1)]


class LegacyCommitments:
    """The tree of a node's public memories as it was last made. Of the node's loop."""

    def __init__(self, store: Store, offload: Offload, clock: Clock) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock
        self._making = trio.Lock()
        self._tree = LegacyTree([])
        self._position = -1
        self._began = self._took_s = 0.0
        self._built_s = 0

    async def commitment(self) -> LegacyCommitment:
        """Give the root, made anew where it is due. `TooLarge` over 1,000,000 memories."""
        tree = await self._renewed()
        return LegacyCommitment(root_hex=tree.root.hex(), count=tree.count, built_at=self._built_s)

    async def prove(self, cid: str, embedding_hash: str) -> LegacyProof:
        """Prove that a memory with this embedding stands under the root. `NotFound`, `TooLarge`."""
        digest = cids.digest_of(cid)
        tree = await self._renewed()
        leaf = legacy_leaf(cids.from_digest(digest), embedding_hash)
        steps = tree.steps(leaf)
        if steps is None:
            raise NotFound(
                f"cid: the public memories of {self._built_s} (unix time) have none of this CID and embedding hash",
                field="cid",
            )
        return LegacyProof(root_hex=tree.root.hex(), leaf_hex=leaf.hex(), steps=steps)

    async def _renewed(self) -> LegacyTree:
        async with self._making:
            if self._is_due():
                began, position = self._clock.monotonic(), self._store.published.position
                built_s = self._clock.now_ns() // 1_000_000_000
                leaves = await self._leaves()
                self._tree = await self._offload.run(_LANE, functools.partial(legacy_tree, leaves))
                self._position, self._built_s = position, built_s
                self._began, self._took_s = began, self._clock.monotonic() - began
        return self._tree

    def _is_due(self) -> bool:
        if self._position == self._store.published.position:
            return False
        age_s = self._clock.monotonic() - self._began
        return self._position < 0 or self._took_s < _QUICK_S or age_s > _SHARE * self._took_s

    async def _leaves(self) -> list[bytes]:
        leaves: list[bytes] = []
        after: int | None = 0
        while after is not None:
            some, after = await self._offload.run(_LANE, functools.partial(self._page, after))
            leaves += some
            if len(leaves) > _RECORDS:
                raise TooLarge(
                    f"the first Engram's commitment is over {_RECORDS} public memories at most, and here are more; "
                    "GET /v1/commitment is over any number"
                )
        return leaves

    def _page(self, after: int) -> tuple[list[bytes], int | None]:
        found, after_them = self._store.browse(PUBLIC.ns, None, 0, _PAGE, chunks=True, after=after)
        leaves = [
            legacy_leaf(cids.from_digest(digest), hashlib.sha256(view.embedding).hexdigest())
            for digest, view in found
            if view.dim
        ]
        return leaves, after_them
