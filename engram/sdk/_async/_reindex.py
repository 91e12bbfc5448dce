"""Embed a namespace's texts again into another, by another model; the map from the old CIDs to the new ones."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, TypeVar

from engram.errors import BadRequest, EngramError, ModelNotReady, Unavailable, Unprocessable
from engram.limits import LIMITS
from engram.record import OURS
from engram.sdk._items import batches, make_item
from engram.sdk._outcomes import Kept, Reindexed
from engram.wire import Answer, List, NamespaceCreate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from engram.sdk._items import Slot
    from engram.wire import NamespaceInfo, OnLong, Record, Request

    Cut = AsyncGenerator[list[Slot]]
    Ingest = Callable[[Cut, str | None, str | None, OnLong | None], AsyncGenerator[Kept | EngramError]]

R = TypeVar("R", bound=Answer)

_NO_TEXT = Unprocessable("it has no text, so it cannot be embedded again", field="text")


class Call(Protocol):
    """Carries out a request."""

    async def __call__(self, request: Request[R], /) -> R:
        """Give the answer, or raise the error."""
        ...


async def reindex(
    call: Call, ingest: Ingest, namespace: str | None, into: str, model: str | None
) -> AsyncGenerator[Reindexed]:
    """Look at both namespaces, make the new one, and give what embeds the old one into it, page by page."""
    if into in (namespace, "public"):
        raise BadRequest(f"into: {into!r} must be a namespace of its own, not {namespace or 'public'}", field="into")
    async with aclosing(_pages(call, namespace)) as pages:
        first = await anext(pages)  # before anything is made: is the old one there?
        info = await call(NamespaceCreate(name=into, model_version=model))
        async with aclosing(_embedded(ingest, first, pages, info)) as done:
            async for outcome in done:
                yield outcome


async def _embedded(
    ingest: Ingest, first: list[Record], rest: AsyncGenerator[list[Record]], into: NamespaceInfo
) -> AsyncGenerator[Reindexed]:
    olds: deque[str] = deque()

    def slots(page: list[Record]) -> list[Slot]:
        olds.extend(record.cid for record in page)
        return [_slot(record) for record in page]

    async def cut() -> AsyncGenerator[list[Slot]]:
        for batch in batches(slots(first)):
            yield batch
        async for page in rest:
            for batch in batches(slots(page)):
                yield batch

    async with aclosing(ingest(cut(), into.name, into.model_version, "chunk")) as done:
        async for outcome in done:
            old = olds.popleft()
            if outcome is _NO_TEXT:
                yield Reindexed(old=old)
            elif isinstance(outcome, Unavailable | ModelNotReady):
                raise outcome
            elif isinstance(outcome, EngramError):
                yield Reindexed(old=old, error=outcome)
            else:
                yield Reindexed(old=old, new=outcome.cid, created=outcome.created)


async def _pages(call: Call, namespace: str | None) -> AsyncGenerator[list[Record]]:
    after: int | None = 0
    while after is not None:
        page = await call(List(namespace=namespace, limit=LIMITS.list_limit, after=after))
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
