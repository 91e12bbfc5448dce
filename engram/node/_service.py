"""The Service: what every door and the embedded API call, so that a rule is written once.

It checks limits and rights, asks the embedder and the store, and answers in the Structs of `engram.wire`. A call here
comes from loopback or from the owner's own process, so it speaks with the node's key.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import trio

from engram import cid as cids
from engram import filter as filters
from engram.documents import role_of
from engram.embed import same_model
from engram.errors import BadRequest, Conflict, EngramError, NotFound, TooLarge, Unavailable, Unprocessable
from engram.identity import PUBLIC_NAMESPACE, hello_message, namespace_id
from engram.limits import LIMITS
from engram.node._checks import (
    Prepared,
    binding_of,
    check_binding,
    checked_text,
    checked_vector,
    hit_of,
    item_result,
    predicate,
    put_result,
    record_answer,
    within,
)
from engram.node._disk_status import scrub_status
from engram.node._writing import Writer
from engram.store import PUBLIC, CreateOperation, DeleteOperation, Done, Namespace
from engram.wire import (
    METHODS,
    PROTOCOL,
    Actors,
    Delete,
    DeleteResult,
    Embed,
    EmbedResult,
    Get,
    Hello,
    HelloResult,
    Item,
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
    from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
    from pathlib import Path

    from engram.node._models import Models
    from engram.ports import Clock, Offload, Rng
    from engram.runtime import Message, Ref
    from engram.store import Count, Scrub, Store, View
    from engram.wire import ActorsResult, Answer, OnLong, Request

R = TypeVar("R")

_OTHERS = 100
_PAGE_BYTES = LIMITS.message_bytes // 2
_CATCH_UP_S = 5.0


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the Service is told at its start."""

    role: str
    version: str
    data_dir: Path
    write_queue_items: int
    on_long: OnLong = "chunk"
    """What becomes of a text that is too long for one record, where the caller does not say."""


