"""A memory in a dict: the peer of the gateway and of the SDK in their tests. Its vectors mean nothing."""

import hashlib
import math
import os
import struct

import trio

from engram.errors import NotFound, Unprocessable
from engram.identity import OPERATOR, NodeKey, hello_message
from engram.wire import (
    METHODS,
    ActorInfo,
    Actors,
    ActorsResult,
    Delete,
    DeleteResult,
    Embed,
    EmbedResult,
    ErrorInfo,
    Get,
    Hello,
    HelloResult,
    Hit,
    ItemResult,
    List,
    ListResult,
    ModelStatus,
    NamespaceCreate,
    NamespaceInfo,
    NamespaceList,
    NamespaceListResult,
    Ping,
    Pong,
    Put,
    PutMany,
    PutManyResult,
    PutResult,
    Query,
    QueryResult,
    Record,
    Status,
    StatusResult,
    Step,
)

DIM = 8


def embed(text):
    return [byte / 255 + 0.01 for byte in hashlib.sha256(text.encode()).digest()[:DIM]]


def numbers(vector):
    return list(struct.unpack(f"<{len(vector) // 4}f", vector)) if isinstance(vector, bytes) else vector


def cosine(a, b):
    if len(a) != len(b):
        return -1.0
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


class DictService:
    """Implements `engram.gateway.Service`. `gate` holds back every call whose text is "wait"."""

    legacy = None

    def __init__(self):
        self.records = {}
        self.namespaces = {}
        self.requests = []
        self.callers = []
        self.key = NodeKey(b"\7" * 32)
        self.position = 1  # events so far, as a log that has its first
        self.gate = trio.Event()
        self.waiting = 0
        self.most_waiting = 0

    def together(self, _):
        return None

    async def call(self, request, caller=OPERATOR):
        self.requests.append(request)
        self.callers.append(caller)
        await trio.lowlevel.checkpoint()
        return await getattr(self, f"_{request.method}")(request)

    def answer_now(self, request, caller=OPERATOR):  # noqa: ARG002 - the protocol's
        return Pong() if type(request) is Ping else None

    def hello(self, request: Hello, certificate):
        nonce, key = os.urandom(32), self.key
        message = hello_message(1, request.nonce, nonce, certificate, key.public, request.node_key)
        return HelloResult(
            protocol=1, agent="dict", nonce=nonce, node_key=key.public, role="miner", model_version="v1",
            limits={}, methods=list(METHODS), log_size=self.position, signature=key.sign(message),
        )  # fmt: skip

    async def _hold(self, text):
        if text == "wait":
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            try:
                await self.gate.wait()
            finally:
                self.waiting -= 1
        if text == "bug":
            raise RuntimeError("secret words of a user")

    def _keep(self, item, namespace):
        if item.text == "refuse me":
            raise Unprocessable("text: refused", field="text")
        vector = numbers(item.vector) if item.vector is not None else embed(item.text)
        digest = hashlib.sha256(repr((vector, item.text, item.metadata)).encode()).hexdigest()
        key = (namespace, f"v1::{digest}")
        created = key not in self.records
        if created:
            self.records[key] = (item, vector)
            self.position += 1
        return PutResult(cid=key[1], position=self.position - 1, created=created)

    async def _put(self, request: Put):
        await self._hold(request.text)
        return self._keep(request, request.namespace)

    async def _put_many(self, request: PutMany):
        results = []
        for item in request.items:
            await self._hold(item.text)
            try:
                kept = self._keep(item, request.namespace)
                results.append(ItemResult(cid=kept.cid, created=kept.created))
            except Unprocessable as error:
                results.append(ItemResult(error=ErrorInfo(code=error.code, message=error.message, field=error.field)))
        return PutManyResult(items=results, position=self.position - 1)

    async def _delete(self, request: Delete):
        self._find(request)
        del self.records[request.namespace, request.cid]
        self.position += 1
        return DeleteResult(cid=request.cid, position=self.position - 1, erased=request.erase)

    def _find(self, request):
        try:
            return self.records[request.namespace, request.cid]
        except KeyError:
            raise NotFound("no such record", field="cid") from None

    def _record(self, cid, item, vector, include_vector=False):
        data = struct.pack(f"<{len(vector)}f", *vector) if include_vector else None
        return Record(
            cid=cid, text=item.text, metadata=item.metadata or {}, model_version="v1", dim=len(vector), vector=data
        )

    async def _get(self, request: Get):
        return self._record(request.cid, *self._find(request), request.include_vector)

    async def _query(self, request: Query):
        await self._hold(request.text)
        target = numbers(request.vector) if request.vector is not None else embed(request.text)
        hits = [
            Hit(cid=cid, score=cosine(target, vector), metadata=item.metadata or {}, text=item.text)
            for (namespace, cid), (item, vector) in self.records.items()
            if namespace == request.namespace
        ]
        hits.sort(key=lambda hit: (-hit.score, hit.cid))
        steps = [Step(name="namespace", rows=len(hits), us=1.5)] if request.explain else None
        mode = "exact" if request.exact else "fast"
        return QueryResult(hits=hits[: request.top_k], position=self.position, mode=mode, explain=steps)

    async def _list(self, request: List):
        found = [self._record(cid, *kept) for (name, cid), kept in self.records.items() if name == request.namespace]
        page = found[request.offset : request.offset + request.limit]
        return ListResult(records=page, position=self.position)

    async def _embed(self, request: Embed):
        vectors = [struct.pack(f"<{DIM}f", *embed(text)) for text in request.texts]
        return EmbedResult(vectors=vectors, tokens=[1] * len(vectors), model_version="v1", dim=DIM)

    async def _namespace_create(self, request: NamespaceCreate):
        info = NamespaceInfo(
            name=request.name, id="00" * 32, model_version=request.model_version or "v1", dim=request.dim or DIM
        )
        self.namespaces[request.name] = info
        return info

    async def _namespace_list(self, _: NamespaceList):
        return NamespaceListResult(namespaces=list(self.namespaces.values()))

    async def _status(self, _: Status):
        model = ModelStatus(model_version="v1", dim=DIM, state="ready")
        return StatusResult(
            version="0", role="miner", node_key="5x", records=len(self.records), namespaces=len(self.namespaces),
            position=self.position, log_root="00", model=model, uptime_s=1.0, data_dir="none",
        )  # fmt: skip

    async def _actors(self, _: Actors):
        store = ActorInfo(name="store", state="running", essential=True, mailbox_limit=1024, handled=self.position)
        return ActorsResult(actors=[store], position=self.position)
