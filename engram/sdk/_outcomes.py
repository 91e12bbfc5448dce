"""What became of memories that were kept, or embedded again."""

from __future__ import annotations

from engram.errors import EngramError
from engram.wire import Answer


class Kept(Answer, frozen=True, kw_only=True):
    """A memory that was kept: its CID, and False in `created` where it was there already.

    `tokens` of the whole text, None where nothing had to be embedded; `chunks` that a long text has, else 0.
    """

    cid: str
    created: bool
    tokens: int | None = None
    chunks: int = 0


class Reindexed(Answer, frozen=True, kw_only=True):
    """What became of one memory: its CID of before, and its new one or the error.

    Neither: it has no text, and cannot be embedded again. `created` is False where the new one was there already.
    """

    old: str
    new: str | None = None
    created: bool = False
    error: EngramError | None = None


Outcome = str | EngramError
"""What became of one item of a batch: its CID, or what was wrong with it."""
