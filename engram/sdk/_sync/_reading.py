# Made by scripts/generate_sync.py from engram/sdk/_async/_reading.py: change that one.
"""Finding memories: by meaning, by vector, by CID, all of them; and embedding without keeping."""

from __future__ import annotations

import builtins
from contextlib import closing
from functools import partial
from typing import Any, overload

import msgspec

from engram.errors import BadRequest, EngramError, NotFound
from engram.limits import LIMITS
from engram.sdk._items import clean_text, many
from engram.sdk._sync._carrier import Carrier
from engram.sdk._sync._iterate import Pages, each
from engram.sdk._vectors import VectorLike, f32_bytes, floats
from engram.wire import (
    Embed,
    Get,
    Hit,
    List,
    Query,
    QueryResult,
    Record,
)

Filter = str | dict[str, Any]

_EMBED_TEXTS = 100
"""Texts in one `embed` call; more are cut into several."""


class Reading(Carrier):
    """What is found."""

    def query(
        self,
        text: str,
        top_k: int = 10,
        filter: Filter | None = None,  # noqa: A002
        namespace: str | None = None,
        *,
        exact: bool = False,
    ) -> builtins.list[Hit]:
        """Give the `top_k` memories nearest in meaning to `text` among those that `filter` lets pass.

        A long text is one of them: the hit's `chunk` says which part was nearest, and its `text` is that part's. With
        `exact` they are those that brute force finds, ties included, where the index would be quicker without.
        """
        clean_text(text, "text")
        return (self._call(Query(text=text, top_k=top_k, filter=filter, namespace=namespace, exact=exact))).hits

    def query_by_vector(
        self,
        vector: VectorLike,
        top_k: int = 10,
        filter: Filter | None = None,  # noqa: A002
        namespace: str | None = None,
        *,
        exact: bool = False,
    ) -> builtins.list[Hit]:
        """Give the `top_k` memories nearest to `vector` by cosine among those that `filter` lets pass.

        `exact` as in `query`.
        """
        query = Query(vector=f32_bytes(vector), top_k=top_k, filter=filter, namespace=namespace, exact=exact)
        return (self._call(query)).hits

    def explain(
        self,
        text: str | None = None,
        top_k: int = 10,
        filter: Filter | None = None,  # noqa: A002
        namespace: str | None = None,
        *,
        vector: VectorLike | None = None,
        exact: bool = False,
    ) -> QueryResult:
        """Query by a text, or by a `vector`, and give all that the answer says, not its hits alone.

        `mode`: how they were found; `explain`: the steps of the search, the rows that each left, and its microseconds;
        `position`: the size of the log that the answer speaks for. Raises `BadRequest` for both or neither of the two.
        """
        if (text is None) == (vector is None):
            raise BadRequest("give either text or vector to query by", field="text")
        query = Query(
            text=None if text is None else clean_text(text, "text"),
            vector=None if vector is None else f32_bytes(vector),
            top_k=top_k,
            filter=filter,
            namespace=namespace,
            exact=exact,
            explain=True,
        )
        return self._call(query)

    def get(self, cid: str, namespace: str | None = None, include_vector: bool = False) -> Record:  # noqa: FBT001, FBT002
        """Give a memory by its CID, or by its `sha256:…` content CID. Raises `NotFound`."""
        return self._call(Get(cid=cid, namespace=namespace, include_vector=include_vector))

    def list(
        self,
        filter: Filter | None = None,  # noqa: A002
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
        chunks: bool = False,  # noqa: FBT001, FBT002
    ) -> builtins.list[Record]:
        """Give a page of the namespace's memories, oldest first; with `chunks`, the chunks of long texts too."""
        records: builtins.list[Record] = []
        while True:
            left = limit - len(records)
            page = self._call(List(filter=filter, limit=left, offset=offset, namespace=namespace, chunks=chunks))
            records += page.records
            if len(records) >= limit or page.next_offset is None:
                return records
            offset = page.next_offset  # large records: an answer holds fewer than were asked for

    def records(
        self,
        filter: Filter | None = None,  # noqa: A002
        namespace: str | None = None,
        *,
        include_vector: bool = False,
    ) -> Pages[Record]:
        """Give every memory, oldest first, page by page as they are taken, however many there are.

        One that is nothing but its vector has it with it; with `include_vector` all have theirs. What is put or deleted
        meanwhile may be among them or not.
        """
        return Pages(partial(self._records, filter, namespace, include_vector))

    @overload
    def embed(self, text: str, model: str | None = None) -> builtins.list[float]: ...
    @overload
    def embed(self, text: builtins.list[str], model: str | None = None) -> builtins.list[builtins.list[float]]: ...
    def embed(
        self, text: str | builtins.list[str], model: str | None = None
    ) -> builtins.list[float] | builtins.list[builtins.list[float]]:
        """Give the vector of a text, or one vector for each of many, without keeping anything.

        `model`: a model's name in the node's configuration, or a model version; None is the node's own.
        """
        if isinstance(text, str):
            return (self._embed([text], model))[0]
        return self._embed(builtins.list(many(text, "texts")), model)

    def _records(
        self,
        filter: Filter | None,  # noqa: A002
        namespace: str | None,
        include_vector: bool,  # noqa: FBT001
        after: str | None,
    ) -> tuple[builtins.list[Record], str | None]:
        """Give the page behind a position, and the next page's."""
        request = List(filter=filter, namespace=namespace, limit=LIMITS.list_limit, after=int(after or 0))
        page = self._call(request)
        vectors: dict[str, bytes | None] = {}
        asks = (
            Get(cid=record.cid, namespace=namespace, include_vector=True)
            for record in page.records
            if include_vector or record.text is None
        )
        with closing(self._call_many(each(asks))) as answers:
            for answer in answers:
                if isinstance(answer, Record):
                    vectors[answer.cid] = answer.vector
                elif not isinstance(answer, NotFound):  # it was deleted since
                    raise answer
        records = [msgspec.structs.replace(record, vector=vectors.get(record.cid)) for record in page.records]
        there = [record for record in records if record.text is not None or record.vector is not None]
        return there, None if page.next_after is None else str(page.next_after)

    def _embed(self, texts: builtins.list[str], model: str | None) -> builtins.list[builtins.list[float]]:
        vectors: builtins.list[builtins.list[float]] = []
        for text in texts:
            clean_text(text, "texts")
        cuts = (Embed(texts=texts[at : at + _EMBED_TEXTS], model=model) for at in range(0, len(texts), _EMBED_TEXTS))
        with closing(each(cuts)) as asked, closing(self._call_many(asked)) as answers:
            for answer in answers:
                if isinstance(answer, EngramError):
                    raise answer
                vectors.extend(floats(vector) for vector in answer.vectors)
        return vectors
