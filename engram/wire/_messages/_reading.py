"""Finding memories, and reading them."""

from __future__ import annotations

from typing import ClassVar

from engram.wire._messages._base import (
    Answer,
    FilterSpec,
    Index,
    Metadata,
    Request,
    Vector,
)


class Chunk(Answer, frozen=True, kw_only=True):
    """A part of a long text: the CID of its record, its number from 0, and its place in the text.

    `span`: the code points at which it starts and before which it ends.
    """

    cid: str
    index: int
    span: tuple[int, int]


class Hit(Answer, frozen=True, kw_only=True):
    """A memory that a query found. `score` is the cosine, in [-1, 1], larger is nearer.

    A long text is one hit: `chunk` is the nearest of its chunks, whose score and text it has.
    """

    cid: str
    score: float
    metadata: Metadata = {}
    text: str | None = None
    chunk: Chunk | None = None


class Step(Answer, frozen=True, kw_only=True):
    """A step of a search: how many rows it left, and the microseconds that it took."""

    name: str
    rows: int
    us: float


class QueryResult(Answer, frozen=True, kw_only=True):
    """Hits by score descending, then by the CID of the record that was found, which may be a chunk's, ascending.

    `position` is the log size that they speak for.
    """

    hits: list[Hit]
    position: int
    mode: str
    """How the rows were found: `exact`, as brute force finds them; `fast` and `graph`, as the index has earned it."""
    explain: list[Step] | None = None
    """The steps of the search in order, where they were asked for."""


class Query(Request[QueryResult], frozen=True, kw_only=True):
    """Find the memories nearest in meaning to a text, or nearest to a vector.

    `min_position`: the size that the node's log must have reached; one more than the position of a write. `exact`: find
    what brute force would, ties included, whatever it takes; without it the index may use a faster mode that it has
    earned. `explain`: say what each step of the search left, and how long it took.
    """

    method: ClassVar[str] = "query"
    text: str | None = None
    vector: Vector | None = None
    top_k: Index = 10
    filter: FilterSpec | None = None
    namespace: str | None = None
    min_position: Index = 0
    exact: bool = False
    explain: bool = False


class Record(Answer, frozen=True, kw_only=True):
    """One memory as it is kept. `vector` is bytes of little-endian float32, sent when asked for.

    `chunks`: how many chunks a long text has, 0 for any other record.
    """

    cid: str
    content_cid: str | None = None
    text: str | None = None
    metadata: Metadata = {}
    model_version: str
    dim: int
    vector: bytes | None = None
    others: list[str] = []
    """Asked for by `content_cid`: further CIDs with this content, at most 100."""
    chunks: int = 0


class Get(Request[Record], frozen=True, kw_only=True):
    """Give one memory by its CID, or by its `sha256:…` content CID."""

    method: ClassVar[str] = "get"
    cid: str
    namespace: str | None = None
    include_vector: bool = False
    min_position: Index = 0


class ListResult(Answer, frozen=True, kw_only=True):
    """Records in the order in which they came; `next_offset` and `next_after` are absent on the last page.

    A page of large records may have fewer than were asked for, and both.
    """

    records: list[Record]
    position: int
    next_offset: int | None = None
    """The next page's `offset`, counted from where this one's was."""
    next_after: int | None = None
    """The next page's `after`, with an `offset` of 0."""


class List(Request[ListResult], frozen=True, kw_only=True):
    """List a namespace's memories, oldest first; the chunks of long texts only if `chunks` says so.

    `after`: a position, such as `next_after`; only what came later is listed. It costs nothing, where an `offset` walks
    all that it skips.
    """

    method: ClassVar[str] = "list"
    filter: FilterSpec | None = None
    limit: Index = 50
    offset: Index = 0
    after: Index = 0
    chunks: bool = False
    namespace: str | None = None
    min_position: Index = 0
