"""What became of memories that were kept, or embedded again, and how a memory is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engram.errors import EngramError, Internal, from_wire
from engram.wire import Answer, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engram.sdk._items import Slot
    from engram.wire import ItemResult, PutManyResult, PutResult


class Health(Answer, frozen=True, kw_only=True):
    """How a node is, in short: `degraded` while it cannot embed texts."""

    status: Literal["ok", "degraded"]
    records: int
    model: str
    """State of the embedder: absent, fetching, loading, ready or failed."""


class Kept(Answer, frozen=True, kw_only=True):
    """A memory that was kept: its CID, and False in `created` where it was there already.

    `tokens` of the whole text, None where nothing had to be embedded; `chunks` that a long text has, else 0. `receipt`:
    the node's signed word for it, where it was written of late.
    """

    cid: str
    created: bool
    tokens: int | None = None
    chunks: int = 0
    receipt: Receipt | None = None


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


def kept(done: PutResult) -> Kept:
    """Give what a put's answer says."""
    return Kept(cid=done.cid, created=done.created, tokens=done.tokens, chunks=done.chunks, receipt=done.receipt)


def cid_or_error(outcome: Kept | EngramError) -> Outcome:
    """Give the CID, or the error."""
    return outcome.cid if isinstance(outcome, Kept) else outcome


def outcomes(batch: Sequence[Slot], answer: PutManyResult | EngramError) -> Iterator[Kept | EngramError]:
    """Give each slot's outcome: its own error, or what the answer says of its item."""
    results = iter(() if isinstance(answer, EngramError) else answer.items)
    for slot in batch:
        if isinstance(slot, EngramError):
            yield slot
        elif isinstance(answer, EngramError):
            yield answer
        else:
            yield _outcome(next(results, None))


def _outcome(result: ItemResult | None) -> Kept | EngramError:
    if result is not None and result.error is not None:
        error = result.error
        return from_wire(error.code, error.message, error.field, error.retry_after_s, error.current)
    if result is None or result.cid is None:
        return Internal("the node answered fewer items than were sent; what became of this one is unknown")
    return Kept(
        cid=result.cid, created=result.created, tokens=result.tokens, chunks=result.chunks, receipt=result.receipt
    )
