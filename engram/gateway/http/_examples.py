"""What the description shows by example, and the words that no Struct has."""

from __future__ import annotations

from typing import Any

from engram.gateway._http_v1._bodies import Body, Browse, Challenge, Ingest, Manage, Prove, Repair, Search
from engram.wire import Embed, KeySet, NamespaceCreate, Put, PutMany, Query

_CID = "v1::2c6f0e8a6a4ad0f8f0a3c1b7c9d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8"

BODIES: dict[type, Any] = {
    Put: {"text": "The cat sat on the mat.", "metadata": {"kind": "cat"}, "key": "pets/cat"},
    PutMany: {"items": [{"text": "Paris is in France."}, {"text": "Rome is in Italy.", "metadata": {"kind": "city"}}]},
    Query: {"text": "Where is the cat?", "top_k": 3, "filter": 'kind = "cat"'},
    Embed: {"texts": ["The cat sat on the mat."]},
    KeySet: {"cid": _CID},
    NamespaceCreate: {"name": "notes"},
}
ANSWERS: dict[type, Any] = {
    Put: {"cid": _CID, "position": 1, "created": True, "tokens": 9},
    Query: {
        "hits": [{"cid": _CID, "score": 0.62, "metadata": {"kind": "cat"}, "text": "The cat sat on the mat."}],
        "position": 2,
        "mode": "exact",
    },
    KeySet: {"key": "pets/cat", "cid": _CID, "position": 2, "created": True},
}
ERRORS: dict[int, Any] = {
    400: {"error": "put: no field 'txt'; did you mean `text`?", "code": "bad_request", "field": "txt"},
    404: {"error": "cid: no such memory here", "code": "not_found", "field": "cid"},
    409: {"error": "expect: the key names another memory", "code": "conflict", "field": "expect", "current": _CID},
    503: {"error": "the node's queue is full", "code": "busy", "retry_after_s": 1.0},
}
EMBEDDINGS = {"model": "v1", "input": ["The cat sat on the mat."], "encoding_format": "float"}

PARAMETERS = {
    "cid": "The memory's name; a `sha256:…` content CID where it is only read.",
    "key": "A key, percent-encoded: `a/b` is `a%2Fb`.",
    "name": "A namespace's name, percent-encoded.",
    "namespace": "Whose memories; left out, the public ones.",
    "filter": 'An expression such as `kind = "cat"`, or a JSON object.',
    "types": "Names of events, with commas between; left out, all.",
    "expect": "The CID that the key must name until now; `null` for none.",
    "min_position": "The size that the log must have reached before this is answered.",
    "include_vector": "Whether to send the vector too.",
    "limit": "How many at most.",
    "offset": "How many to pass over.",
    "after": "What to go on behind: the last page's `next_after`.",
    "prefix": "How the keys begin.",
    "since": "The position to begin at: the last answer's `next`.",
    "wait_s": "Seconds to wait where there is nothing yet, at most 30.",
    "chunks": "Whether to list the chunks of long texts too.",
}

FIRST_ENGRAM: dict[tuple[str, str], tuple[str, type[Body] | None, Any]] = {
    ("POST", "/IngestSynapse"): ("Keep a text or a vector.", Ingest, {"text": "The cat sat on the mat."}),
    ("POST", "/QuerySynapse"): ("Find what is nearest in meaning.", Search, {"query_text": "Where is the cat?"}),
    ("POST", "/RepairSynapse"): ("Give a public memory with its vector, to who signs.", Repair, None),
    ("GET", "/retrieve/{cid}"): ("Give a public memory's metadata.", None, None),
    ("DELETE", "/retrieve/{cid}"): ("Delete a memory.", None, None),
    ("POST", "/list"): ("List memories, oldest first.", Browse, {"limit": 10}),
    ("POST", "/namespace"): (
        "Create, delete or list namespaces, from the node's own machine.",
        Manage,
        {"action": "create", "namespace": "notes"},
    ),
    ("POST", "/ChallengeSynapse"): (
        "Answer the first Engram's challenge: the HMAC of a public memory's embedding hash.",
        Challenge,
        None,
    ),
    ("GET", "/commitment"): ("Give the first Engram's Merkle root over the public memories.", None, None),
    ("POST", "/prove-memory"): ("Give the way from a public memory's leaf to that root.", Prove, None),
    ("GET", "/health"): ("Say that the node answers.", None, None),
    ("GET", "/stats"): ("Give the first Engram's counters.", None, None),
}
