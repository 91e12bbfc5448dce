"""The Service: what every door and the embedded API call, so that a rule is written once.

It checks limits and rights, asks the embedder and the store, and answers in the Structs of `engram.wire`. A call here
comes from loopback or from the owner's own process, so it speaks with the node's key.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, cast

import msgspec
import trio

from engram import cid as cids
from engram import filter as filters
from engram import record
from engram.actors import CHUNK_TEXTS, Commit, EmbedTexts
from engram.errors import (
    BadRequest,
    Busy,
    Conflict,
    EngramError,
    NotFound,
    TooLarge,
    Unavailable,
    Unprocessable,
)
from engram.identity import PUBLIC_NAMESPACE, hello_message, namespace_id
from engram.limits import LIMITS
from engram.runtime import gather
from engram.store import PUBLIC, CreateOperation, DeleteOperation, Done, Namespace, PutOperation, View
from engram.wire import (
    METHODS,
    PROTOCOL,
    Delete,
    DeleteResult,
    Embed,
    EmbedResult,
    ErrorInfo,
    Get,
    Hello,
    HelloResult,
    Hit,
    Item,
    ItemResult,
    List,
    ListResult,
    NamespaceCreate,
    NamespaceInfo,
    NamespaceList,
    NamespaceListResult,
    Put,
    PutMany,
    PutManyResult,
    PutResult,
    Query,
    QueryResult,
    Record,
    Status,
    StatusResult,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from engram.actors import Model
    from engram.ports import Clock, Offload, Rng
    from engram.runtime import Ref
    from engram.store import Operation, Store
    from engram.wire import Answer, Request

_OTHERS = 100
_CATCH_UP_S = 5.0


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the Service is told at its start."""

    role: str
    version: str
    data_dir: Path
    write_queue_items: int
    embedding_threads: int
    wait_for_fetch_s: float = 0.0
    """How long a text waits for a model that is being fetched; a node says `model_not_ready` at once."""


class _Prepared(msgspec.Struct):
    """An item on its way: checked, then looked up, then embedded."""

    text: str | None
    vector: bytes | None
    metadata: bytes
    outcome: Done | EngramError | None = None
    digest: bytes | None = None
    operation: PutOperation | None = None


