"""The Service: what every door and the embedded API call, so that a rule is written once.

It checks limits and rights, asks the embedder and the store, and answers in the Structs of `engram.wire`. Who calls is
for the doors to find out: what comes from loopback, or from the owner's own process, speaks with the node's key.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import trio

from engram import cid as cids
from engram.errors import BadRequest, EngramError, ModelNotReady, NotFound, TooLarge, Unavailable
from engram.identity import OPERATOR, hello_message
from engram.limits import LIMITS
from engram.node._checks import (
    Prepared,
    check_binding,
    checked_key,
    checked_text,
    expected,
    item_result,
    put_result,
    receipt_of,
)
from engram.node._disk_status import scrub_status
from engram.node._facts import Facts
from engram.node._legacy_tree import LegacyCommitments
from engram.node._namespaces import Namespaces
from engram.node._proving import Proving
from engram.node._reads import Reads
from engram.node._rights import Rights
from engram.node._writing import Writer
from engram.store import PUBLIC, DeleteOperation, Done, KeyOperation
from engram.wire import (
    METHODS,
    PROTOCOL,
    Actors,
    Challenge,
    ChallengeAnswer,
    ChallengePayloads,
    ChallengeStatus,
    ChallengeV1,
    ChallengeV1Result,
    Delete,
    DeleteResult,
    Embed,
    EmbedResult,
    Events,
    Get,
    GetCommitment,
    GetConsistency,
    GetProof,
    Hello,
    HelloResult,
    History,
    HistoryResult,
    Item,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyListResult,
    KeyRecord,
    KeyResult,
    KeySet,
    List,
    ListResult,
    NamespaceCreate,
    NamespaceDelete,
    NamespaceList,
    Ping,
    Pong,
    Prove,
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

    from engram.actors import Tally
    from engram.identity import Caller
    from engram.node._models import Models
    from engram.node._reads import Search
    from engram.ports import Clock, Offload, Rng
    from engram.runtime import Message, Ref, Tail
    from engram.store import Count, RecallCheck, Scrub, Store
    from engram.wire import ActorsResult, Answer, IndexStatus, ModelStatus, OnLong, Request

A = TypeVar("A", bound="Answer")
R = TypeVar("R")

_CATCH_UP_S = 5.0
_PONG = Pong()
_NOT_READY = "the embedding model is not ready; vectors work meanwhile"
"""What strangers are told of a model: why it is not says where its files are, and whom the node asks."""


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the Service is told at its start."""

    role: str
    version: str
    data_dir: Path
    write_queue_items: int
    on_long: OnLong = "chunk"
    """What becomes of a text that is too long for one record, where the caller does not say."""
    challengers: frozenset[bytes] = frozenset()
    """The keys that may challenge this node, beside its own."""


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
        prover: Ref,
        tally: Tally,
        scrub: Scrub | None = None,
    ) -> None:
        """`actors`: says how the actors are. `tally`: what became of challenges, as the prover counts."""
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
        self._stranger = trio.Semaphore(1)
        self.legacy = LegacyCommitments(store, offload, clock)
        self.plugins: Mapping[str, Ref] = {}
        """The actors of one's own, by name, once they have been started."""
        self._rights = Rights(store.key.public)
        self._facts = Facts(store, self.reads, self._rights, tail, offload)
        self._namespaces = Namespaces(store, self.reads, self._rights, models, offload, self._writer, self._beside)
        self._tally = tally
        self._proving = Proving(
            store,
            self.reads,
            self._rights,
            clock,
            offload,
            store_ref,
            prover,
            settings.challengers,
            self._beside,
            self.reach,
        )
        self._calls: dict[type, Callable[[Any, Caller], Awaitable[Answer]]] = {
            Ping: self._ping,
            Hello: self._hello,
            Put: self._put,
            PutMany: self._put_many,
            Delete: self._delete,
            Query: self._query,
            Get: self._get,
            List: self._list,
            Embed: self._embed,
            KeySet: self._key_set,
            KeyDelete: self._key_delete,
            KeyGet: self._key_get,
            KeyList: self._key_list,
            History: self._history,
            Events: self._facts.events,
            GetProof: self._proving.proof,
            GetCommitment: self._proving.commitment,
            GetConsistency: self._proving.consistency,
            Challenge: self._proving.challenge,
            ChallengeAnswer: self._proving.answer,
            ChallengePayloads: self._proving.payloads,
            ChallengeV1: self._challenge_v1,
            NamespaceCreate: self._namespaces.create,
            NamespaceList: self._namespaces.list,
            NamespaceDelete: self._namespaces.delete,
            Status: self._status,
            Actors: self._actors,
        }
        assert {request for request, _ in METHODS.values()} == {*self._calls, Prove}  # a connection's own business

    async def call(self, request: Request[Any], caller: Caller = OPERATOR) -> Answer:
        """Carry out a request; raises the `EngramError` that its caller should see."""
        try:
            return await self._calls[type(request)](request, caller)
        except ModelNotReady as error:
            if caller.operator:
                raise
            raise ModelNotReady(_NOT_READY, field=error.field, retry_after_s=error.retry_after_s) from None

    def answer_now(self, request: Request[Any], caller: Caller = OPERATOR) -> Answer | None:
        """Answer a ping, or a query by vector that the planner expects to be quick.

        None for what is to wait or to take longer.
        """
        if type(request) is Ping:
            return _PONG
        if type(request) is not Query or request.vector is None or request.min_position > self.reads.position:
            return None
        search = self.reads.query(request, caller)
        if search.vector is None or not self.reads.is_quick(search):
            return None
        return self.reads.search(search, search.vector)

    def stop_waiting(self) -> None:
        """Have no call wait for what may happen: the node is about to stop."""
        self._facts.end()

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

    async def call_together(
        self, requests: Sequence[Request[Any]], caller: Caller = OPERATOR
    ) -> list[PutResult | EngramError]:
        """Carry out puts of which `together` says the same."""
        puts = [request for request in requests if isinstance(request, Put)]
        assert len(puts) == len(requests)
        return [put_result(prepared) for prepared in await self._keep([_item(put) for put in puts], puts[0], caller)]

    async def _put(self, request: Put, caller: Caller) -> PutResult:
        [prepared] = await self._keep([_item(request)], request, caller)
        result = put_result(prepared)
        if isinstance(result, EngramError):
            raise result
        return result

    async def _put_many(self, request: PutMany, caller: Caller) -> PutManyResult:
        if len(request.items) > LIMITS.batch_items:
            raise TooLarge(
                f"items: {len(request.items)} are over the limit of {LIMITS.batch_items} a batch", field="items"
            )
        done = await self._keep(request.items, request, caller)
        positions = [item.outcome.position for item in done if isinstance(item.outcome, Done)]
        return PutManyResult(items=[item_result(item) for item in done], position=max(positions, default=0))

    async def _keep(self, items: Sequence[Item], request: Put | PutMany, caller: Caller) -> list[Prepared]:
        space = self.reads.namespace(request.namespace, caller)
        signer = self._rights.signer(caller)
        check_binding(space, request.model_version)
        if any(item.key is not None for item in items):
            self._rights.check_keys(caller, space)
        return await self._writer.put(items, space, request.on_long or self._settings.on_long, signer)

    async def _delete(self, request: Delete, caller: Caller) -> DeleteResult:
        space = self.reads.namespace(request.namespace, caller)
        signer = self._rights.signer(caller)
        digest = cids.digest_of(request.cid)
        delete = DeleteOperation(space.ns, digest, None if caller.operator else signer, request.erase)
        done = await self._writer.write_one(delete)
        with contextlib.suppress(NotFound):  # the rest has ended meanwhile
            while not done.whole:
                done = await self._writer.write_one(delete)
        erased = request.erase and (done.erased or not await self._is_held(digest, caller))
        return DeleteResult(cid=request.cid, position=done.position, erased=erased, receipt=receipt_of(done))

    async def _is_held(self, digest: bytes, caller: Caller) -> bool:
        """Say whether a record lives, as far as a caller may know: what others' namespaces hold is not told."""
        seen = [space.ns for space in self._store.published.namespaces.values() if self._rights.sees(caller, space)]
        return await self._offload.run("search", functools.partial(self._store.lives_in, digest, seen))

    async def _key_set(self, request: KeySet, caller: Caller) -> KeyResult:
        digest = cids.digest_of(request.cid)
        done = await self._writer.write_one(self._naming(request, digest, caller))
        return _key_result(request, request.cid, done)

    async def _key_delete(self, request: KeyDelete, caller: Caller) -> KeyResult:
        done = await self._writer.write_one(self._naming(request, None, caller))
        return _key_result(request, None, done)

    def _naming(self, request: KeySet | KeyDelete, digest: bytes | None, caller: Caller) -> KeyOperation:
        space = self.reads.namespace(request.namespace, caller)
        signer = self._rights.signer(caller)
        self._rights.check_keys(caller, space)
        return KeyOperation(space.ns, checked_key(request.key), digest, signer, expected(request.expect))

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _query(self, request: Query, caller: Caller) -> QueryResult:
        search = self.reads.query(request, caller)
        vector = await self.vector_of(search)
        await self.reach(request.min_position)
        if self.reads.is_quick(search):
            return self.reads.search(search, vector)
        return await self._beside(functools.partial(self.reads.search, search, vector), caller)

    async def vector_of(self, search: Search) -> bytes:
        """Give the vector to search by: the query's own, or that of its text."""
        return search.vector or await self._models.ask(search.space, search.text)

    async def _get(self, request: Get, caller: Caller) -> Record:
        return await self._read(self.reads.get(request, caller), request.min_position, caller)

    async def _list(self, request: List, caller: Caller) -> ListResult:
        return await self._read(self.reads.list(request, caller), request.min_position, caller)

    async def _key_get(self, request: KeyGet, caller: Caller) -> KeyRecord:
        return await self._read(self.reads.key_get(request, caller), request.min_position, caller)

    async def _key_list(self, request: KeyList, caller: Caller) -> KeyListResult:
        return await self._read(self.reads.key_list(request, caller), request.min_position, caller)

    async def _history(self, request: History, caller: Caller) -> HistoryResult:
        return await self._read(self.reads.history(request, caller), request.min_position, caller)

    async def _challenge_v1(self, request: ChallengeV1, caller: Caller) -> ChallengeV1Result:
        return await self._beside(self.reads.challenge_v1(request, caller), caller)

    async def _read(self, read: Callable[[], A], position: int, caller: Caller) -> A:
        await self.reach(position)
        return await self._beside(read, caller)

    async def _beside(self, read: Callable[[], R], caller: Caller) -> R:
        """Read on the thread for it. The operator waits there for one stranger at most, who may ask for a long walk."""
        if caller.operator:
            return await self._offload.run("search", read)
        async with self._stranger:
            return await self._offload.run("search", read)

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

    async def _embed(self, request: Embed, caller: Caller) -> EmbedResult:
        self._rights.signer(caller)  # it costs much, and strangers get it for nothing else
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

    # -- the node ------------------------------------------------------------------------------------------------------

    async def _status(self, request: Status, caller: Caller) -> StatusResult:
        del request
        published = self._store.published
        spaces = published.namespaces.values()

        def look() -> tuple[Count, int, int, IndexStatus]:
            return self._store.tally(), *self._store.sizes(), self.reads.index_status()

        count, log_bytes, bodies_bytes, index = await self._beside(look, caller)
        return StatusResult(
            version=self._settings.version,
            role=self._settings.role,
            node_key=self._store.key.address,
            records=count.records,
            chunks=count.chunks,
            namespaces=sum(caller.operator or self._rights.sees(caller, space) for space in spaces),
            position=published.position,
            log_root=published.root.hex(),
            model=_shown(self._models.own.model.status, caller),
            models=[_shown(status, caller) for status in self._models.statuses],
            uptime_s=self._clock.monotonic() - self._started,
            data_dir=str(self._settings.data_dir.absolute()) if caller.operator else "",
            log_bytes=log_bytes,
            bodies_bytes=bodies_bytes,
            queue_length=self._writer.waiting,
            scrub=scrub_status(self._scrub.place if self._scrub is not None else None),
            index=index,
            challenges=ChallengeStatus(
                answered=self._tally.answered,
                shown=self._tally.shown,
                missing=self._tally.missing,
                refused=self._tally.refused,
            ),
        )

    async def _actors(self, request: Actors, caller: Caller) -> ActorsResult:
        del request
        self._rights.check_operator(caller, "actors")
        return self._actors_now()

    async def _ping(self, request: Ping, caller: Caller) -> Pong:
        del request, caller
        return _PONG

    async def _hello(self, request: Hello, caller: Caller) -> HelloResult:
        del caller
        return self.hello(request, None)

    def hello(self, request: Hello, certificate: bytes | None) -> HelloResult:
        """Answer a `hello`, signed over the certificate that its connection has shown."""
        if request.protocol != PROTOCOL:
            raise BadRequest(f"protocol: this node speaks {PROTOCOL}, not {request.protocol}", field="protocol")
        for field, value in (("nonce", request.nonce), ("node_key", request.node_key)):
            if value is not None and len(value) != 32:
                raise BadRequest(f"{field}: {len(value)} bytes; it has 32", field=field)
        nonce = self._rng.bytes(32)
        key = self._store.key
        message = hello_message(1, request.nonce, nonce, certificate, key.public, request.node_key)
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


def _shown(status: ModelStatus, caller: Caller) -> ModelStatus:
    return status if caller.operator else msgspec.structs.replace(status, message=None)


def _key_result(request: KeySet | KeyDelete, cid: str | None, done: Done) -> KeyResult:
    return KeyResult(key=request.key, cid=cid, position=done.position, created=done.created, receipt=receipt_of(done))


def _item(put: Put) -> Item:
    return Item(text=put.text, vector=put.vector, metadata=put.metadata, key=put.key, expect=put.expect)
