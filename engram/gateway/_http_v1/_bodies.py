"""The bodies of the first Engram's requests and answers: its field names, our checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from engram.errors import BadRequest, TooLarge
from engram.limits import LIMITS
from engram.wire import decode_body

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNED_BYTES = 256 * 1024
"""To check a signature, a body is taken apart and written again, and nobody else is served meanwhile: 120 ms a MiB."""

Count = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Vector = Annotated[list[float], msgspec.Meta(max_length=LIMITS.dim)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every request's body; null is as good as absent. Who signs is judged by what came, whatever its type."""

    namespace: str | None = None
    namespace_key: Any = None
    namespace_hotkey: Any = None
    namespace_sig: Any = None
    namespace_timestamp_ms: Any = None
    hotkey: Any = None
    nonce: Any = None
    signature: Any = None


class Ingest(Body, frozen=True, kw_only=True):
    """Of `POST /IngestSynapse`."""

    text: str | None = None
    raw_embedding: Vector | None = None
    metadata: dict[str, Any] | None = None
    model_version: str | None = None


class Search(Body, frozen=True, kw_only=True):
    """Of `POST /QuerySynapse`."""

    query_text: str | None = None
    query_vector: Vector | None = None
    top_k: Count | None = None
    filter: dict[str, Any] | None = None


class Repair(Body, frozen=True, kw_only=True):
    """Of `POST /RepairSynapse`."""

    cid: str


class Challenge(Body, frozen=True, kw_only=True):
    """Of `POST /ChallengeSynapse`."""

    cid: str
    nonce_hex: str
    expires_at: float
    validator_hotkey_hex: str | None = None


class Prove(Body, frozen=True, kw_only=True):
    """Of `POST /prove-memory`."""

    cid: str
    embedding_hash: str


class Remove(Body, frozen=True, kw_only=True):
    """Of `DELETE /retrieve/{cid}`, which may have none. A `cid` in it must be that of the path."""

    cid: str | None = None


class Browse(Body, frozen=True, kw_only=True):
    """Of `POST /list`."""

    filter: dict[str, Any] | None = None
    limit: Count | None = None
    offset: Count | None = None


class Manage(Body, frozen=True, kw_only=True):
    """Of `POST /namespace`."""

    action: str
    key: str | None = None
    new_key: str | None = None


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What was kept."""

    cid: str
    error: None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a search. Nobody is more than anonymous while there is no chain to tell."""

    cid: str
    score: float
    metadata: dict[str, Any]
    trust_tier: str = "anonymous"


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found."""

    results: list[Found]
    latency_ms: float
    error: None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A memory, as `retrieve` and `list` give it."""

    cid: str
    metadata: dict[str, Any]


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A memory with its vector, for who copies it."""

    cid: str
    embedding: list[float]
    metadata: dict[str, Any]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answered challenge."""

    embedding_hash: str
    proof: str


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The root over the public memories. Nobody has a hotkey while there is no chain."""

    root_hex: str
    count: int
    built_at: int
    hotkey: str | None = None


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """A memory under the root; `proof` is JSON: `{"leaf_hex": …, "steps": [{"sibling": …, "side": …}]}`."""

    root_hex: str
    cid: str
    proof: str


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """A memory that is gone."""

    cid: str
    deleted: bool = True


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of memories; `count` of them."""

    records: list[Kept]
    count: int
    offset: int
    limit: int


class Managed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a namespace; `namespaces`, where they were asked for."""

    ok: bool
    namespace: str | None = None
    namespaces: list[str] | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The node answers."""

    status: str = "ok"


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters. What only a chain or other nodes could tell is null, or 0 peers.

    `proof_rate`: of the challenges of this node since it was started, those that it had the records for.
    """

    status: str
    vectors: int
    peers: int
    uid: int | None
    queries_today: int
    p50_latency_ms: float | None
    proof_rate: float | None
    uptime_pct: float
    block: int | None
    avg_score: float | None
    hotkey: str | None


B = TypeVar("B", bound=Body)


def read(raw: bytes, kind: type[B], endpoint: str) -> tuple[B, Mapping[str, Any]]:
    """Give a body as its Struct, and its fields for who checks signatures. Raises `BadRequest`, `TooLarge`.

    Of a signed body the fields are all that came, each number as it was written: the signature is over that.
    """
    body = decode_body(kind, endpoint, raw)
    if body.signature is None:
        return body, msgspec.structs.asdict(body)
    if len(raw) > _SIGNED_BYTES:
        raise TooLarge(f"{endpoint}: {len(raw)} bytes; a signed body may have {_SIGNED_BYTES}, and needs far fewer")
    try:
        return body, json.loads(raw.decode())
    except ValueError:  # it is JSON, as was found already, but for a number of more digits than Python reads
        raise BadRequest(f"{endpoint}: a number of over 4300 digits") from None
