"""The first Engram's own client, unmodified, against our node; and requests in the very form in which it sends them."""

from __future__ import annotations

import http.client
import importlib.util
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from first_wire import ALICE, BOB, claimed, signed

SCRIPT = Path(__file__).parents[2] / "scripts" / "first_client.py"
VECTOR = [0.5, *[0.25] * 383]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("first_client", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def package(script):
    try:
        return script.fetch()
    except script.NotToBeHad as error:
        pytest.skip(f"the first client cannot be had here: {error}")


def test_its_own_client_works_as_it_did(script, package, own_node):
    came = script.drive(own_node.http_url, package)
    gave = {}
    for line in came:
        gave.setdefault(line["call"], []).append(line.get("gave", line.get("words")))
    for line in came:
        refused = (
            line["call"] in ("ingest nothing", "ingest too much", "query too much", "namespace_key")
            or "nobody" in line["call"]
        )
        assert ("raised" in line) == (refused and line["call"] != "nobody there: is_online"), line
    assert gave["health"] == [{"status": "ok"}]
    assert gave["is_online"] == [True]
    assert gave["ingest"] == gave["ingest again"]
    cids = set(gave["ingest"])
    assert len(cids) == 2
    assert {hit["cid"] for hit in gave["query"][0]} == cids
    assert gave["query"][0][0]["metadata"] == {"source": "arxiv", "year": 2017}
    [[hit]] = gave["query_by_vector"]
    assert (hit["cid"], round(hit["score"], 5)) == (gave["ingest_embedding"][0], 1)
    kept, errors = gave["batch_ingest_file"][0]
    assert (len(kept), len(errors)) == (2, 2)
    assert gave["signed query"][0][0]["cid"] == gave["signed ingest"][0]
    assert gave["signed query"][0][0]["metadata"] == {"n": 1.5, "naïve": "café 🧠"}
    assert gave["signed query_by_vector"][0][0]["cid"] == gave["signed ingest_embedding"][0]
    assert gave["ingest nothing"] == ["HTTP request failed: HTTP Error 422: Unprocessable Entity"]
    assert gave["namespace_key"] == ["HTTP request failed: HTTP Error 501: Not Implemented"]
    assert gave["nobody there: is_online"] == [False]


# -- the same by hand, so that it is shown where pip has no such package ------------------------------------------------


def post(node, endpoint, payload):
    """Send as its `_post` does."""
    request = urllib.request.Request(
        f"{node.http_url}/{endpoint}",
        data=json.dumps(payload).encode("utf-8"),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    return answered(request)


def answered(request):
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def get(node, target):
    return answered(f"{node.http_url}/{target}")


def delete(node, cid, body=None):
    """Send as its `delete` does, which has no body; with one for who signs."""
    url = f"{node.http_url}/retrieve/{urllib.parse.quote(cid, safe='')}"
    headers = {} if body is None else {"Content-Type": "application/json"}
    return answered(
        urllib.request.Request(url, method="DELETE", data=body and json.dumps(body).encode(), headers=headers)
    )


def now_ms():
    time.sleep(0.002)  # a nonce of its own
    return time.time_ns() // 1_000_000


def sign(body, endpoint, key=ALICE):
    return signed(body, endpoint, key, now_ms())


def test_what_it_sends_unsigned_is_answered_as_it_reads_it(own_node):
    status, kept = post(
        own_node, "IngestSynapse", {"text": "The transformer architecture changed everything.", "metadata": {}}
    )
    assert (status, kept) == (200, {"cid": kept["cid"], "error": None})
    cid = kept["cid"]
    status, found = post(own_node, "QuerySynapse", {"query_text": "how does attention work?", "top_k": 5})
    assert status == 200
    assert found.keys() == {"results", "latency_ms", "error"}
    assert found["error"] is None
    assert found["results"] == [
        {"cid": cid, "score": found["results"][0]["score"], "metadata": {}, "trust_tier": "anonymous"}
    ]
    status, vector = post(own_node, "IngestSynapse", {"raw_embedding": VECTOR, "metadata": {"user_id": "u_123"}})
    assert status == 200
    status, found = post(own_node, "QuerySynapse", {"query_vector": VECTOR, "top_k": 1, "filter": {"user_id": "u_123"}})
    assert found["results"][0]["cid"] == vector["cid"]
    assert post(own_node, "list", {"limit": 50, "offset": 0, "filter": {"user_id": "u_123"}}) == (
        200,
        {"records": [{"cid": vector["cid"], "metadata": {"user_id": "u_123"}}], "count": 1, "offset": 0, "limit": 50},
    )
    assert get(own_node, f"retrieve/{urllib.parse.quote(cid, safe='')}") == (200, {"cid": cid, "metadata": {}})
    assert get(own_node, f"retrieve/{cid}") == (200, {"cid": cid, "metadata": {}})
    assert delete(own_node, cid) == (200, {"deleted": True, "cid": cid})
    assert delete(own_node, cid)[0] == 404
    assert get(own_node, "health") == (200, {"status": "ok"})


def test_what_it_signs_is_its_hotkeys(own_node):
    status, kept = post(
        own_node, "IngestSynapse", sign({"text": "naïve café 🧠", "metadata": {"n": 1.0}}, "IngestSynapse")
    )
    assert status == 200
    for key, code in ((BOB, 403), (ALICE, 200), (ALICE, 404)):
        assert delete(own_node, kept["cid"], sign({}, "DeleteSynapse", key))[0] == code
    body = sign({"query_text": "café", "top_k": 5}, "QuerySynapse")
    assert post(own_node, "QuerySynapse", body)[0] == 200
    status, error = post(own_node, "QuerySynapse", body)
    assert (status, error["code"], error["field"]) == (401, "unauthenticated", "nonce")
    status, error = post(own_node, "QuerySynapse", sign({"query_text": "café"}, "IngestSynapse"))
    assert (status, error["code"], error["field"]) == (401, "unauthenticated", "signature")


def test_a_namespace_is_its_owners(own_node):
    body = {"raw_embedding": VECTOR, "metadata": {"_enc": "AAAA"}, **claimed("notes", ALICE, now_ms())}
    status, kept = post(own_node, "IngestSynapse", sign(body, "IngestSynapse"))
    assert status == 200
    query = {"query_vector": VECTOR, "top_k": 5}
    own = sign({**query, **claimed("notes", ALICE, now_ms())}, "QuerySynapse")
    assert [hit["cid"] for hit in post(own_node, "QuerySynapse", own)[1]["results"]] == [kept["cid"]]
    assert post(own_node, "list", sign({"limit": 50, "offset": 0, "namespace": "notes"}, "list"))[1]["count"] == 1
    assert post(own_node, "QuerySynapse", query)[1]["results"] == []
    assert get(own_node, f"retrieve/{kept['cid']}")[0] == 404
    other = sign({**query, **claimed("notes", BOB, now_ms())}, "QuerySynapse", BOB)
    assert post(own_node, "QuerySynapse", other)[0] == 404
    stolen = sign({**query, **claimed("notes", ALICE, now_ms())}, "QuerySynapse", BOB)
    assert post(own_node, "QuerySynapse", stolen)[0] == 403


@pytest.mark.parametrize(
    ("endpoint", "payload", "status", "code", "field"),
    [
        ("IngestSynapse", {"text": "x" * 8193}, 413, "too_large", "text"),
        ("IngestSynapse", {"text": "x", "metadata": {"a": "x" * 4100}}, 413, "too_large", "metadata"),
        ("IngestSynapse", {"raw_embedding": [1.0, 2.0]}, 422, "unprocessable", "vector"),
        ("IngestSynapse", {"text": 5}, 400, "bad_request", "text"),
        ("QuerySynapse", {"query_text": "x", "top_k": 101}, 422, "unprocessable", "top_k"),
        ("QuerySynapse", {"query_text": "x", "top_k": 0}, 422, "unprocessable", "top_k"),
        ("RepairSynapse", {"cid": "v1::" + "0" * 64}, 404, "not_found", "cid"),
        ("list", {"limit": 201}, 422, "unprocessable", "limit"),
        ("namespace", {"action": "rotate", "namespace": "n", "key": "a", "new_key": "b"}, 501, "not_built", None),
        ("ChallengeSynapse", {"cid": "x"}, 400, "bad_request", "nonce_hex"),
        ("QuerySynapse", {"query_text": "x", "hotkey": ALICE.ss58_address}, 401, "unauthenticated", "nonce"),
        ("NoSynapse", {}, 404, "unknown_method", "path"),
    ],
)  # fmt: skip
def test_errors_have_their_true_status_and_name_the_field(node, endpoint, payload, status, code, field):
    came, error = post(node, endpoint, payload)
    assert (came, error["code"], error.get("field")) == (status, code, field)
    assert isinstance(error["error"], str)


def test_a_get_where_a_post_belongs_is_told_so(node):
    status, error = get(node, "IngestSynapse")
    assert (status, error["code"]) == (405, "unknown_method")


def test_through_a_proxy_on_this_machine_nobody_is_the_operator(own_node):
    kept = post(own_node, "IngestSynapse", {"text": "a cat sat"})[1]
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        connection = http.client.HTTPConnection("127.0.0.1", int(own_node.http_url.rsplit(":", 1)[1]), timeout=30)
        for verb, target, body in (
            ("POST", "/IngestSynapse", '{"text": "x"}'),
            ("POST", "/QuerySynapse", '{"query_text": "x"}'),
            ("DELETE", f"/retrieve/{kept['cid']}", None),
        ):
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(verb, target, body, {**headers, name: "203.0.113.9"})
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["code"]) == (401, "unauthenticated")
        connection.close()


def test_an_operator_who_wants_signatures_gets_them(make_node, tmp_path):
    file = tmp_path / ".env.miner"
    file.write_text("REQUIRE_HOTKEY_SIG=true\n")
    node = make_node(ENV_FILE=str(file))
    node.wait_for("model ready")
    assert post(node, "IngestSynapse", {"text": "x"})[0] == 401
    assert post(node, "IngestSynapse", sign({"text": "x"}, "IngestSynapse"))[0] == 200
    assert get(node, "health")[0] == 200
