"""The messages: one Struct a call and one an answer, the same over every door.

A request's method name is its class's `method`; `METHODS` maps it to the two Structs. Unknown fields are refused, so
that a misspelt one is an error and not silence. Vectors travel as bytes of little-endian float32 or as arrays of
numbers; answers always give bytes. `namespace` absent means the public one.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from engram.limits import LIMITS

PROTOCOL = 1
"""The `hello` protocol number that this build speaks."""

Vector = bytes | Annotated[list[float], msgspec.Meta(max_length=LIMITS.dim)]
"""An embedding on the wire: bytes of little-endian float32, or numbers. The length is checked before any is decoded."""

Metadata = dict[str, Any]
FilterSpec = str | dict[str, Any]
OnLong = Literal["chunk", "reject"]
"""What becomes of a text that is too long for one record: it is kept in chunks, or refused."""

Expect = str | None | UnsetType
"""What a key must name for a write to happen: a CID, None for nothing, UNSET for whatever it is."""

Result = TypeVar("Result", bound=msgspec.Struct)
Index = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Request(
    msgspec.Struct, Generic[Result], frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Base of every request; `Result` is the Struct of its answer."""

    method: ClassVar[str]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every answer. Clients ignore fields that they do not know."""

    def __getitem__(self, name: str) -> Any:
        """Give a field by name, so that `hit["cid"]` works as `hit.cid` does."""
        if name in self.__struct_fields__:
            return getattr(self, name)
        raise KeyError(name)


class ErrorInfo(Answer, frozen=True, kw_only=True):
    """An error as it travels: `formats.md` §6."""

    code: str
    message: str
    field: str | None = None
    retry_after_s: float | None = None
    current: str | None = None
    """Of a `conflict` over a key: the CID that the key names now; absent where it names none."""


# -- writing ----------------------------------------------------------------------------------------------------------


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


class Delete(Request[DeleteResult], frozen=True, kw_only=True):
    """Delete a memory from a namespace. Unknown CIDs are `not_found`.

    A long text's chunks go with it; one of them alone is refused.
    """

    method: ClassVar[str] = "delete"
    cid: str
    namespace: str | None = None


# -- reading ----------------------------------------------------------------------------------------------------------


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


class EmbedResult(Answer, frozen=True, kw_only=True):
    """One vector a text (bytes of little-endian float32) and its number of tokens."""

    vectors: list[bytes]
    tokens: list[int]
    model_version: str
    dim: int


class Embed(Request[EmbedResult], frozen=True, kw_only=True):
    """Turn texts into vectors with an embedder of the node, without keeping anything."""

    method: ClassVar[str] = "embed"
    texts: Annotated[list[str], msgspec.Meta(max_length=LIMITS.batch_items)]
    model: str | None = None
    """A configured model's name, or a model version; absent, the node's own."""


_TEXTS_PER_S, _CHARACTERS_PER_S = 2, 2500
"""What the slowest embedder is given time for: a CPU without wide registers, or a far server."""


def patience_s(request: Request[Any]) -> int:
    """Give the seconds that a call may take beyond the usual: one for two texts to be embedded, or 2,500 characters."""
    match request:
        case Put():
            texts = [request.text or ""]
        case PutMany():
            texts = [item.text for item in request.items if item.text]
        case Embed():
            texts = request.texts
        case _:
            return 0
    return max(len(texts) // _TEXTS_PER_S, sum(map(len, texts)) // _CHARACTERS_PER_S)


# -- keys -------------------------------------------------------------------------------------------------------------


class KeyResult(Answer, frozen=True, kw_only=True):
    """What a key names now: `cid`, absent where it was removed. `position`: of the event that says so."""

    key: str
    cid: str | None = None
    position: int
    created: bool
    """False where it named that already: nothing was appended."""


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


# -- events -----------------------------------------------------------------------------------------------------------


class EventInfo(Answer, frozen=True, kw_only=True):
    """A fact of the node's log, at its position. `data`: the event's fields, hashes and keys as hex.

    `namespace`, `cid` and `key` are set where the event is about one and the caller may know it.
    """

    position: int
    type: str
    time_unix_ns: int
    namespace: str | None = None
    cid: str | None = None
    key: str | None = None
    data: dict[str, Any] = {}


class EventsResult(Answer, frozen=True, kw_only=True):
    """Events in order. `next`: the `since` to go on with, which passes over what was not asked for.

    None, and `next` below `position`: a call looks at so many events at most, and there are more.
    """

    events: list[EventInfo]
    next: int
    position: int
    """Events in the log."""


class Events(Request[EventsResult], frozen=True, kw_only=True):
    """Give what happened from position `since` on: events of `types` (all, if absent), of one namespace or of all.

    `wait_s`: how long to wait where there is nothing yet, at most 30.
    """

    method: ClassVar[str] = "events"
    since: Index = 0
    limit: Index = 100
    wait_s: float = 0.0
    types: Annotated[list[str], msgspec.Meta(max_length=64)] | None = None
    namespace: str | None = None


# -- namespaces, node -------------------------------------------------------------------------------------------------


class NamespaceInfo(Answer, frozen=True, kw_only=True):
    """A namespace: bound to one model and dimension when it was created. `id` is hex, 64 zeros for the public one.

    `records` counts every record, the `chunks` of long texts among them.
    """

    name: str
    id: str
    owner: str | None = None
    model_version: str
    dim: int
    records: int = 0
    chunks: int = 0
    position: int = 0


class NamespaceCreate(Request[NamespaceInfo], frozen=True, kw_only=True):
    """Create a namespace. Without `dim` and `model_version` it takes texts, by the node's own embedder.

    `model_version` may be the name of a model that the node is configured with: then it takes texts, by that model.
    """

    method: ClassVar[str] = "namespace_create"
    name: str
    dim: Index | None = None
    model_version: str | None = None


class NamespaceListResult(Answer, frozen=True, kw_only=True):
    """Every namespace of this caller, the public one first."""

    namespaces: list[NamespaceInfo]


class NamespaceList(Request[NamespaceListResult], frozen=True, kw_only=True):
    """List the namespaces that this caller can use."""

    method: ClassVar[str] = "namespace_list"


class NamespaceDeleteResult(Answer, frozen=True, kw_only=True):
    """A namespace that is gone, and how many memories this call has deleted in it."""

    name: str
    records: int
    position: int


class NamespaceDelete(Request[NamespaceDeleteResult], frozen=True, kw_only=True):
    """Delete a namespace with every memory and key in it. Cut short, it is sent again, and goes on."""

    method: ClassVar[str] = "namespace_delete"
    name: str


class ModelStatus(Answer, frozen=True, kw_only=True):
    """An embedder's state. `done_bytes` and `total_bytes` count while it is fetched."""

    model_version: str
    """Empty, and `dim` 0, until a configured model has been loaded for the first time."""
    dim: int
    state: Literal["absent", "fetching", "loading", "ready", "failed"]
    message: str | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    kernel: str | None = None
    """What computes here: `avx512`, `avx2`, `neon` or `scalar` (the bits are the same); another model's library."""
    fingerprint: str | None = None
    """Hex SHA-256 of everything that decides the vectors' bits; vectors of different ones are never compared."""
    name: str | None = None
    """The name in the node's configuration; absent for the node's own model."""


