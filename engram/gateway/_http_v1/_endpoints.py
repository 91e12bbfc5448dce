"""The endpoints: a body in, calls of the Service, an answer out. No rule of the node stands here."""

from __future__ import annotations

import re
import statistics
import struct
from collections import deque
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar, cast

import msgspec

from engram.errors import BadRequest, Forbidden, NotBuilt, NotFound, TooLarge, Unauthenticated, Unprocessable
from engram.gateway._http_v1._bodies import (
    Answered,
    Body,
    Browse,
    Challenge,
    Committed,
    Deleted,
    Found,
    Health,
    Ingest,
    Ingested,
    Kept,
    Manage,
    Managed,
    Page,
    Prove,
    Proved,
    Remove,
    Repair,
    Results,
    Search,
    Stats,
    Whole,
    read,
)
from engram.gateway._http_v1._callers import Callers, Unsigned, reader
from engram.gateway._http_v1._filters import translated
from engram.identity import ANONYMOUS
from engram.wire import (
    Answer,
    ChallengeV1,
    Delete,
    Get,
    List,
    NamespaceCreate,
    NamespaceDelete,
    NamespaceList,
    Put,
    Query,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engram.gateway._service import Service
    from engram.identity import Caller
    from engram.ports import Clock
    from engram.wire import ChallengeStatus, Request

_TEXT_CHARACTERS = 8192
_TOP_K = 100
_LIST = 200
_LATENCIES = 100
_DAY_S = 86_400
_AHEAD_S = 60
_HEX32 = re.compile("[0-9a-fA-F]{64}")

A = TypeVar("A", bound=Answer)
B = TypeVar("B", bound=Body)


class HttpV1:
    """The endpoints over a Service. `unsigned`: whose requests it serves without a signature."""

    def __init__(self, service: Service, clock: Clock, unsigned: Unsigned = "loopback") -> None:
        self._service = service
        self._clock = clock
        self._callers = Callers(clock, unsigned)
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES)
        self._day = 0
        self._queries = 0

    async def ingest(self, raw: bytes, *, local: bool) -> Ingested:
        """`POST /IngestSynapse`. Who proves a namespace that he does not have yet gets it, as it was then."""
        ask, caller = self._read(raw, Ingest, "IngestSynapse", local=local)
        if ask.text is not None and len(ask.text) > _TEXT_CHARACTERS:
            raise TooLarge(
                f"text: {len(ask.text)} characters; over this API it may have {_TEXT_CHARACTERS}", field="text"
            )
        put = Put(
            text=ask.text or None if ask.raw_embedding else ask.text,
            vector=ask.raw_embedding,
            metadata=ask.metadata,
            namespace=ask.namespace,
            model_version=ask.model_version,
        )
        try:
            kept = await self._call(put, caller)
        except NotFound as error:
            if error.field != "namespace" or ask.namespace_sig is None or ask.namespace is None:
                raise
            dim = None if ask.raw_embedding is None else len(ask.raw_embedding)
            await self._call(NamespaceCreate(name=ask.namespace, dim=dim, model_version=ask.model_version), caller)
            kept = await self._call(put, caller)
        return Ingested(cid=kept.cid)

    async def query(self, raw: bytes, *, local: bool) -> Results:
        """`POST /QuerySynapse`."""
        begun = self._clock.monotonic()
        ask, caller = self._read(raw, Search, "QuerySynapse", local=local)
        found = await self._call(
            Query(
                text=ask.query_text,
                vector=ask.query_vector,
                top_k=_within("top_k", ask.top_k, 1, _TOP_K, 10),
                filter=translated(ask.filter),
                namespace=ask.namespace,
            ),
            caller,
        )
        results = [Found(cid=hit.cid, score=hit.score, metadata=hit.metadata) for hit in found.hits]
        return Results(results=results, latency_ms=self._measured((self._clock.monotonic() - begun) * 1000))

    async def repair(self, raw: bytes, *, local: bool) -> Whole:
        """`POST /RepairSynapse`: a public memory with its vector, for who signs."""
        ask, caller = self._read(raw, Repair, "RepairSynapse", local=local)
        if caller == ANONYMOUS:
            raise Unauthenticated(
                "signature: vectors are for who signs: send hotkey, nonce and signature", field="signature"
            )
        record = await self._call(Get(cid=ask.cid, include_vector=True), caller)
        vector = record.vector or b""
        embedding = list(struct.unpack(f"<{len(vector) // 4}f", vector))
        return Whole(cid=record.cid, embedding=embedding, metadata=record.metadata)

    async def challenge(self, raw: bytes, *, local: bool) -> Answered:
        """`POST /ChallengeSynapse`: the HMAC over a public memory's embedding hash. It shows that 32 bytes are held."""
        ask, caller = self._read(raw, Challenge, "ChallengeSynapse", local=local)
        ahead_s = ask.expires_at - self._clock.now_ns() / 1e9
        if not 0 <= ahead_s <= _AHEAD_S:
            raise BadRequest(
                f"expires_at: {ask.expires_at:.0f} is {'past' if ahead_s < 0 else f'over {_AHEAD_S} s ahead'} by this "
                f"node's clock, which says {self._clock.now_ns() // 1_000_000_000}",
                field="expires_at",
            )
        request = ChallengeV1(
            cids=[ask.cid],
            nonce=_hex32("nonce_hex", ask.nonce_hex),
            validator=None
            if ask.validator_hotkey_hex is None
            else _hex32("validator_hotkey_hex", ask.validator_hotkey_hex),
        )
        [proof] = (await self._call(request, caller)).proofs
        if proof is None:
            raise NotFound(f"cid: no public record {ask.cid}", field="cid")
        return Answered(embedding_hash=proof.embedding_hash, proof=proof.proof)

    async def commitment(self) -> Committed:
        """`GET /commitment`: the first Engram's root over the public memories."""
        found = await self._service.legacy.commitment()
        return Committed(root_hex=found.root_hex, count=found.count, built_at=found.built_at)

    async def prove(self, raw: bytes, *, local: bool) -> Proved:
        """`POST /prove-memory`: the way from a public memory's leaf to that root."""
        ask, _ = self._read(raw, Prove, "prove-memory", local=local)
        found = await self._service.legacy.prove(ask.cid, _hex32("embedding_hash", ask.embedding_hash).hex())
        proof = msgspec.json.encode({"leaf_hex": found.leaf_hex, "steps": found.steps}).decode()
        return Proved(root_hex=found.root_hex, cid=ask.cid, proof=proof)

    async def retrieve(self, cid: str, *, local: bool) -> Kept:
        """`GET /retrieve/{cid}`: a public memory. One of a namespace's answers as one that is not there."""
        record = await self._call(Get(cid=cid), reader(local=local))
        return Kept(cid=record.cid, metadata=record.metadata)

    async def delete(self, cid: str, raw: bytes, *, local: bool) -> Deleted:
        """`DELETE /retrieve/{cid}`: what its signer has put; unsigned from this machine, whatever the node has."""
        ask, caller = self._read(raw or b"{}", Remove, "DeleteSynapse", local=local)
        if ask.cid not in (None, cid):
            raise BadRequest("cid: the body names another memory than the path does", field="cid")
        await self._call(Delete(cid=cid, namespace=ask.namespace), caller)
        return Deleted(cid=cid)

    async def list(self, raw: bytes, *, local: bool) -> Page:
        """`POST /list`: a page of memories, oldest first."""
        ask, caller = self._read(raw, Browse, "list", local=local)
        limit = _within("limit", ask.limit, 1, _LIST, 50)
        offset = _within("offset", ask.offset, 0, 2**63 - 1, 0)
        records: list[Kept] = []
        want = List(filter=translated(ask.filter), limit=limit, offset=offset, namespace=ask.namespace)
        while True:
            page = await self._call(want, caller)
            records += [Kept(cid=record.cid, metadata=record.metadata) for record in page.records]
            if len(records) == limit or page.next_after is None:
                return Page(records=records, count=len(records), offset=offset, limit=limit)
            want = msgspec.structs.replace(want, limit=limit - len(records), offset=0, after=page.next_after)

    async def namespace(self, raw: bytes, *, local: bool) -> Managed:
        """`POST /namespace`, on this machine only: create, delete or list the caller's namespaces."""
        if not local:
            raise Forbidden("namespaces are managed from the node's own machine")
        ask, caller = self._read(raw, Manage, "namespace", local=local)
        if ask.action not in _ACTIONS:
            raise BadRequest(f"action: {ask.action[:80]!r}; it is one of {', '.join(_ACTIONS)}", field="action")
        if ask.action == "rotate" or ask.key is not None or ask.new_key is not None:
            _not_built("namespaces with a key", "leave key out: the namespace is the operator's, or its signer's")
        if ask.action == "list":
            listed = await self._call(NamespaceList(), caller)
            return Managed(ok=True, namespaces=[space.name for space in listed.namespaces if space.owner is not None])
        if ask.namespace is None:
            raise BadRequest(f"namespace: which one to {ask.action} is missing", field="namespace")
        if ask.action == "create":
            await self._call(NamespaceCreate(name=ask.namespace), caller)
        else:
            await self._call(NamespaceDelete(name=ask.namespace), caller)
        return Managed(ok=True, namespace=ask.namespace)

    async def health(self) -> Health:
        """`GET /health`."""
        return Health()

    async def stats(self, *, local: bool) -> Stats:
        """`GET /stats`. Its queries are those of this API."""
        status = await self._call(Status(), reader(local=local))
        self._today()
        return Stats(
            status="ok",
            vectors=status.records,
            peers=0,
            uid=None,
            queries_today=self._queries,
            p50_latency_ms=round(statistics.median(self._latencies_ms), 1) if self._latencies_ms else None,
            proof_rate=_proof_rate(status.challenges),
            uptime_pct=round(min(1.0, status.uptime_s / _DAY_S), 4),
            block=None,
            avg_score=None,
            hotkey=None,
        )

    def _read(self, raw: bytes, kind: type[B], endpoint: str, *, local: bool) -> tuple[B, Caller]:
        body, fields = read(raw, kind, endpoint)
        if body.namespace_key is not None:
            _not_built("namespace_key", "give the client a keypair, which proves the namespace by a signature")
        return body, self._callers.of(fields, endpoint, local=local)

    async def _call(self, request: Request[A], caller: Caller) -> A:
        answered = self._service.answer_now(request, caller)
        return cast("A", await self._service.call(request, caller) if answered is None else answered)

    def _measured(self, latency_ms: float) -> float:
        self._today()
        self._queries += 1
        self._latencies_ms.append(latency_ms)
        return round(latency_ms, 3)

    def _today(self) -> None:
        day = self._clock.now_ns() // (_DAY_S * 1_000_000_000)
        if day != self._day:
            self._day, self._queries = day, 0