class NodeService:
    """The rules of a node, over its store and embedder."""

    def __init__(
        self,
        settings: ServiceSettings,
        store: Store,
        model: Model,
        store_ref: Ref,
        embedder_ref: Ref,
        offload: Offload,
        clock: Clock,
        rng: Rng,
    ) -> None:
        self._settings = settings
        self._store = store
        self._model = model
        self._store_ref = store_ref
        self._embedder_ref = embedder_ref
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._started = clock.monotonic()
        self._writing = 0
        self._calls: dict[type, Callable[[Any], Awaitable[Answer]]] = {
            Hello: self._hello,
            Put: self._put,
            PutMany: self._put_many,
            Delete: self._delete,
            Query: self._query,
            Get: self._get,
            List: self._list,
            Embed: self._embed,
            NamespaceCreate: self._namespace_create,
            NamespaceList: self._namespace_list,
            Status: self._status,
        }
        assert {request for request, _ in METHODS.values()} == set(self._calls)

    async def call(self, request: Request[Any]) -> Answer:
        """Carry out a request; raises the `EngramError` that its caller should see."""
        return await self._calls[type(request)](request)

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _put(self, request: Put) -> PutResult:
        item = Item(text=request.text, vector=request.vector, metadata=request.metadata)
        [prepared] = await self._put_items([item], request.namespace, request.model_version)
        if isinstance(prepared.outcome, EngramError):
            raise prepared.outcome
        assert prepared.outcome is not None
        assert prepared.digest is not None
        cid = cids.from_digest(prepared.digest)
        return PutResult(cid=cid, position=prepared.outcome.position, created=prepared.outcome.created)

    async def _put_many(self, request: PutMany) -> PutManyResult:
        if len(request.items) > LIMITS.batch_items:
            raise TooLarge(
                f"items: {len(request.items)} are over the limit of {LIMITS.batch_items} a batch", field="items"
            )
        done = await self._put_items(request.items, request.namespace, request.model_version)
        positions = [item.outcome.position for item in done if isinstance(item.outcome, Done)]
        return PutManyResult(items=[_item_result(item) for item in done], position=max(positions, default=0))

    async def _put_items(
        self, items: Sequence[Item], namespace: str | None, model_version: str | None
    ) -> list[_Prepared]:
        space = self._namespace(namespace)
        _check_binding(space, model_version)
        with _Admission(self, len(items)):
            prepared = [_prepare(item, space) for item in items]
            await self._look_up(prepared, space)
            await self._fill_vectors(prepared, space)
            await self._commit(prepared, space)
        return prepared

    async def _look_up(self, prepared: list[_Prepared], space: Namespace) -> None:
        texts = [item for item in prepared if item.outcome is None and item.text is not None and item.vector is None]
        if not texts:
            return

        def look_up() -> None:
            for item in texts:
                content = hashlib.sha256((item.text or "").encode()).digest()
                found = self._store.known(space.ns, self._store.key.public, content, item.metadata, space.model_version)
                if found:
                    item.digest, item.outcome = found[0], Done(found[1], created=False)

        await self._offload.run("search", look_up)

    async def _fill_vectors(self, prepared: list[_Prepared], space: Namespace) -> None:
        """Embed what has no vector; where a vector stands beside a text of ours, compare it with the embedding."""
        ours = space.model_version == PUBLIC.model_version
        wanted = [item for item in prepared if item.outcome is None and item.text is not None]
        if not ours:
            for item in wanted:
                if item.vector is None:
                    item.outcome = _needs_vector(space)
            return
        texts = list(dict.fromkeys(item.text for item in wanted if item.text is not None))
        vectors = dict(zip(texts, await self._embed_texts(texts), strict=True)) if texts else {}
        for item in wanted:
            assert item.text is not None
            embedded = vectors[item.text]
            if isinstance(embedded, EngramError):
                item.outcome = embedded
            elif item.vector is None:
                item.vector = embedded[0]
            elif item.vector != embedded[0]:
                item.outcome = Unprocessable(
                    f"vector: it is not the {space.model_version} embedding of the text beside it; leave it out, "
                    "or use a namespace of another model",
                    field="vector",
                )

    async def _embed_texts(self, texts: Sequence[str]) -> list[tuple[bytes, int] | EngramError]:
        try:
            await self._model.ready(wait_for_fetch_s=self._settings.wait_for_fetch_s)
        except EngramError as error:
            return [error] * len(texts)
        chunks = [list(texts[start : start + CHUNK_TEXTS]) for start in range(0, len(texts), CHUNK_TEXTS)]
        asks = [functools.partial(self._embedder_ref.ask, EmbedTexts(chunk)) for chunk in chunks]
        answers = await gather(asks, self._settings.embedding_threads)
        return [answer for part in answers for answer in part]

    async def _commit(self, prepared: list[_Prepared], space: Namespace) -> None:
        waiting = [item for item in prepared if item.outcome is None]
        for item in waiting:
            self._encode(item, space)
        operations = [item.operation for item in waiting if item.operation is not None]
        if not operations:
            return
        outcomes = iter(await self._write(list(operations)))
        for item in waiting:
            if item.operation is not None:
                item.outcome = next(outcomes)

    def _encode(self, item: _Prepared, space: Namespace) -> None:
        assert item.vector is not None
        try:
            if item.text is not None:
                digest, payload = record.encode_text(item.text, item.vector, item.metadata, space.model_version)
            else:
                digest, payload = record.encode_vector(item.vector, item.metadata, space.model_version)
        except EngramError as error:
            item.outcome = error
            return
        item.digest = digest
        item.operation = PutOperation(space.ns, digest, payload, self._store.key.public)

    async def _write(self, operations: list[Operation]) -> list[Done | EngramError]:
        return await self._store_ref.ask(Commit(operations))

    async def _delete(self, request: Delete) -> DeleteResult:
        space = self._namespace(request.namespace)
        digest = cids.digest_of(request.cid)
        [outcome] = await self._write([DeleteOperation(space.ns, digest, self._store.key.public)])
        if isinstance(outcome, EngramError):
            raise outcome
        return DeleteResult(cid=request.cid, position=outcome.position)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _query(self, request: Query) -> QueryResult:
        space = self._namespace(request.namespace)
        top_k = _within("top_k", request.top_k, 1, LIMITS.top_k)
        accept = _predicate(request.filter)
        vector = await self._query_vector(request, space)
        await self._wait_for(request.min_position)

        def search() -> QueryResult:
            found, position = self._store.search(space.ns, vector, top_k, accept)
            hits = [
                Hit(
                    cid=cids.from_digest(item.digest),
                    score=item.score,
                    metadata=record.decode_metadata(bytes(item.view.metadata)),
                    text=item.view.text,
                )
                for item in found
            ]
            return QueryResult(hits=hits, position=position)

        return await self._offload.run("search", search)

    async def _query_vector(self, request: Query, space: Namespace) -> bytes:
        if (request.text is None) == (request.vector is None):
            raise BadRequest("give either text or vector to query by", field="text")
        if request.vector is not None:
            return _vector(request.vector, space)
        text = _text(request.text or "")
        if space.model_version != PUBLIC.model_version:
            raise _needs_vector(space)
        [embedded] = await self._embed_texts([text])
        if isinstance(embedded, EngramError):
            raise embedded
        return embedded[0]

    async def _get(self, request: Get) -> Record:
        space = self._namespace(request.namespace)
        content = cids.content_of(request.cid)
        digest = cids.digest_of(request.cid) if content is None else None
        await self._wait_for(request.min_position)

        def get() -> Record:
            digests = [digest] if digest else self._store.with_content(space.ns, content or b"", _OTHERS + 1)
            view = self._store.get(space.ns, digests[0]) if digests else None
            if view is None:
                raise NotFound(f"no record {request.cid} in this namespace", field="cid")
            return _record(digests[0], view, include_vector=request.include_vector, others=digests[1:])

        return await self._offload.run("search", get)

    async def _list(self, request: List) -> ListResult:
        space = self._namespace(request.namespace)
        limit = _within("limit", request.limit, 1, LIMITS.list_limit)
        offset = _within("offset", request.offset, 0, 2**62)
        accept = _predicate(request.filter)
        await self._wait_for(request.min_position)

        def browse() -> ListResult:
            position = self._store.published.position
            found, more = self._store.browse(space.ns, accept, offset, limit)
            records = [_record(digest, view) for digest, view in found]
            return ListResult(records=records, position=position, next_offset=offset + limit if more else None)

        return await self._offload.run("search", browse)

    async def _embed(self, request: Embed) -> EmbedResult:
        if len(request.texts) > LIMITS.batch_items:
            raise TooLarge(
                f"texts: {len(request.texts)} are over the limit of {LIMITS.batch_items} a call", field="texts"
            )
        texts = [_text(text, f"texts[{index}]") for index, text in enumerate(request.texts)]
        vectors, tokens = [], []
        for index, embedded in enumerate(await self._embed_texts(texts)):
            if isinstance(embedded, EngramError):
                raise type(embedded)(
                    f"texts[{index}]: {embedded.message}", field="texts", retry_after_s=embedded.retry_after_s
                )
            vectors.append(embedded[0])
            tokens.append(embedded[1])
        return EmbedResult(vectors=vectors, tokens=tokens, model_version=PUBLIC.model_version, dim=PUBLIC.dim)

    async def _wait_for(self, position: int) -> None:
        """Wait until this node has folded up to `position`."""
        with trio.move_on_after(_CATCH_UP_S):
            while self._store.published.position < position:
                await self._clock.sleep(0.01)
            return
        raise Unavailable(
            f"this node's log has {self._store.published.position} events, and the call asks for {position} "
            "(min_position): is it another node, or one restored from an older backup?",
            field="min_position",
        )

    # -- namespaces, node ---------------------------------------------------------------------------------------------

    def _namespace(self, name: str | None) -> Namespace:
        if name is None or name == PUBLIC.name:
            return PUBLIC
        try:
            ns = namespace_id(self._store.key.public, name)
        except Unprocessable as error:
            message = error.message.removeprefix("name: ")
            raise Unprocessable(f"namespace: {message}", field="namespace") from None
        found = self._store.published.namespaces.get(ns)
        if found is None:
            raise NotFound(f"no namespace {name!r} here; create it first (namespace create)", field="namespace")
        return found

    async def _namespace_create(self, request: NamespaceCreate) -> NamespaceInfo:
        if request.name == PUBLIC.name:
            raise Conflict("the public namespace is always there; choose another name", field="name")
        ns = namespace_id(self._store.key.public, request.name)
        model_version, dim = _binding(request)
        operation = CreateOperation(self._store.key.public, request.name, model_version, dim)
        [outcome] = await self._write([operation])
        if isinstance(outcome, EngramError):
            raise outcome
        space = self._store.published.namespaces[ns]
        return await self._offload.run("search", functools.partial(self._info, space, outcome.position))

    async def _namespace_list(self, request: NamespaceList) -> NamespaceListResult:
        del request
        spaces = sorted(self._store.published.namespaces.values(), key=lambda space: (space.position, space.name))
        spaces = [space for space in spaces if space.owner in (None, self._store.key.public)]

        def infos() -> list[NamespaceInfo]:
            return [self._info(space, space.position) for space in spaces]

        return NamespaceListResult(namespaces=await self._offload.run("search", infos))

    def _info(self, space: Namespace, position: int) -> NamespaceInfo:
        return NamespaceInfo(
            name=space.name,
            id=space.ns.hex(),
            owner=None if space.ns == PUBLIC_NAMESPACE else self._store.key.address,
            model_version=space.model_version,
            dim=space.dim,
            records=self._store.count(space.ns),
            position=position,
        )

    async def _status(self, request: Status) -> StatusResult:
        del request
        published = self._store.published

        def look() -> tuple[int, int, int]:
            return self._store.count(), *self._store.sizes()

        records, log_bytes, bodies_bytes = await self._offload.run("search", look)
        return StatusResult(
            version=self._settings.version,
            role=self._settings.role,
            node_key=self._store.key.address,
            records=records,
            namespaces=len(published.namespaces),
            position=published.position,
            log_root=published.root.hex(),
            model=self._model.status,
            uptime_s=self._clock.monotonic() - self._started,
            data_dir=str(self._settings.data_dir.absolute()),
            log_bytes=log_bytes,
            bodies_bytes=bodies_bytes,
            queue_length=self._writing,
        )

    async def _hello(self, request: Hello) -> HelloResult:
        if request.protocol != PROTOCOL:
            raise BadRequest(f"protocol: this node speaks {PROTOCOL}, not {request.protocol}", field="protocol")
        for field, value in (("nonce", request.nonce), ("node_key", request.node_key)):
            if value is not None and len(value) != 32:
                raise BadRequest(f"{field}: {len(value)} bytes; it has 32", field=field)
        nonce = self._rng.bytes(32)
        key = self._store.key
        message = hello_message(1, request.nonce, nonce, None, key.public, request.node_key)
        return HelloResult(
            protocol=PROTOCOL,
            agent=f"engram-node/{self._settings.version}",
            nonce=nonce,
            node_key=key.public,
            role=self._settings.role,
            model_version=PUBLIC.model_version,
            limits=cast("dict[str, int]", msgspec.to_builtins(LIMITS)),
            methods=sorted(METHODS),
            log_size=self._store.published.position,
            signature=key.sign(message),
        )


