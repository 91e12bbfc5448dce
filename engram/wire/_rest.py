"""REST: where each request stands in HTTP, for the gateway that serves it and the SDK that asks it.

A path's `{names}` are fields of the request, percent-encoded, so that a key may hold slashes. The other fields are the
JSON body where the verb has one, and the query string where it has none: there numbers, `true` and `false` stand as in
JSON, `types` as names with commas between, `filter` as an expression or a JSON object. A body's vector is numbers, or
base64 of little-endian float32; answers give base64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engram.wire._messages._embedding import Embed
from engram.wire._messages._events import Events
from engram.wire._messages._keys import History, KeyDelete, KeyGet, KeyList, KeySet
from engram.wire._messages._namespaces import NamespaceCreate, NamespaceDelete, NamespaceList
from engram.wire._messages._proofs import (
    Challenge,
    ChallengeAnswer,
    ChallengePayloads,
    ChallengeV1,
    GetCommitment,
    GetConsistency,
    GetProof,
)
from engram.wire._messages._reading import Get, List, Query
from engram.wire._messages._status import Actors, Status
from engram.wire._messages._writing import Delete, Put, PutMany

if TYPE_CHECKING:
    from engram.wire._messages._base import Request


class Route(msgspec.Struct, frozen=True):
    """A verb and a path."""

    verb: Literal["GET", "POST", "PUT", "DELETE"]
    path: str

    @property
    def has_body(self) -> bool:
        """Whether the fields that the path has not are in a JSON body."""
        return self.verb in ("POST", "PUT")

    @property
    def in_path(self) -> tuple[str, ...]:
        """The names of the fields that the path holds."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


ROUTES: dict[type[Request[Any]], Route] = {
    Put: Route("POST", "/v1/memories"),
    PutMany: Route("POST", "/v1/memories/batch"),
    List: Route("GET", "/v1/memories"),
    Get: Route("GET", "/v1/memories/{cid}"),
    Delete: Route("DELETE", "/v1/memories/{cid}"),
    Query: Route("POST", "/v1/query"),
    Embed: Route("POST", "/v1/embed"),
    KeyList: Route("GET", "/v1/keys"),
    KeyGet: Route("GET", "/v1/keys/{key}"),
    KeySet: Route("PUT", "/v1/keys/{key}"),
    KeyDelete: Route("DELETE", "/v1/keys/{key}"),
    History: Route("GET", "/v1/keys/{key}/history"),
    NamespaceList: Route("GET", "/v1/namespaces"),
    NamespaceCreate: Route("POST", "/v1/namespaces"),
    NamespaceDelete: Route("DELETE", "/v1/namespaces/{name}"),
    Events: Route("GET", "/v1/events"),
    GetProof: Route("GET", "/v1/proof"),
    GetCommitment: Route("GET", "/v1/commitment"),
    GetConsistency: Route("GET", "/v1/consistency"),
    Challenge: Route("POST", "/v1/challenges"),
    ChallengeAnswer: Route("POST", "/v1/challenges/answer"),
    ChallengePayloads: Route("POST", "/v1/challenges/payloads"),
    ChallengeV1: Route("POST", "/v1/challenges/v1"),
    Status: Route("GET", "/v1/status"),
    Actors: Route("GET", "/v1/actors"),
}
"""Every request but those of a connection (`ping`, `hello`, `prove`)."""
