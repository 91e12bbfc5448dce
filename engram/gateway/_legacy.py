"""What the first Engram's API needs of a node beside the calls that every door has."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec


class LegacyCommitment(msgspec.Struct, frozen=True, kw_only=True):
    """The root over the public memories, how many there are, and when it was made, in unix seconds."""

    root_hex: str
    count: int
    built_at: int


class LegacyStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step to the root: the hash that stands beside, and on which side."""

    sibling: str
    side: Literal["left", "right"]


class LegacyProof(msgspec.Struct, frozen=True, kw_only=True):
    """The way from a memory's leaf to the root."""

    root_hex: str
    leaf_hex: str
    steps: list[LegacyStep]


class Legacy(Protocol):
    """The first Engram's commitment to the public memories."""

    async def commitment(self) -> LegacyCommitment:
        """Give the root. Raises an `EngramError`, as `Service.call` does."""
        ...

    async def prove(self, cid: str, embedding_hash: str) -> LegacyProof:
        """Prove that a memory, whose embedding has this hash in 64 letters, is under the root. Raises so too."""
        ...
