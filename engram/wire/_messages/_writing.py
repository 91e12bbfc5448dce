"""Keeping memories, and letting them go."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET

from engram.limits import LIMITS
from engram.wire._messages._base import (
    Answer,
    ErrorInfo,
    Expect,
    Metadata,
    OnLong,
    Request,
    Vector,
)
from engram.wire._messages._receipts import Receipt


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One memory to keep: a text, a vector, or both. `key` and `expect` as in `Put`."""

    text: str | None = None
    vector: Vector | None = None
    metadata: Metadata | None = None
    key: str | None = None
    expect: Expect = UNSET


class PutResult(Answer, frozen=True, kw_only=True):
    """Where a memory is now: its CID, and the log position of the event that holds it."""

    cid: str
    position: int
    created: bool
    """False where it was known already: nothing was appended."""
    tokens: int | None = None
    """Tokens of the whole text, the model's special ones included; absent where nothing had to be embedded."""
    chunks: int = 0
    """The records that a long text was cut into, beside the one that the CID names."""
    receipt: Receipt | None = None
    """The node's signed word for the event at `position`."""


class Put(Request[PutResult], frozen=True, kw_only=True):
    """Keep one memory. Putting the same again appends nothing and answers the same CID.

    `key`: the name that stands for this memory from now on, in place of what it stood for. `expect`: the CID that the
    key must name until now, nil for none at all; `conflict` where it is otherwise, and then nothing is kept. Left out:
    whatever it names. `on_long`: what becomes of a text that is too long for one record; absent: what the node is
    configured to do.
    """

    method: ClassVar[str] = "put"
    text: str | None = None
    vector: Vector | None = None
    metadata: Metadata | None = None
    key: str | None = None
    expect: Expect = UNSET
    namespace: str | None = None
    model_version: str | None = None
    on_long: OnLong | None = None


class ItemResult(Answer, frozen=True, kw_only=True):
    """What became of one item of a batch: `error`, or the rest as in `PutResult`."""

    cid: str | None = None
    created: bool = False
    tokens: int | None = None
    chunks: int = 0
    receipt: Receipt | None = None
    error: ErrorInfo | None = None


class PutManyResult(Answer, frozen=True, kw_only=True):
    """One result an item, in order; `position` is the highest of them."""

    items: list[ItemResult]
    position: int


class PutMany(Request[PutManyResult], frozen=True, kw_only=True):
    """Keep up to 1,000 memories; each succeeds or fails on its own."""

    method: ClassVar[str] = "put_many"
    items: Annotated[list[Item], msgspec.Meta(max_length=LIMITS.batch_items)]
    namespace: str | None = None
    model_version: str | None = None
    on_long: OnLong | None = None


class DeleteResult(Answer, frozen=True, kw_only=True):
    """The log position of the tombstone."""

    cid: str
    position: int
    erased: bool = False
    """Whether its bytes were overwritten too. They are kept while another namespace, or another key, holds the same.

    True, too, where that is a namespace which the caller may not know of: they go when nobody holds them any more.
    """
    receipt: Receipt | None = None


class Delete(Request[DeleteResult], frozen=True, kw_only=True):
    """Delete a memory from a namespace. Unknown CIDs are `not_found`.

    A long text's chunks go with it; one of them alone is refused. `erase`: overwrite its bytes too, once nobody holds
    them.
    """

    method: ClassVar[str] = "delete"
    cid: str
    namespace: str | None = None
    erase: bool = False
