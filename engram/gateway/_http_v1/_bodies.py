"""The bodies of the first Engram's requests and answers: its field names, our checks."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from engram.errors import BadRequest, TooLarge
from engram.gateway._http_v1._signatures import NAMESPACE_FIELDS, REQUEST_FIELDS
from engram.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNED = frozenset({*REQUEST_FIELDS, *NAMESPACE_FIELDS, "namespace_key"})
"""Fields that any body may have, and that are read before it."""

_SHOWN = 80

Vector = Annotated[list[float], msgspec.Meta(max_length=LIMITS.dim)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every request's body; null is as good as absent."""


class Ingest(Body, frozen=True, kw_only=True):
    """Of `POST /IngestSynapse`."""

    text: str | None = None
    raw_embedding: Vector | None = None
    metadata: dict[str, Any] | None = None
    model_version: str | None = None
    namespace: str | None = None


class Search(Body, frozen=True, kw_only=True):
    """Of `POST /QuerySynapse`."""

    query_text: str | None = None
    query_vector: Vector | None = None
    top_k: int | None = None
    filter: dict[str, Any] | None = None
    namespace: str | None = None


class Repair(Body, frozen=True, kw_only=True):
    """Of `POST /RepairSynapse`."""

    cid: str


class Remove(Body, frozen=True, kw_only=True):
    """Of `DELETE /retrieve/{cid}`, which may have none. A `cid` in it must be that of the path."""

    cid: str | None = None
    namespace: str | None = None


class Browse(Body, frozen=True, kw_only=True):
    """Of `POST /list`."""

    filter: dict[str, Any] | None = None
    limit: int | None = None
    offset: int | None = None
    namespace: str | None = None


class Manage(Body, frozen=True, kw_only=True):
    """Of `POST /namespace`."""

    action: str
    namespace: str | None = None
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
    """Counters. What only a chain, other nodes or proofs could tell is null, or 0 peers."""

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


def read(body: Mapping[str, Any], kind: type[B], endpoint: str) -> B:
    """Give a body as its Struct. Raises `BadRequest` or `TooLarge` with the field."""
    fields = {name: value for name, value in body.items() if name not in _SIGNED}
    unknown = next((name for name in fields if name not in kind.__struct_fields__), None)
    if unknown is not None:
        known = (*kind.__struct_fields__, *REQUEST_FIELDS)
        near = difflib.get_close_matches(unknown[:_SHOWN], known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"the fields are {', '.join(known)}"
        raise BadRequest(f"{endpoint}: no field {unknown[:_SHOWN]!r}; {hint}", field=unknown[:_SHOWN])
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _refusal(error, endpoint) from None


def _refusal(error: msgspec.ValidationError, endpoint: str) -> BadRequest | TooLarge:
    what, _, path = str(error).rpartition(" - at ")
    if not what:  # the one thing that has no path: a field that must be there
        what, path = path, path.split("`")[1]
    field = path.strip("`").removeprefix("$.")
    what = what[:1].lower() + what[1:]
    kind = TooLarge if " of length <= " in what else BadRequest
    return kind(f"{endpoint}: `{field}`: {what}", field=field)