class Damage(Answer, frozen=True, kw_only=True):
    """What the scrub found wrong on disk. `file`: in the data folder."""

    file: str
    offset: int
    reason: str
    found_unix_ms: int


class ScrubStatus(Answer, frozen=True, kw_only=True):
    """What the node knows of its disk by reading everything again."""

    state: Literal["off", "waiting", "log", "bodies", "tables"]
    """What is being read; `waiting` for the next pass."""
    checked_bytes: int = 0
    """How much of log and bodies the pass under way has been over."""
    last_pass_unix_ms: int = 0
    """When the last pass ended; 0: none has."""
    last_pass_bytes: int = 0
    damages: int = 0
    """How much was found wrong by the last pass, and by the one under way."""
    damage: list[Damage] = []
    """At most 100 of it."""


class Recall(Answer, frozen=True, kw_only=True):
    """What replaying queries exactly has shown: of the nearest rows, 0..1 were found by `mode` in `queries` queries.

    `widening`: how many times as many rows are looked at as a part's self-test said, because too few were found.
    """

    recall: float
    queries: int
    mode: str
    widening: int = 1


class IndexStatus(Answer, frozen=True, kw_only=True):
    """The public namespace's index: its living rows, and the parts that they stand in.

    `mode`: how a query without a filter is answered now, as in `QueryResult`.
    """

    rows: int
    sealed: int = 0
    """Parts that are sealed: their files are mapped, and they change no more."""
    head_rows: int = 0
    """Rows that are not in a sealed part yet."""
    mode: str = "exact"
    recall: Recall | None = None
    """Absent until a query was answered approximately."""


