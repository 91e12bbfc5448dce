"""Embed a namespace's texts again into another, by another model; the map from the old CIDs to the new ones."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from engram.errors import BadRequest, EngramError, ModelNotReady, Unavailable, Unprocessable
from engram.limits import LIMITS
from engram.record import OURS
from engram.sdk._items import make_item
from engram.wire import Answer, List

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram.sdk._api import Api
    from engram.sdk._items import Slot
    from engram.wire import NamespaceInfo, Record

_NO_TEXT = Unprocessable("it has no text, so it cannot be embedded again", field="text")


class Reindexed(Answer, frozen=True, kw_only=True):
    """What became of one memory: its CID of before, and its new one or the error.

    Neither: it has no text, and cannot be embedded again. `created` is False where the new one was there already.
    """

    old: str
    new: str | None = None
    created: bool = False
    error: EngramError | None = None


def reindex(api: Api, namespace: str | None, into: str, model: str | None) -> Iterator[Reindexed]:
    """Look at both namespaces, make the new one, and give what embeds the old one into it, page by page."""
    if into in (namespace, "public"):
        raise BadRequest(f"into: {into!r} must be a namespace of its own, not {namespace or 'public'}", field="into")
    pages = _pages(api, namespace)
    first = next(pages)  # before anything is made: is the old one there?
    info = api.namespaces.create(into, model=model)
    return _embedded(api, first, pages, info)


def _embedded(api: Api, first: list[Record], rest: Iterator[list[Record]], into: NamespaceInfo) -> Iterator[Reindexed]:
    olds: deque[str] = deque()

    def slots() -> Iterator[Slot]:
        for page in itertools.chain([first], rest):
            for record in page:
                olds.append(record.cid)
                yield _slot(record)

    for outcome in api._ingest(slots(), into.name, into.model_version, "chunk"):  # noqa: SLF001 - a part of `Api`
        old = olds.popleft()
        if outcome is _NO_TEXT:
            yield Reindexed(old=old)
        elif isinstance(outcome, Unavailable | ModelNotReady):
            raise outcome
        elif isinstance(outcome, EngramError):
            yield Reindexed(old=old, error=outcome)
        else:
            yield Reindexed(old=old, new=outcome.cid, created=outcome.created)


def _pages(api: Api, namespace: str | None) -> Iterator[list[Record]]:
    after: int | None = 0
    while after is not None:
        page = api._call(List(namespace=namespace, limit=LIMITS.list_limit, after=after))  # noqa: SLF001
        after = page.next_after
        yield page.records


def _slot(record: Record) -> Slot:
    if record.text is None:
        return _NO_TEXT
    metadata = {key: value for key, value in record.metadata.items() if not key.startswith(OURS)}
    try:
        return make_item(text=record.text, metadata=metadata)
    except EngramError as error:
        return error
