"""Keys: names that stand for one memory after another."""

from __future__ import annotations

from typing import ClassVar

from msgspec import UNSET

from engram.wire._messages._base import (
    Answer,
    Expect,
    Index,
    Request,
)
from engram.wire._messages._reading import Record
from engram.wire._messages._receipts import Receipt


class KeyResult(Answer, frozen=True, kw_only=True):
    """What a key names now: `cid`, absent where it was removed. `position`: of the event that says so."""

    key: str
    cid: str | None = None
    position: int
    created: bool
    """False where it named that already: nothing was appended."""
    receipt: Receipt | None = None


class KeySet(Request[KeyResult], frozen=True, kw_only=True):
    """Have a key name a memory that is in the namespace. `expect` as in `Put`."""

    method: ClassVar[str] = "key_set"
    key: str
    cid: str
    expect: Expect = UNSET
    namespace: str | None = None


class KeyDelete(Request[KeyResult], frozen=True, kw_only=True):
    """Have a key name nothing more; the memory that it named stays. `not_found` where it names none."""

    method: ClassVar[str] = "key_delete"
    key: str
    expect: Expect = UNSET
    namespace: str | None = None


class KeyRecord(Answer, frozen=True, kw_only=True):
    """A key and the memory that it names; `position` and `set_unix_ms`: of the event that says so."""

    key: str
    position: int
    set_unix_ms: int
    record: Record


class KeyGet(Request[KeyRecord], frozen=True, kw_only=True):
    """Give the memory that a key names. `not_found` where it names none, or one that was deleted."""

    method: ClassVar[str] = "key_get"
    key: str
    namespace: str | None = None
    include_vector: bool = False
    min_position: Index = 0


class KeyInfo(Answer, frozen=True, kw_only=True):
    """A key, and the CID that it names since the event at `position`."""

    key: str
    cid: str
    position: int
    set_unix_ms: int


class KeyListResult(Answer, frozen=True, kw_only=True):
    """Keys in the order of their bytes; `next_after`, absent on the last page, is the next page's `after`."""

    keys: list[KeyInfo]
    position: int
    next_after: str | None = None


class KeyList(Request[KeyListResult], frozen=True, kw_only=True):
    """List the keys that begin with `prefix` and come behind `after`, in the order of their bytes."""

    method: ClassVar[str] = "key_list"
    prefix: str = ""
    limit: Index = 50
    after: str | None = None
    namespace: str | None = None
    min_position: Index = 0


class KeyVersion(Answer, frozen=True, kw_only=True):
    """What a key has named from the event at `position` on: `cid`, absent where it was removed.

    `signer`: ss58 of who said so.
    """

    cid: str | None = None
    position: int
    set_unix_ms: int
    signer: str


class HistoryResult(Answer, frozen=True, kw_only=True):
    """A key's versions, oldest first; `next_after`, absent on the last page, is the next page's `after`."""

    versions: list[KeyVersion]
    position: int
    next_after: int | None = None


class History(Request[HistoryResult], frozen=True, kw_only=True):
    """List what a key has named, oldest first. `not_found` for a key that never named anything."""

    method: ClassVar[str] = "history"
    key: str
    limit: Index = 100
    after: Index = 0
    namespace: str | None = None
    min_position: Index = 0
