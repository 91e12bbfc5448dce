"""One table of what must be refused, run through every door: the same code, the same field, the same words.

`RAW` is what a stranger's program may send: it goes over the sockets as it stands. `TYPED` is what a client of ours can
be made to ask: it goes through each client and the embedded memory too. What RPC answers is what the others must.
"""

from __future__ import annotations

import http.client
import json
import re
from urllib.parse import quote

import anyio
import msgspec
import pytest
from e2e.processes import Peer

import engram
from engram.errors import EngramError
from engram.sdk import AsyncEngramClient, EngramClient
from engram.wire import (
    METHODS,
    ROUTES,
    Challenge,
    ChallengeAnswer,
    ChallengePayloads,
    ChallengeV1,
    Delete,
    Embed,
    Events,
    Get,
    GetProof,
    History,
    Item,
    KeyDelete,
    KeyGet,
    KeyList,
    KeySet,
    List,
    NamespaceCreate,
    NamespaceDelete,
    Put,
    PutMany,
    Query,
)

UNKNOWN = "v1::" + "0" * 64
LONG = 10**6 + 1
DEEP: list = []
for _ in range(16):
    DEEP = [DEEP]

ASKED = Challenge(
    epoch=0, mode=0, m=1, validator=b"v" * 32, miner=b"m" * 32, log_size=1, nonce=bytes(32), issued_unix_ms=0,
    t1_ms=1, t2_ms=1, signature=bytes(64),
)  # fmt: skip

RAW = [
    # (method, params, code, field)
    ("put", {"text": 5}, "bad_request", "text"),
    ("put", {"text": "x", "metadata": []}, "bad_request", "metadata"),
    ("put", {"text": "x", "metdata": {}}, "bad_request", "metdata"),
    ("put", {"text": "x", "on_long": "cut"}, "bad_request", "on_long"),
    ("put", {"text": "x", "namespace": 3}, "bad_request", "namespace"),
    ("put", {"text": "x", "expect": 3, "key": "k"}, "bad_request", "expect"),
    ("put", {"vector": ["a"]}, "bad_request", "vector[0]"),
    ("put", {"vector": [0.5] * 5000}, "too_large", "vector"),
    ("put_many", {}, "bad_request", "items"),
    ("put_many", {"items": [{"text": "x"}, {"txt": "x"}]}, "bad_request", "items[1].txt"),
    ("put_many", {"items": [{"text": "x"}] * 1001}, "too_large", "items"),
    ("put_many", {"items": {}}, "bad_request", "items"),
    ("query", {"text": "x", "top_k": "3"}, "bad_request", "top_k"),
    ("query", {"text": "x", "exact": 1}, "bad_request", "exact"),
    ("query", {"text": "x", "min_position": 2**63}, "bad_request", "min_position"),
    ("embed", {"texts": "x"}, "bad_request", "texts"),
    ("embed", {}, "bad_request", "texts"),
    ("namespace_create", {"name": None}, "bad_request", "name"),
    ("key_set", {"key": "k"}, "bad_request", "cid"),
    ("key_set", {"key": "k", "cid": UNKNOWN, "value": 1}, "bad_request", "value"),
    ("proof", {"cids": UNKNOWN}, "bad_request", "cids"),
    ("commitment", {"cid": UNKNOWN}, "bad_request", "cid"),
    ("challenge", {"m": 1}, "bad_request", "epoch"),
    ("challenge", {"m": "1"}, "bad_request", "m"),
    ("challenge_answer", {}, "bad_request", "chal_id"),
    ("challenge_payloads", {"start": 0}, "bad_request", "start"),
    ("challenge_payloads", {"from": "0"}, "bad_request", "from"),
    ("challenge_v1", {"cids": [UNKNOWN]}, "bad_request", "nonce"),
    ("challenge_v1", {"cids": [UNKNOWN] * 1001}, "too_large", "cids"),
    ("challenge_v1", {"cids": UNKNOWN}, "bad_request", "cids"),
]

