"""The messages: one Struct a call and one an answer, the same over every door.

A request's method name is its class's `method`; `METHODS` maps it to the two Structs. Unknown fields are refused, so
that a misspelt one is an error and not silence. Vectors travel as bytes of little-endian float32 or as arrays of
numbers; answers always give bytes. `namespace` absent means the public one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engram.wire._messages._connection import Hello, HelloResult, Ping, Pong, Prove, ProveResult
from engram.wire._messages._embedding import Embed, EmbedResult
from engram.wire._messages._events import Events, EventsResult
from engram.wire._messages._keys import (
    History,
    HistoryResult,
    KeyDelete,
    KeyGet,
    KeyList,
    KeyListResult,
    KeyRecord,
    KeyResult,
    KeySet,
)
from engram.wire._messages._namespaces import (
    NamespaceCreate,
    NamespaceDelete,
    NamespaceDeleteResult,
    NamespaceInfo,
    NamespaceList,
    NamespaceListResult,
)
from engram.wire._messages._proofs import (
    Challenge,
    ChallengeAnswer,
    ChallengePayloads,
    ChallengeV1,
    ChallengeV1Result,
    Consistency,
    Fast,
    GetCommitment,
    GetConsistency,
    GetProof,
    Payloads,
    Proof,
    Slow,
)
from engram.wire._messages._reading import Get, List, ListResult, Query, QueryResult, Record
from engram.wire._messages._receipts import Commitment
from engram.wire._messages._status import Actors, ActorsResult, Status, StatusResult
from engram.wire._messages._writing import Delete, DeleteResult, Put, PutMany, PutManyResult, PutResult

if TYPE_CHECKING:
    from engram.wire._messages._base import Answer, Request

METHODS: dict[str, tuple[type[Request[Any]], type[Answer]]] = {
    request.method: (request, answer)
    for request, answer in (
        (Ping, Pong),
        (Hello, HelloResult),
        (Prove, ProveResult),
        (Put, PutResult),
        (PutMany, PutManyResult),
        (Delete, DeleteResult),
        (Query, QueryResult),
        (Get, Record),
        (List, ListResult),
        (Embed, EmbedResult),
        (KeySet, KeyResult),
        (KeyDelete, KeyResult),
        (KeyGet, KeyRecord),
        (KeyList, KeyListResult),
        (History, HistoryResult),
        (Events, EventsResult),
        (NamespaceCreate, NamespaceInfo),
        (NamespaceList, NamespaceListResult),
        (NamespaceDelete, NamespaceDeleteResult),
        (GetProof, Proof),
        (GetCommitment, Commitment),
        (GetConsistency, Consistency),
        (Challenge, Fast),
        (ChallengeAnswer, Slow),
        (ChallengePayloads, Payloads),
        (ChallengeV1, ChallengeV1Result),
        (Status, StatusResult),
        (Actors, ActorsResult),
    )
}
"""The methods of this build: name -> (request, answer)."""
