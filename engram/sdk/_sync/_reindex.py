# Made by scripts/generate_sync.py from engram/sdk/_async/_reindex.py: change that one.
"""Embed a namespace's texts again into another, by another model; the map from the old CIDs to the new ones."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Protocol, TypeVar

from engram.errors import BadRequest, EngramError, ModelNotReady, Unavailable, Unprocessable
from engram.limits import LIMITS
from engram.record import OURS
from engram.sdk._items import batches, make_item
from engram.sdk._outcomes import Kept, Reindexed
from engram.wire import Answer, List, NamespaceCreate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from engram.sdk._items import Slot
    from engram.wire import NamespaceInfo, OnLong, Record, Request

    Cut = Generator[list[Slot]]
    Ingest = Callable[[Cut, str | None, str | None, OnLong | None], Generator[Kept | EngramError]]

R = TypeVar("R", bound=Answer)

_NO_TEXT = Unprocessable("it has no text, so it cannot be embedded again", field="text")


class Call(Protocol):
    """Carries out a request."""

    def __call__(self, request: Request[R], /) -> R:
        """Give the answer, or raise the error."""
        ...


def reindex(call: Call, ingest: Ingest, namespace: str | None, into: str, model: str | None) -> Generator[Reindexed]:
    """Look at both namespaces, make the new one, and give what embeds the old one into it, page by page."""
    if into in (namespace, "public"):
        raise BadRequest(f"into: {into!r} must be a namespace of its own, not {namespace or 'public'}", field="into")
    with closing(_pages(call, namespace)) as pages:
        first = next(pages)  # before anything is made: is the old one there?
        info = call(NamespaceCreate(name=into, model_version=model))
        with closing(_embedded(ingest, first, pages, info)) as done:
            yield from done


def _embedded(
    ingest: Ingest, first: list[Record], rest: Generator[list[Record]], into: NamespaceInfo
) -> Generator[Reindexed]:
    olds: deque[str] = deque()

    def slots(page: list[Record]) -> list[Slot]:
        olds.extend(record.cid for record in page)
        return [_slot(record) for record in page]

    def cut() -> Generator[list[Slot]]:
        for batch in batches(slots(first)):
            yield batch
        for page in rest:
            for batch in batches(slots(page)):
                yield batch

    with closing(ingest(cut(), into.name, into.model_version, "chunk")) as done:
        for outcome in done:
            old = olds.popleft()
            if outcome is _NO_TEXT:
                yield Reindexed(old=old)
            elif isinstance(outcome, Unavailable | ModelNotReady):
                raise outcome
            elif isinstance(outcome, EngramError):
                yield Reindexed(old=old, error=outcome)
            else:
                yield Reindexed(old=old, new=outcome.cid, created=outcome.created)


def _pages(call: Call, namespace: str | None) -> Generator[list[Record]]:
    after: int | None = 0
    while after is not None:
        page = call(List(namespace=namespace, limit=LIMITS.list_limit, after=after))
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