class _Admission:
    """Counts the items that are being written, and refuses those over the bound."""

    def __init__(self, service: NodeService, items: int) -> None:
        self._service = service
        self._items = items

    def __enter__(self) -> None:
        service, limit = self._service, self._service._settings.write_queue_items  # noqa: SLF001
        waiting = service._writing  # noqa: SLF001
        if waiting and waiting + self._items > limit:
            raise Busy(
                f"{waiting} memories wait to be written; with {self._items} more the limit of {limit} is passed",
                retry_after_s=0.5,
            )
        service._writing += self._items  # noqa: SLF001

    def __exit__(self, *_: object) -> None:
        self._service._writing -= self._items  # noqa: SLF001


def _prepare(item: Item, space: Namespace) -> _Prepared:
    prepared = _Prepared(item.text, None, b"")
    try:
        if item.text is None and item.vector is None:
            raise BadRequest("give a text, a vector, or both", field="text")
        if item.text is not None:
            _text(item.text)
        if item.vector is not None:
            prepared.vector = _vector(item.vector, space)
        prepared.metadata = record.canonical_metadata(item.metadata)
    except EngramError as error:
        prepared.outcome = error
    return prepared


def _text(text: str, field: str = "text") -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"{field}: an unpaired surrogate at character {error.start}; it is not Unicode text", field=field
        ) from None
    if not text.strip():
        raise Unprocessable(f"{field}: it is empty, so there is nothing to remember or to look for", field=field)
    if size > LIMITS.text_bytes:
        raise TooLarge(f"{field}: {size} bytes are over the limit of {LIMITS.text_bytes}; split it", field=field)
    return text


