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
from engram.embed import same_model
from engram.errors import BadRequest, Conflict, EngramError, NotFound, TooLarge, Unavailable
from engram.identity import hello_message, namespace_id
from engram.limits import LIMITS
from engram.node._checks import (
    Prepared,
    binding_of,
    check_binding,
    checked_text,
    item_result,
    put_result,
)
from engram.node._disk_status import scrub_status
from engram.node._reads import Reads
from engram.node._writing import Writer
from engram.store import PUBLIC, CreateOperation, DeleteOperation, Done
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
    from engram.node._reads import Search
    from engram.ports import Clock, Offload, Rng
    from engram.runtime import Message, Ref, Tail
    from engram.store import Count, RecallCheck, Scrub, Store
    from engram.wire import ActorsResult, Answer, IndexStatus, OnLong, Request

R = TypeVar("R")

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
        tail: Tail,
        offload: Offload,
        clock: Clock,
        rng: Rng,
        actors: Callable[[], ActorsResult],
        recall: RecallCheck,
        scrub: Scrub | None = None,
    ) -> None:
        """`actors`: says how the actors are."""
        self._settings = settings
        self.reads = Reads(store, recall)
        """What needs no loop: an embedded memory calls it in its caller's thread."""
        self._store = store
        self._tail = tail
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

    async def call(self, request: Request[Any]) -> Answer:
        """Carry out a request; raises the `EngramError` that its caller should see."""
        return await self._calls[type(request)](request)

    def answer_now(self, request: Request[Any]) -> Answer | None:
        """Answer a query by vector that the planner expects to be quick; None for what is to wait or to take longer."""
        if type(request) is not Query or request.vector is None or request.min_position > self.reads.position:
            return None
        search = self.reads.query(request)
        if search.vector is None or not self.reads.is_quick(search):
            return None
        return self.reads.search(search, search.vector)

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
        space = self.reads.namespace(request.namespace)
        check_binding(space, request.model_version)
        return await self._writer.put(items, space, request.on_long or self._settings.on_long)

    async def _delete(self, request: Delete) -> DeleteResult:
        space = self.reads.namespace(request.namespace)
        digest = cids.digest_of(request.cid)
        [outcome] = await self._writer.write([DeleteOperation(space.ns, digest, self._store.key.public)])
        if isinstance(outcome, EngramError):
            raise outcome
        return DeleteResult(cid=request.cid, position=outcome.position)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _query(self, request: Query) -> QueryResult:
        search = self.reads.query(request)
        vector = await self.vector_of(search)
        await self.reach(request.min_position)
        if self.reads.is_quick(search):
            return self.reads.search(search, vector)
        return await self._offload.run("search", functools.partial(self.reads.search, search, vector))

    async def vector_of(self, search: Search) -> bytes:
        """Give the vector to search by: the query's own, or that of its text."""
        return search.vector or await self._models.ask(search.space, search.text)

    async def _get(self, request: Get) -> Record:
        get = self.reads.get(request)
        await self.reach(request.min_position)
        return await self._offload.run("search", get)

    async def _list(self, request: List) -> ListResult:
        browse = self.reads.list(request)
        await self.reach(request.min_position)
        return await self._offload.run("search", browse)

    async def reach(self, position: int) -> None:
        """Wait until reads see `position` events of the log. `Unavailable` where they do not in a few seconds."""
        if self.reads.position >= position:
            return
        with trio.move_on_after(_CATCH_UP_S):
            while self.reads.position < position:
                await self._tail.grown()
            return
        raise Unavailable(
            f"this node's log has {self.reads.position} events, and the call asks for {position} "
            "(min_position): is it another node, or one restored from an older backup?",
            field="min_position",
        )

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

    # -- namespaces, node ---------------------------------------------------------------------------------------------

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
        return await self._offload.run("search", functools.partial(self.reads.info, space, outcome.position))

    async def _namespace_list(self, request: NamespaceList) -> NamespaceListResult:
        del request
        return await self._offload.run("search", self.reads.namespaces())

    async def _status(self, request: Status) -> StatusResult:
        del request
        published = self._store.published

        def look() -> tuple[Count, int, int, IndexStatus]:
            return self._store.tally(), *self._store.sizes(), self.reads.index_status()

        count, log_bytes, bodies_bytes, index = await self._offload.run("search", look)
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
            index=index,
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