TYPED = [
    (Put(), "bad_request", "text"),
    (Put(text=""), "unprocessable", "text"),
    (Put(text="  \n"), "unprocessable", "text"),
    (Put(text="x" * LONG), "too_large", "text"),
    (Put(text="x", metadata={"k" * 257: 1}), "unprocessable", None),
    (Put(text="x", metadata={"deep": DEEP}), "unprocessable", None),
    (Put(text="x", metadata={"engram.parent": 1}), "unprocessable", "metadata"),
    (Put(text="x", metadata={"big": "x" * 5000}), "too_large", "metadata"),
    (Put(text="x", metadata={"n": 2**60 + 1}), "unprocessable", "metadata.n"),
    (Put(text="x", namespace="nowhere"), "not_found", "namespace"),
    (Put(text="x", namespace="n" * 129), "unprocessable", "namespace"),
    (Put(text="x", namespace=""), "unprocessable", "namespace"),
    (Put(text="x", model_version="other/1"), "unprocessable", "model_version"),
    (Put(vector=[]), "unprocessable", "vector"),
    (Put(vector=[1.0, 2.0]), "unprocessable", "vector"),
    (Put(vector=[0.0] * 384), "unprocessable", "vector"),
    (Put(vector=b"\0\0\x80\x3f\0"), "unprocessable", "vector"),
    (Put(vector=b"\0\0\xc0\x7f" * 384), "unprocessable", "vector"),
    (Put(vector=[1e39] * 384), "unprocessable", "vector"),
    (Put(text="a text", vector=[1.0] * 384), "unprocessable", "vector"),
    (Put(text="x", key=""), "unprocessable", "key"),
    (Put(text="x", key="k" * 513), "unprocessable", "key"),
    (Put(text="x", expect=UNKNOWN), "bad_request", "expect"),
    (Put(text="x", key="k", expect="v2::"), "unprocessable", "expect"),
    (Put(text="x", key="taken", expect=None), "conflict", "expect"),
    (Put(text="x", key="taken", expect=UNKNOWN), "conflict", "expect"),
    (PutMany(items=[Item(text="x")], namespace="nowhere"), "not_found", "namespace"),
    (Get(cid="v2::00"), "unprocessable", "cid"),
    (Get(cid="V1::" + "0" * 64), "unprocessable", "cid"),
    (Get(cid=UNKNOWN), "not_found", "cid"),
    (Get(cid="sha256:" + "0" * 64), "not_found", "cid"),
    (Get(cid=UNKNOWN, namespace="nowhere"), "not_found", "namespace"),
    (Delete(cid=UNKNOWN), "not_found", "cid"),
    (Delete(cid="x"), "unprocessable", "cid"),
    (Query(), "bad_request", "text"),
    (Query(text="x", vector=[1.0] * 384), "bad_request", "text"),
    (Query(text="x", top_k=0), "unprocessable", "top_k"),
    (Query(text="x", top_k=1001), "unprocessable", "top_k"),
    (Query(vector=[1.0]), "unprocessable", "vector"),
    (Query(text="x", filter="year >>= 3"), "bad_request", "filter"),
    (Query(text="x", filter={"year": {"$near": 3}}), "bad_request", "filter"),
    (Query(vector=[1.0] * 384, min_position=10**9), "unavailable", "min_position"),
    (List(limit=0), "unprocessable", "limit"),
    (List(limit=1001), "unprocessable", "limit"),
    (List(offset=-1), "unprocessable", "offset"),
    (List(filter="("), "bad_request", "filter"),
    (Embed(texts=["x", ""]), "unprocessable", "texts[1]"),
    (Embed(texts=["x"], model="nobody"), "not_found", "model"),
    (KeyGet(key="nobody"), "not_found", "key"),
    (KeyGet(key="a/ü?#%2f nobody"), "not_found", "key"),
    (KeySet(key="k", cid=UNKNOWN), "not_found", "cid"),
    (KeySet(key="taken", cid=UNKNOWN, expect=None), "conflict", "expect"),
    (KeyDelete(key="nobody"), "not_found", "key"),
    (KeyList(limit=0), "unprocessable", "limit"),
    (KeyList(prefix="p" * 513), "unprocessable", "prefix"),
    (History(key="nobody"), "not_found", "key"),
    (Events(since=10**9), "unavailable", "since"),
    (Events(wait_s=31.0), "unprocessable", "wait_s"),
    (Events(types=["record_stord"]), "unprocessable", "types"),
    (NamespaceCreate(name=""), "unprocessable", "name"),
    (NamespaceCreate(name="public"), "conflict", "name"),
    (NamespaceCreate(name="n", dim=0, model_version="m/1"), "unprocessable", "dim"),
    (NamespaceCreate(name="n", dim=5000, model_version="m/1"), "unprocessable", "dim"),
    (NamespaceCreate(name="n", model_version="v 1", dim=3), "unprocessable", "model_version"),
    (GetProof(), "bad_request", "cid"),
    (GetProof(cid=UNKNOWN, key="k"), "bad_request", "cid"),
    (GetProof(cid="v2::00"), "unprocessable", "cid"),
    (GetProof(cid="sha256:" + "0" * 64), "not_found", "cid"),
    (GetProof(cid=UNKNOWN, namespace="nowhere"), "not_found", "namespace"),
    (GetProof(key="k" * 513), "unprocessable", "key"),
    (GetProof(cid=UNKNOWN, min_position=-1), "unprocessable", "min_position"),
    (GetProof(key="taken", min_position=10**9), "unavailable", "min_position"),
    (ASKED, "forbidden", "validator"),
    (ChallengeAnswer(chal_id=b""), "unprocessable", None),
    (ChallengeAnswer(chal_id=bytes(32)), "unprocessable", None),
    (ChallengePayloads(chal_id=bytes(32), start=2**40), "unprocessable", None),
    (ChallengeV1(cids=["v2::00"], nonce=bytes(32)), "unprocessable", "cids[0]"),
    (ChallengeV1(cids=[UNKNOWN], nonce=bytes(31)), "bad_request", "nonce"),
    (ChallengeV1(cids=[UNKNOWN], nonce=bytes(32), validator=b""), "bad_request", "validator"),
    (NamespaceDelete(name="nowhere"), "not_found", "name"),
    (NamespaceDelete(name="public"), "forbidden", "name"),
]