_ACTIONS = ("create", "delete", "rotate", "list")


class Endpoint(msgspec.Struct, frozen=True):
    """Where an endpoint stands; `serve` takes the door, the path's parameter, the body, and whether it is local.

    The parameter is `""` of a path without one; the body is as it came, empty where none did.
    """

    verb: Literal["GET", "POST", "DELETE"]
    path: str
    serve: Callable[[HttpV1, str, bytes, bool], Awaitable[msgspec.Struct]]


def _within(field: str, value: int | None, least: int, most: int, default: int) -> int:
    if value is None:
        return default
    if not least <= value <= most:
        raise Unprocessable(f"{field}: {value} is not from {least} to {most}, as this API has it", field=field)
    return value


def _proof_rate(challenges: ChallengeStatus) -> float | None:
    """Give the part of the challenges of this node that it had the records for; None where there was none."""
    taken = challenges.answered + challenges.missing
    return round(challenges.answered / taken, 4) if taken else None


def _hex32(field: str, text: str) -> bytes:
    if not _HEX32.fullmatch(text):
        raise BadRequest(f"{field}: it is 64 hex digits, 32 bytes", field=field)
    return bytes.fromhex(text)


def _not_built(what: str, instead: str) -> NoReturn:
    raise NotBuilt(f"{what}: not built yet; {instead}")