def _vector(vector: bytes | list[float], space: Namespace) -> bytes:
    stored = record.stored_vector(vector)
    if len(stored) != 4 * space.dim:
        raise Unprocessable(
            f"vector: {len(stored) // 4} numbers, and the namespace {space.name!r} has dim {space.dim}", field="vector"
        )
    return stored


def _within(field: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise Unprocessable(f"{field}: {value} is not between {least} and {most}", field=field)
    return value


def _predicate(spec: str | dict[str, Any] | None) -> Callable[[dict[str, Any]], bool] | None:
    parsed = filters.parse(spec)
    return None if parsed is None else filters.compile(parsed)


def _needs_vector(space: Namespace) -> Unprocessable:
    return Unprocessable(
        f"the namespace {space.name!r} is of the model {space.model_version}, which this node does not run: "
        "give the vector",
        field="vector",
    )


def _check_binding(space: Namespace, model_version: str | None) -> None:
    if model_version is not None and model_version != space.model_version:
        raise Unprocessable(
            f"model_version: {model_version!r:.80}, and the namespace {space.name!r} is bound to "
            f"{space.model_version!r}",
            field="model_version",
        )


def _binding(request: NamespaceCreate) -> tuple[str, int]:
    """Give the (model_version, dim) that a new namespace is bound to."""
    model_version, dim = request.model_version, request.dim
    if model_version is None:
        if dim not in (None, PUBLIC.dim):
            raise Unprocessable(
                f"dim: {dim} is not that of this node's own model ({PUBLIC.dim}); name the model that the vectors are "
                "of (model_version), since vectors of different models do not compare",
                field="model_version",
            )
        return PUBLIC.model_version, PUBLIC.dim
    record.check_model_version(model_version)
    if model_version == PUBLIC.model_version:
        dim = PUBLIC.dim if dim is None else dim
        if dim != PUBLIC.dim:
            raise Unprocessable(f"dim: {model_version} has {PUBLIC.dim} dimensions, not {dim}", field="dim")
    elif model_version.partition("/")[0] in {"v1", "sealed"}:
        raise Unprocessable(
            f"model_version: {model_version!r} is a name that Engram keeps for itself", field="model_version"
        )
    if dim is None:
        raise Unprocessable(f"dim: say how many dimensions {model_version} has", field="dim")
    return model_version, _within("dim", dim, 1, LIMITS.dim)


def _item_result(item: _Prepared) -> ItemResult:
    if isinstance(item.outcome, EngramError):
        error = item.outcome
        info = ErrorInfo(code=error.code, message=error.message, field=error.field, retry_after_s=error.retry_after_s)
        return ItemResult(error=info)
    assert item.outcome is not None
    assert item.digest is not None
    return ItemResult(cid=cids.from_digest(item.digest), created=item.outcome.created)


def _record(digest: bytes, view: View, *, include_vector: bool = False, others: Sequence[bytes] = ()) -> Record:
    content = bytes(view.content)
    return Record(
        cid=cids.from_digest(digest),
        content_cid=cids.content_cid(content) if any(content) else None,
        text=view.text,
        metadata=record.decode_metadata(bytes(view.metadata)),
        model_version=view.model_version,
        dim=view.dim,
        vector=bytes(view.embedding) if include_vector else None,
        others=[cids.from_digest(other) for other in others],
    )