class StatusResult(Answer, frozen=True, kw_only=True):
    """What the node is and holds."""

    version: str
    role: str
    node_key: str
    """ss58 of the node's Ed25519 key."""
    records: int
    """Living records, the chunks of long texts among them."""
    namespaces: int
    """Those that this caller can use; for the operator all there are."""
    position: int
    """Events in the log."""
    log_root: str
    model: ModelStatus
    uptime_s: float
    data_dir: str
    log_bytes: int = 0
    bodies_bytes: int = 0
    queue_length: int = 0
    """Writes that wait for the disk."""
    chunks: int = 0
    """How many of `records` are chunks of long texts."""
    models: list[ModelStatus] = []
    """The configured models beside the node's own."""
    scrub: ScrubStatus = ScrubStatus(state="off")
    index: IndexStatus = IndexStatus(rows=0)


class Status(Request[StatusResult], frozen=True, kw_only=True):
    """Ask the node how it is."""

    method: ClassVar[str] = "status"


class ActorInfo(Answer, frozen=True, kw_only=True):
    """One actor of the node as it is now. The counters are since the node started, over the actor's restarts."""

    name: str
    state: Literal["starting", "running", "backing_off", "stopping", "stopped", "failed"]
    """`failed`: it crashed too often and was given up."""
    essential: bool = False
    """Whether the node ends where this actor is beyond saving."""
    waiting: int = 0
    """Messages that wait in its mailbox."""
    mailbox_limit: int
    accepted: int = 0
    handled: int = 0
    refused: int = 0
    """Messages that found the mailbox full or closed."""
    expired: int = 0
    dropped: int = 0
    dead_letters: int = 0
    crashes: int = 0
    restarts: int = 0
    last_error: str | None = None
    """The exception of its last crash and the line it came from; never its text."""
    applied: int | None = None
    """How many events of the log its state is of; absent for one that folds none."""
    reacted: int | None = None
    """How many events of the log it has reacted to, or passed; absent for one that reacts to none."""


class DeadLetterInfo(Answer, frozen=True, kw_only=True):
    """A message that crashed an actor, or found no room: the name of its type, and why it was given up."""

    actor: str
    message: str
    error: str
    time_unix_ns: int


class ActorsResult(Answer, frozen=True, kw_only=True):
    """The actors in the order they were started, and the latest dead letters, oldest first."""

    actors: list[ActorInfo]
    dead_letters: list[DeadLetterInfo] = []
    position: int
    """Events in the log."""


class Actors(Request[ActorsResult], frozen=True, kw_only=True):
    """Ask how the node's actors are."""

    method: ClassVar[str] = "actors"


class Pong(Answer, frozen=True, kw_only=True):
    """The node answers."""


class Ping(Request[Pong], frozen=True, kw_only=True):
    """Ask whether the node answers, and nothing else."""

    method: ClassVar[str] = "ping"


class HelloResult(Answer, frozen=True, kw_only=True):
    """The node's side of `hello`."""

    protocol: int
    agent: str
    nonce: bytes
    node_key: bytes
    role: str
    model_version: str
    limits: dict[str, int]
    methods: list[str]
    log_size: int
    signature: bytes
    netuid: int | None = None
    hotkey: str | None = None
    delegation: bytes | None = None


class Hello(Request[HelloResult], frozen=True, kw_only=True):
    """Introduce the caller; optional on plain loopback."""

    method: ClassVar[str] = "hello"
    protocol: int
    agent: str
    nonce: bytes
    netuid: int | None = None
    node_key: bytes | None = None
    hotkey: str | None = None
    delegation: bytes | None = None


class ProveResult(Answer, frozen=True, kw_only=True):
    """Who the caller is from now on. `operator`: it has the node's own key, and may do what loopback may."""

    node_key: bytes
    operator: bool


class Prove(Request[ProveResult], frozen=True, kw_only=True):
    """Prove the key that `hello` named: its signature over `formats.md` §9's hello message, side 0."""

    method: ClassVar[str] = "prove"
    signature: bytes


METHODS: dict[str, tuple[type[Request[Any]], type[Answer]]] = {
    request.method: (request, answer)
    for request, answer in (
        (Ping, Pong),
        (Hello, HelloResult),
        (Prove, ProveResult),
        (Put, PutResult),
        (PutMany, PutManyResult),
        (Delete, DeleteResult),
        (Query, QueryResult),
        (Get, Record),
        (List, ListResult),
        (Embed, EmbedResult),
        (KeySet, KeyResult),
        (KeyDelete, KeyResult),
        (KeyGet, KeyRecord),
        (KeyList, KeyListResult),
        (History, HistoryResult),
        (Events, EventsResult),
        (NamespaceCreate, NamespaceInfo),
        (NamespaceList, NamespaceListResult),
        (NamespaceDelete, NamespaceDeleteResult),
        (Status, StatusResult),
        (Actors, ActorsResult),
    )
}
"""The methods of this build: name -> (request, answer)."""