def _later(what: str, instead: str) -> Callable[[HttpV1, str, bytes, bool], Awaitable[msgspec.Struct]]:
    async def serve(_door: HttpV1, _parameter: str, _raw: bytes, _local: bool) -> msgspec.Struct:  # noqa: FBT001
        _not_built(what, instead)

    return serve


_NO_CHAIN = "this node is on no chain, and every caller is anonymous to it"
_NO_SHARES = "keep the shares elsewhere meanwhile"

ENDPOINTS = (
    Endpoint("POST", "/IngestSynapse", lambda door, _, raw, local: door.ingest(raw, local=local)),
    Endpoint("POST", "/QuerySynapse", lambda door, _, raw, local: door.query(raw, local=local)),
    Endpoint("POST", "/ChallengeSynapse", lambda door, _, raw, local: door.challenge(raw, local=local)),
    Endpoint("POST", "/RepairSynapse", lambda door, _, raw, local: door.repair(raw, local=local)),
    Endpoint("GET", "/retrieve/{cid}", lambda door, cid, _, local: door.retrieve(cid, local=local)),
    Endpoint("DELETE", "/retrieve/{cid}", lambda door, cid, raw, local: door.delete(cid, raw, local=local)),
    Endpoint("POST", "/list", lambda door, _, raw, local: door.list(raw, local=local)),
    Endpoint("POST", "/namespace", lambda door, _, raw, local: door.namespace(raw, local=local)),
    Endpoint("POST", "/AttestNamespace", _later("attestation", _NO_CHAIN)),
    Endpoint("GET", "/attestation/{namespace}", _later("attestation", _NO_CHAIN)),
    Endpoint("POST", "/KeyShareSynapse", _later("key shares", _NO_SHARES)),
    Endpoint("POST", "/KeyShareRetrieve", _later("key shares", _NO_SHARES)),
    Endpoint("GET", "/commitment", lambda door, _, _raw, _local: door.commitment()),
    Endpoint("POST", "/prove-memory", lambda door, _, raw, local: door.prove(raw, local=local)),
    Endpoint("GET", "/metagraph", _later("the metagraph", _NO_CHAIN)),
    Endpoint("GET", "/health", lambda door, _, _raw, _local: door.health()),
    Endpoint("GET", "/stats", lambda door, _, _raw, local: door.stats(local=local)),
)
"""Every row of the first Engram's API but `GET /metrics`, which is the HTTP server's own."""
