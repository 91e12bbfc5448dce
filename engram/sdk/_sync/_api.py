# Made by scripts/generate_sync.py from engram/sdk/_async/_api.py: change that one.
"""The public methods, once for every way in: a subclass says only how a request is carried out."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections import deque
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

import msgspec

from engram.errors import BadRequest, DeadlineExceeded, EngramError, NotFound, Unavailable
from engram.limits import LIMITS
from engram.sdk._items import Slot, batches, clean_text, make_item, many, slots_of
from engram.sdk._lines import at_line, open_lines, read_slots
from engram.sdk._not_yet import NotYet
from engram.sdk._outcomes import Health, Kept, Outcome, Reindexed, cid_or_error, kept, outcomes
from engram.sdk._sync._iterate import EventStream, Pages, each, each_aside
from engram.sdk._sync._reindex import reindex
from engram.sdk._vectors import VectorLike, f32_bytes, floats
from engram.wire import (
    Actors,
    ActorsResult,
    Answer,
    Commitment,
    Delete,
    Embed,
    Events,
    EventsResult,
    Expect,
    Get,
    GetCommitment,
    GetConsistency,
    GetProof,
    History,
    Hit,
    Item,
    KeyDelete,
    KeyGet,
    KeyInfo,
    KeyList,
    KeyRecord,
    KeyResult,
    KeySet,
    KeyVersion,
    List,
    NamespaceCreate,
    NamespaceDelete,
    NamespaceDeleteResult,
    NamespaceInfo,
    NamespaceList,
    OnLong,
    Ping,
    Pong,
    Proof,
    Put,
    PutMany,
    Query,
    QueryResult,
    Record,
    Request,
    Status,
    StatusResult,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

R = TypeVar("R", bound=Answer)

Metadata = dict[str, Any]
Filter = str | dict[str, Any]

ANY = msgspec.UNSET
"""The `expect` that takes whatever a key names."""

_EMBED_TEXTS = 100
"""Texts in one `embed` call; more are cut into several."""
_PAGE = 1000
"""Keys, or versions of one, in a page."""


class Namespaces:
    """The namespaces of a memory: `client.namespaces`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def create(self, name: str, dim: int | None = None, model: str | None = None) -> NamespaceInfo:
        """Create a namespace, bound to one model and dimension; without them it takes texts.

        `model` may be one of the node's configuration: then it takes texts, embedded by that model. What is kept in it
        is its owner's to read; but a challenge shows payloads of every namespace, but for sealed records, to the keys
        that the node's operator has named as `challengers`.

        Raises `Conflict` if it exists with others.
        """
        request = NamespaceCreate(name=name, dim=dim, model_version=model)
        return self._api._call(request)  # noqa: SLF001 - a part of `Api`

    def list(self) -> builtins.list[NamespaceInfo]:
        """Give every namespace that this caller can use, the public one first."""
        return (self._api._call(NamespaceList())).namespaces  # noqa: SLF001 - a part of `Api`

    def delete(self, name: str, *, erase: bool = False) -> NamespaceDeleteResult:
        """Delete a namespace with every memory and key in it. Raises `NotFound`.

        Cut short, it is called again, and goes on. `erase`: overwrite the memories' bytes too, and those of what was
        deleted from it before; the names of keys stay.
        """
        return self._api._call(NamespaceDelete(name=name, erase=erase))  # noqa: SLF001 - a part of `Api`