class Said(msgspec.Struct, frozen=True):
    """What a door says of a refusal; each memory's log has a size of its own, which is left out."""

    code: str
    field: str | None
    words: str

    def __eq__(self, other):
        return self.plain() == other.plain()

    __hash__ = None

    def plain(self):
        return self.code, self.field, re.sub(r"has \d+ events", "has N events", self.words)


@pytest.fixture(scope="module")
def doors(node, tmp_path_factory):
    """A node's two addresses and a memory in this process: the same is kept in both."""
    with engram.open(tmp_path_factory.mktemp("alike") / "data") as memory, node.client() as client:
        for each in (memory, client):
            each.put(vector=[1.0] * 384, metadata={"test": "alike"}, key="taken")
        memory.embed("ready")
        yield node, memory


def over_rpc(node, method, params):
    with Peer(node.port) as peer:
        error, result = peer.call(method, params)
    assert error is not None, f"accepted: {result}"
    return Said(error["code"], error.get("field"), error["message"])


def over_http(node, method, params):
    route = ROUTES[METHODS[method][0]]
    path, rest = route.path, dict(params)
    for name in list(rest):
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(rest.pop(name), safe=""))
    connection = http.client.HTTPConnection(node.http_url.removeprefix("http://"), timeout=30)
    body = json.dumps(rest).encode() if route.has_body else None
    if not route.has_body and rest:
        path += "?" + "&".join(f"{quote(name)}={quote(str(value))}" for name, value in rest.items())
    connection.request(route.verb, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert answer.status >= 400, f"accepted: {said}"
    return Said(said["code"], said.get("field"), said["error"])


def asked(call, request):
    try:
        answer = call(request)
    except EngramError as error:
        return Said(error.code, error.field, error.message)
    raise AssertionError(f"accepted: {answer}")


async def asked_async(url, request):
    async with AsyncEngramClient(url) as client:
        try:
            answer = await client._call(request)
        except EngramError as error:
            return Said(error.code, error.field, error.message)
    raise AssertionError(f"accepted: {answer}")


@pytest.mark.parametrize(("method", "params", "code", "field"), RAW, ids=lambda value: str(value)[:60])
def test_a_strangers_mistake_is_told_alike_over_every_wire(doors, method, params, code, field):
    node, _ = doors
    said = over_rpc(node, method, params)
    assert (said.code, said.field) == (code, field), said
    assert over_http(node, method, params) == said


@pytest.mark.parametrize(("request_", "code", "field"), TYPED, ids=lambda value: str(value)[:60])
def test_what_is_refused_is_refused_alike_at_every_door(doors, request_, code, field):
    node, memory = doors
    with node.client() as over_rpc_client, EngramClient(node.http_url) as over_http_client:
        said = asked(over_rpc_client._call, request_)
        assert said.code == code, said
        if field is not None:
            assert said.field == field, said
        assert asked(memory._call, request_) == said, "embedded"
        assert asked(over_http_client._call, request_) == said, "over HTTP"
    for url, backend in ((node.url, "asyncio"), (node.http_url, "trio")):
        assert anyio.run(asked_async, url, request_, backend=backend) == said, f"{backend}, {url}"