class NodeService:
    """The rules of a node, over its store and embedder."""

    def __init__(
        self,
        settings: ServiceSettings,
        store: Store,
        models: Models,
        store_ref: Ref,
        offload: Offload,
        clock: Clock,
        rng: Rng,
        actors: Callable[[], ActorsResult],
        scrub: Scrub | None = None,
    ) -> None:
        """`actors`: says how the actors are."""
        self._settings = settings
        self._store = store
        self._models = models
        self._writer = Writer(store, store_ref, models, offload, settings.write_queue_items)
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._actors_now = actors
        self._scrub = scrub
        self._started = clock.monotonic()
        self.plugins: Mapping[str, Ref] = {}
        """The actors of one's own, by name, once they have been started."""
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
            Actors: self._actors,
        }
        assert {request for request, _ in METHODS.values()} == set(self._calls)

    async def call(self, request: Request[Any]) -> Answer:
        """Carry out a request; raises the `EngramError` that its caller should see."""
        return await self._calls[type(request)](request)

    async def ask(self, actor: str, message: Message[R]) -> R:
        """Ask a plug-in, by its name; for who has its messages, which are types of Python's."""
        ref = self.plugins.get(actor)
        if ref is None:
            known = ", ".join(self.plugins) or "none"
            raise NotFound(f"actor: there is no plug-in {actor!r:.80} here; there are: {known}", field="actor")
        return await ref.ask(message)

    # -- writing ------------------------------------------------------------------------------------------------------

    def together(self, request: Request[Any]) -> Hashable:
        """Put vectors into one namespace in one go: they wait for nothing but the disk."""
        if type(request) is Put and request.text is None:
            return request.namespace, request.model_version
        return None

    async def call_together(self, requests: Sequence[Request[Any]]) -> list[PutResult | EngramError]:
        """Carry out puts of which `together` says the same."""
        puts = [request for request in requests if isinstance(request, Put)]
        assert len(puts) == len(requests)
        items = [Item(vector=put.vector, metadata=put.metadata) for put in puts]
        return [put_result(prepared) for prepared in await self._keep(items, puts[0])]

    async def _put(self, request: Put) -> PutResult:
        item = Item(text=request.text, vector=request.vector, metadata=request.metadata)
        [prepared] = await self._keep([item], request)
        result = put_result(prepared)
        if isinstance(result, EngramError):
            raise result
        return result

    async def _put_many(self, request: PutMany) -> PutManyResult:
        if len(request.items) > LIMITS.batch_items:
            raise TooLarge(
                f"items: {len(request.items)} are over the limit of {LIMITS.batch_items} a batch", field="items"
            )
        done = await self._keep(request.items, request)
        positions = [item.outcome.position for item in done if isinstance(item.outcome, Done)]
        return PutManyResult(items=[item_result(item) for item in done], position=max(positions, default=0))

    async def _keep(self, items: Sequence[Item], request: Put | PutMany) -> list[Prepared]:
        space = self._namespace(request.namespace)
        check_binding(space, request.model_version)
        return await self._writer.put(items, space, request.on_long or self._settings.on_long)

    async def _delete(self, request: Delete) -> DeleteResult:
        space = self._namespace(request.namespace)
        digest = cids.digest_of(request.cid)
        [outcome] = await self._writer.write([DeleteOperation(space.ns, digest, self._store.key.public)])
        if isinstance(outcome, EngramError):
            raise outcome
        return DeleteResult(cid=request.cid, position=outcome.position)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _query(self, request: Query) -> QueryResult:
        space = self._namespace(request.namespace)
        top_k = within("top_k", request.top_k, 1, LIMITS.top_k)
        tree = filters.parse(request.filter)
        vector = await self._query_vector(request, space)
        await self._wait_for(request.min_position)

        def search() -> QueryResult:
            answer = self._store.search(space.ns, vector, top_k, tree)
            return QueryResult(hits=[hit_of(item) for item in answer.found], position=answer.position)

        return await self._offload.run("search", search)

    async def _query_vector(self, request: Query, space: Namespace) -> bytes:
        if (request.text is None) == (request.vector is None):
            raise BadRequest("give either text or vector to query by", field="text")
        if request.vector is not None:
            return checked_vector(request.vector, space)
        return await self._models.ask(space, checked_text(request.text or ""))

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
            chunks = self._chunks(space, digests[0], view)
            return record_answer(digests[0], view, chunks, include_vector=request.include_vector, others=digests[1:])

        return await self._offload.run("search", get)

    async def _list(self, request: List) -> ListResult:
        space = self._namespace(request.namespace)
        limit = within("limit", request.limit, 1, LIMITS.list_limit)
        offset = within("offset", request.offset, 0, 2**62)
        after = within("after", request.after, 0, 2**62)
        accept = predicate(request.filter)
        await self._wait_for(request.min_position)

        def browse() -> ListResult:
            position = self._store.published.position
            found, more_after = self._store.browse(
                space.ns, accept, offset, limit, chunks=request.chunks, page_bytes=_PAGE_BYTES, after=after
            )
            records = [record_answer(digest, view, self._chunks(space, digest, view)) for digest, view in found]
            more_offset = None if more_after is None else offset + len(found)
            return ListResult(records=records, position=position, next_offset=more_offset, next_after=more_after)

        return await self._offload.run("search", browse)

    def _chunks(self, space: Namespace, digest: bytes, view: View) -> int:
        """Count a document's chunks; nothing is asked for any other record, which has none."""
        return self._store.chunks(space.ns, digest) if role_of(bytes(view.metadata)).document else 0

    async def _embed(self, request: Embed) -> EmbedResult:
        if len(request.texts) > LIMITS.batch_items:
            raise TooLarge(
                f"texts: {len(request.texts)} are over the limit of {LIMITS.batch_items} a call", field="texts"
            )
        texts = [checked_text(text, f"texts[{index}]") for index, text in enumerate(request.texts)]
        served = await self._models.named(request.model)
        vectors, tokens = [], []
        for index, embedded in enumerate(await served.bulk.embed(texts)):
            if isinstance(embedded, EngramError):
                raise type(embedded)(
                    f"texts[{index}]: {embedded.message}", field="texts", retry_after_s=embedded.retry_after_s
                )
            vectors.append(embedded[0])
            tokens.append(embedded[1])
        status = served.model.status
        return EmbedResult(vectors=vectors, tokens=tokens, model_version=status.model_version, dim=status.dim)

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
        embedder = await self._models.binding(request.model_version) if request.model_version else None
        model_version, dim = binding_of(request, embedder)
        there = self._store.published.namespaces.get(ns)
        if there is not None and same_model(there.model_version, model_version):
            model_version = there.model_version  # the folder or address of a model may be called otherwise since
        operation = CreateOperation(self._store.key.public, request.name, model_version, dim)
        [outcome] = await self._writer.write([operation])
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
        count = self._store.tally(space.ns)
        return NamespaceInfo(
            name=space.name,
            id=space.ns.hex(),
            owner=None if space.ns == PUBLIC_NAMESPACE else self._store.key.address,
            model_version=space.model_version,
            dim=space.dim,
            records=count.records,
            chunks=count.chunks,
            position=position,
        )

    async def _status(self, request: Status) -> StatusResult:
        del request
        published = self._store.published

        def look() -> tuple[Count, int, int]:
            return self._store.tally(), *self._store.sizes()

        count, log_bytes, bodies_bytes = await self._offload.run("search", look)
        return StatusResult(
            version=self._settings.version,
            role=self._settings.role,
            node_key=self._store.key.address,
            records=count.records,
            chunks=count.chunks,
            namespaces=len(published.namespaces),
            position=published.position,
            log_root=published.root.hex(),
            model=self._models.own.model.status,
            models=self._models.statuses,
            uptime_s=self._clock.monotonic() - self._started,
            data_dir=str(self._settings.data_dir.absolute()),
            log_bytes=log_bytes,
            bodies_bytes=bodies_bytes,
            queue_length=self._writer.waiting,
            scrub=scrub_status(self._scrub.place if self._scrub is not None else None),
        )

    async def _actors(self, request: Actors) -> ActorsResult:
        del request
        return self._actors_now()

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