class Keys:
    """The keys of a memory, names that stand for one memory after another: `client.keys`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(
        self,
        key: str,
        namespace: str | None = None,
        include_vector: bool = False,  # noqa: FBT001, FBT002
    ) -> KeyRecord:
        """Give the memory that a key names: `.record`. Raises `NotFound` where it names none."""
        request = KeyGet(key=key, namespace=namespace, include_vector=include_vector)
        return self._api._call(request)  # noqa: SLF001 - a part of `Api`

    def list(self, prefix: str = "", namespace: str | None = None) -> Pages[KeyInfo]:
        """Give the keys that begin with `prefix`, in the order of their bytes, page by page as they are taken."""
        return Pages(partial(self._page, prefix, namespace))

    def set(self, key: str, cid: str, *, expect: Expect = ANY, namespace: str | None = None) -> KeyResult:
        """Have a key name a memory that is in the namespace. `expect` and `Conflict` as in `put`."""
        request = KeySet(key=key, cid=cid, expect=expect, namespace=namespace)
        return self._api._call(request)  # noqa: SLF001 - a part of `Api`

    def delete(self, key: str, *, expect: Expect = ANY, namespace: str | None = None) -> KeyResult:
        """Have a key name nothing more; the memory stays. Raises `NotFound` where it names none."""
        request = KeyDelete(key=key, expect=expect, namespace=namespace)
        return self._api._call(request)  # noqa: SLF001 - a part of `Api`

    def _page(self, prefix: str, namespace: str | None, after: str | None) -> tuple[builtins.list[KeyInfo], str | None]:
        request = KeyList(prefix=prefix, limit=_PAGE, after=after, namespace=namespace)
        page = self._api._call(request)  # noqa: SLF001 - a part of `Api`
        return page.keys, page.next_after


class Api(NotYet, ABC):
    """A memory. `namespace` None is the public one; every method raises `EngramError` subclasses and nothing else."""

    @abstractmethod
    def _call(self, request: Request[R]) -> R:
        """Carry out `request` and give its answer, or raise its error."""

    def _call_many(self, requests: Iterable[Request[R]]) -> Generator[R | EngramError]:
        """Carry out many requests; give each one's answer or error, in order."""
        for request in requests:
            try:
                yield self._call(request)
            except EngramError as error:
                yield error

    def _call_again(self, request: Events) -> EventsResult:
        """Carry out a request of a follower that has had an answer before: a client waits for its node to come back."""
        return self._call(request)

    # -- writing --

    def ingest(
        self,
        text: str,
        metadata: Metadata | None = None,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> str:
        """Keep a text; give its CID. The same text and metadata have the same CID, and are kept once.

        A text that is too long for one record, over 254 word pieces, is kept whole and found by its chunks; with
        `on_long="reject"` it raises `TooLarge`. Without `on_long` the node's setting says which: `"chunk"` at first.
        """
        return (self._put(make_item(text=text, metadata=metadata), namespace, model_version, on_long)).cid

    def put(
        self,
        text: str | None = None,
        metadata: Metadata | None = None,
        *,
        vector: VectorLike | None = None,
        key: str | None = None,
        expect: Expect = ANY,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> Kept:
        """Keep a text, a vector, or both; give its CID, its tokens, and the number of chunks of a long text.

        `key`: a name that stands for this memory from now on, in place of what it stood for. `expect`: the CID that
        the key must name until now, None for none at all; where it is otherwise nothing is kept, and `Conflict` is
        raised, whose `current` is what the key names. `vector` and `on_long` as in `ingest_embedding` and `ingest`.
        """
        item = make_item(text=text, vector=vector, metadata=metadata, key=key, expect=expect)
        return self._put(item, namespace, model_version, on_long)

    def ingest_embedding(
        self,
        vector: VectorLike,
        metadata: Metadata | None = None,
        *,
        text: str | None = None,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> str:
        """Keep a vector, with the text it stands for if there is one; give its CID. `on_long` as in `ingest`.

        `vector` is bytes of little-endian float32, a numpy array, or numbers; each is rounded to float32.
        """
        item = make_item(text=text, vector=vector, metadata=metadata)
        return (self._put(item, namespace, model_version, on_long)).cid

    def ingest_embeddings(
        self,
        vectors: Iterable[VectorLike],
        metadata: Sequence[Metadata | None] | None = None,
        *,
        namespace: str | None = None,
        model_version: str | None = None,
    ) -> builtins.list[Outcome]:
        """Keep many vectors: rows of a 2-d array or a list of vectors, and a list of metadata as long.

        Gives a CID, or the error, for each row, in order.
        """
        rows = builtins.list(many(vectors, "vectors"))
        if metadata is not None and len(metadata) != len(rows):
            raise BadRequest(f"metadata: {len(metadata)} for {len(rows)} vectors", field="metadata")
        beside: Sequence[Metadata | None] = [None] * len(rows) if metadata is None else metadata
        items = ({"vector": row, "metadata": found} for row, found in zip(rows, beside, strict=True))
        return self._ingest_all(items, namespace, model_version)

    def ingest_many(
        self,
        items: Iterable[str | Mapping[str, Any]],
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> builtins.list[Outcome]:
        """Keep many memories: texts, or dicts of `text`, `vector`, `metadata`, `key` and `expect`, cut into calls.

        Gives a CID, or the error, for each item, in order; no item's error is raised. `on_long` as in `ingest`.
        """
        return self._ingest_all(items, namespace, model_version, on_long)

    def batch_ingest_file(
        self,
        path: str | os.PathLike[str],
        namespace: str | None = None,
        progress: Callable[[int], object] | None = None,
        on_long: OnLong | None = None,
    ) -> builtins.list[Outcome]:
        """Keep every line of a JSON lines file; give a CID, or the error, for each line that is not blank.

        `progress` is called with the number of lines done so far. See `iter_ingest_file`.
        """
        results = []
        with closing(self.iter_ingest_file(path, namespace, on_long=on_long)) as done:
            for _, outcome in done:
                results.append(cid_or_error(outcome))
                if progress is not None:
                    progress(len(results))
        return results

    def iter_ingest_file(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> Generator[tuple[int, Kept | EngramError]]:
        """Keep every line of a file, each an object as in `ingest_many`; give (line, `Kept` or error) each.

        A line that cannot be used gives an error that says why, and the file goes on; blank lines are skipped. The
        file is read as its lines are sent, so it may be of any size. A line may say its `model_version`, which must be
        the call's (`v1` without one). `on_long` as in `ingest`. Raises `NotFound` for a missing file.
        """
        numbers: deque[int] = deque()

        def slots() -> Iterator[Slot]:
            for number, slot in read_slots(file, model_version):
                numbers.append(number)
                yield slot

        with open_lines(path) as file:
            cut = each_aside(batches(slots()))
            with closing(self._ingest(cut, namespace, model_version, on_long)) as done:
                for outcome in done:
                    number = numbers.popleft()
                    yield number, at_line(number, outcome) if isinstance(outcome, EngramError) else outcome

    def delete(self, cid: str, namespace: str | None = None, *, erase: bool = False) -> bool:
        """Delete a memory; give True. Raises `NotFound` if there is none of this CID in the namespace.

        A long text's chunks go with it; for one of them alone it raises `Unprocessable`. `erase`: overwrite its bytes
        too, also of one that was deleted before; then it gives whether they are gone, which they are not while another
        namespace or another key holds the same.
        """
        done = self._call(Delete(cid=cid, namespace=namespace, erase=erase))
        return done.erased if erase else True

    # -- reading --

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

    def reindex(self, namespace: str | None, into: str, model: str | None = None) -> Generator[Reindexed]:
        """Embed every text of a namespace again into another one, by another model; give what became of each memory.

        `into` is created where it is not there, bound to `model`: a name of the node's configuration, a model version,
        or None for the node's own. Nothing happens before the first is taken. The old namespace stays as it is. Batches
        may come into the new one in another order than they had. Done again after an interruption, it finds what is
        there already at once. It ends by raising `Unavailable` or `ModelNotReady` where the node or its model is gone;
        other errors are given, memory by memory.
        """
        return reindex(self._call, self._ingest, namespace, into, model)

    # -- proofs --

    def proof(self, cid: str | None = None, *, key: str | None = None, namespace: str | None = None) -> Proof:
        """Give the proof that a memory is held, or of what a key names: `engram.proofs` verifies it without the node.

        It is against a signed checkpoint that knows of what this client has written. Raises `NotFound` where there is
        no such memory or key; the operator, and who may challenge the node, get the proof that there is none.
        """
        return self._call(GetProof(cid=cid, key=key, namespace=namespace))

    def commitment(self) -> Commitment:
        """Give what the node stands by: its latest checkpoint that can be challenged, and the roots of its tries."""
        return self._call(GetCommitment())

    def consistency(self, first: int, second: int) -> builtins.list[bytes]:
        """Give the proof that the log of `second` events begins with all that it held when it had `first`.

        `engram.events.verify_consistency` verifies it with the roots that the checkpoints of these sizes sign.
        """
        return (self._call(GetConsistency(first=first, second=second))).path

    # -- the node --

    @property
    def namespaces(self) -> Namespaces:
        """Create, list and delete namespaces."""
        return Namespaces(self)

    @property
    def keys(self) -> Keys:
        """Get, list, set and delete keys."""
        return Keys(self)

    def history(self, key: str, namespace: str | None = None) -> builtins.list[KeyVersion]:
        """Give everything that a key has named, oldest first. Raises `NotFound` if it never named anything."""
        versions: builtins.list[KeyVersion] = []
        after: int | None = 0
        while after is not None:
            page = self._call(History(key=key, limit=_PAGE, after=after, namespace=namespace))
            versions += page.versions
            after = page.next_after
        return versions

    def events(
        self,
        since: int = 0,
        types: Iterable[str] | None = None,
        namespace: str | None = None,
        *,
        follow: bool = True,
    ) -> EventStream:
        """Give what happens, in the order of the node's log, from position `since` on.

        `types`: the events' types, such as `record_stored.1`; all without it. Whoever has had an event goes on with
        its `position` plus 1 as `since`, or with the iterator's `position`. It waits for what is to come, over lost
        connections and restarts of the node; with `follow=False` it ends where the log ended when it began.
        """
        named = None if types is None else builtins.list(many(types, "types"))
        request = Events(since=since, types=named, namespace=namespace)
        return EventStream(self._call, self._call_again, request, follow=follow)

    def call(self, request: Request[R]) -> R:
        """Carry out a request of `engram.wire` that has no method here, and give its answer. Raises its error."""
        return self._call(request)

    def ping(self) -> Pong:
        """Find out whether the memory answers, and nothing else. Raises `Unavailable` where there is none."""
        return self._call(Ping())

    def status(self) -> StatusResult:
        """Give what the memory is and holds."""
        return self._call(Status())

    def actors(self) -> ActorsResult:
        """Give how the actors of the memory are, and the latest messages that crashed one."""
        return self._call(Actors())

    def health(self) -> Health:
        """Give how the memory is, in short. Raises `Unavailable` where there is none."""
        status = self.status()
        ready = status.model.state == "ready"
        return Health(status="ok" if ready else "degraded", records=status.records, model=status.model.state)

    def is_online(self) -> bool:
        """Say whether the memory answers."""
        try:
            self.ping()
        except (Unavailable, DeadlineExceeded):
            return False
        except EngramError:
            return True
        return True

    # -- inside --

    def _put(self, item: Item, namespace: str | None, model_version: str | None, on_long: OnLong | None) -> Kept:
        put = Put(
            text=item.text,
            vector=item.vector,
            metadata=item.metadata,
            key=item.key,
            expect=item.expect,
            namespace=namespace,
            model_version=model_version,
            on_long=on_long,
        )
        return kept(self._call(put))

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

    def _ingest_all(
        self,
        items: Iterable[object],
        namespace: str | None,
        model_version: str | None,
        on_long: OnLong | None = None,
    ) -> builtins.list[Outcome]:
        done = self._ingest(each(batches(slots_of(items))), namespace, model_version, on_long)
        with closing(done):
            return [cid_or_error(outcome) for outcome in done]

    def _ingest(
        self,
        cut: Generator[builtins.list[Slot]],
        namespace: str | None,
        model_version: str | None,
        on_long: OnLong | None,
    ) -> Generator[Kept | EngramError]:
        """Send batches, several in flight; give the outcomes of their slots in order."""
        sent: deque[builtins.list[Slot]] = deque()

        def requests() -> Generator[PutMany]:
            for batch in cut:
                sent.append(batch)
                if items := [slot for slot in batch if isinstance(slot, Item)]:
                    yield PutMany(items=items, namespace=namespace, model_version=model_version, on_long=on_long)

        with closing(cut), closing(requests()) as asked, closing(self._call_many(asked)) as answers:
            for answer in answers:
                while True:
                    batch = sent.popleft()
                    yield from outcomes(batch, answer)
                    if any(isinstance(slot, Item) for slot in batch):
                        break
        for batch in sent:
            for slot in batch:
                if isinstance(slot, EngramError):
                    yield slot
