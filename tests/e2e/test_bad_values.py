"""Bad values through the client: each is refused with its code, its field and a reason, and costs nobody anything."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from e2e.processes import Peer, code_of, unchanged

V = [1.0] + [0.0] * 383
DIM = 384


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def check(error, code, field, said):
    assert (error.code, error.field) == (code, field), error
    assert said in error.message


# -- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["ingest", "query", "embed"])
@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "unprocessable", "it is empty"),
        (" \t\r\n\u00a0\u2003", "unprocessable", "nothing to remember or to look for"),
        ("x" * 1_000_001, "too_large", "1000001 characters are over the limit of 1000000 bytes; split it"),
        ("é" * 500_001, "too_large", "1000002 bytes are over the limit of 1000000; split it"),
        ("x" * 9_000_000, "too_large", "split it"),
        ("a\ud800b", "unprocessable", "character 1 is a lone surrogate"),
        (5, "bad_request", " int"),
        (b"cat", "bad_request", " bytes"),
        (None, "bad_request", ""),
    ],
)
def test_a_bad_text(node, client, ask, text, code, said):
    with unchanged(node):
        error = code_of(getattr(client, ask), text)
    assert error.code == code
    assert error.field in {"text", "texts", "texts[0]"}
    assert said in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize("ask", ["query", "embed"])
def test_what_is_looked_for_or_embedded_is_never_cut(node, client, ask):
    with unchanged(node):
        error = code_of(getattr(client, ask), "cat " * 255)
    assert (error.code, error.field in {"text", "texts"}) == ("too_large", True)
    assert "255 word pieces and the model takes at most 254: split it" in error.message


def test_the_longest_text_in_bytes_and_in_word_pieces_is_kept(client):
    for text in ("x" * 1_000_000, "cat " * 254):
        assert client.get(client.ingest(text)).text == text


def test_any_text_with_a_letter_round_trips_exactly(client):
    for text in (
        "\u0000",
        "a\u0000b",
        "\u200b",
        "e\u0301 \u00e9",
        "\u202eabc",
        "👩‍👩‍👧",
        "\U0010ffff",
        "a\r\nb\rc",
        "\x1b[2J",
    ):
        cid = client.ingest(text, {"k": text})
        record = client.get(cid)
        assert (record.text, record.metadata) == (text, {"k": text})


# -- vectors ----------------------------------------------------------------------------------------------------------

BAD_VECTORS = [
    ([math.nan, *V[1:]], "number 0 is NaN"),
    ([*V[1:], math.inf], "number 383 is inf"),
    ([-math.inf, *V[1:]], "number 0 is -inf"),
    ([1e39, *V[1:]], "number 0 is beyond float32"),
    ([10**400, *V[1:]], "number 0 is beyond float32"),
    (["1", *V[1:]], "item 0 is not a number but str"),
    ([None, *V[1:]], "item 0 is not a number but NoneType"),
    ([0.0] * DIM, "the vector is zero"),
    ([-0.0] * DIM, "the vector is zero"),
    ([1e-50] * DIM, "the vector is zero"),
    ([1.0] * 383, "383 numbers, and the namespace 'public' has dim 384"),
    ([*V, 0.0], "385 numbers, and the namespace 'public' has dim 384"),
    ([1.0] * 5000, "more than 4096 dimensions"),
    ([], "it is empty"),
    (b"", "it is empty"),
    (b"abc", "3 bytes are not whole float32"),
    (struct.pack("<384f", *[math.nan] * DIM), "NaN"),
    ("abc", "got str"),
    (5, "got int"),
    (np.full(DIM, np.nan, np.float32), "NaN"),
    (np.full(DIM, np.inf), "number 0 is inf"),
    (np.zeros(DIM), "the vector is zero"),
    (np.ones(383, np.float32), "383 numbers"),
    (np.ones((1, DIM), np.float32), "it has 2 dimensions"),
    (np.ones(DIM, complex), "complex"),
    (np.array(["a"] * DIM), "item 0 is not a number"),
]


@pytest.mark.parametrize(("vector", "said"), BAD_VECTORS, ids=range(len(BAD_VECTORS)))
def test_a_bad_vector(node, client, vector, said):
    with unchanged(node):
        for ask in (client.ingest_embedding, client.query_by_vector):
            check(code_of(ask, vector), "unprocessable", "vector", said)


@pytest.mark.parametrize("given", [list, tuple, np.array, np.float32, lambda v: np.array(v, ">f8"), iter])
def test_a_vector_is_kept_as_given_in_any_clothes(client, given):
    values = [0.5, -2.0, -0.0, 3.0, *[0.0] * 380]
    cid = client.ingest_embedding(given(values))
    kept = struct.unpack("<384f", client.get(cid, include_vector=True).vector)
    assert list(kept) == [0.5, -2.0, 0.0, 3.0, *[0.0] * 380]
    assert math.copysign(1.0, kept[2]) == 1.0
    best = client.query_by_vector(given([10 * value for value in values]), top_k=1)[0]
    assert (best.cid, best.score) == (cid, pytest.approx(1.0))


def test_the_smallest_and_the_largest_vectors_are_found(client):
    for scale in (1e-45, 3.4e38):
        vector = [0.0, scale, scale, *[0.0] * 381]
        cid = client.ingest_embedding(vector)
        found = {hit.cid: hit.score for hit in client.query_by_vector(vector, top_k=1000)}
        assert found[cid] == pytest.approx(1.0)


def test_a_vector_beside_a_text_must_be_its_embedding(node, client):
    with unchanged(node):
        error = code_of(client.ingest_embedding, V, text="a text beside")
        check(error, "unprocessable", "vector", "it is not the v1 embedding of the text beside it; leave it out")
    embedding = client.embed("a text beside")
    assert client.ingest_embedding(embedding, text="a text beside") == client.ingest("a text beside")


# -- metadata ---------------------------------------------------------------------------------------------------------

BAD_METADATA = [
    ({"a": "x" * 5000}, "too_large", "metadata", "5008 bytes of JSON are over the limit of 4096"),
    ({"engram.x": 1}, "unprocessable", "metadata", "the key 'engram.x' starts with 'engram.', which is ours"),
    ({"k" * 257: 1}, "unprocessable", "metadata", "a key of 257 bytes is over the limit of 256"),
    ({"a": {"é" * 129: 1}}, "unprocessable", "metadata.a", "a key of 258 bytes is over the limit of 256"),
    (nested(17), "unprocessable", "metadata", "nested more than 16 deep"),
    (nested(900), "unprocessable", "metadata", "nested more than 16 deep"),
    ({1: 2}, "unprocessable", "metadata", "a key is a string, got int"),
    ({"a": b"x"}, "unprocessable", "metadata.a", "bytes is not a JSON value"),
    ({"a": [1, {2}]}, "unprocessable", "metadata.a[1]", "set is not a JSON value"),
    ({"a": object()}, "unprocessable", "metadata.a", "object is not a JSON value"),
    ({"a": np.float32(1)}, "unprocessable", "metadata.a", "float32 is not a JSON value"),
    ({"a": math.nan}, "unprocessable", "metadata.a", "nan is not a number that JSON has"),
    ({"a": -math.inf}, "unprocessable", "metadata.a", "-inf is not a number that JSON has"),
    ({"a": 2**53 + 1}, "unprocessable", "metadata.a", "no double equals the integer 9007199254740993"),
    ({"a": 10**400}, "unprocessable", "metadata.a", "no double equals this integer"),
    ({"a": "\ud800"}, "unprocessable", "metadata.a", "lone surrogate"),
    ({"\ud800": 1}, "unprocessable", "metadata", "lone surrogate"),
    ([1], "bad_request", "metadata", "expected a dict, got list"),
    ("a=1", "bad_request", "metadata", "expected a dict, got str"),
]


@pytest.mark.parametrize(("metadata", "code", "field", "said"), BAD_METADATA, ids=range(len(BAD_METADATA)))
def test_bad_metadata(node, client, metadata, code, field, said):
    with unchanged(node):
        check(code_of(client.ingest_embedding, V, metadata), code, field, said)
        check(code_of(client.ingest, "never kept", metadata), code, field, said)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"": ""},
        {"a=b;c\"'\\`$(x)\0\n\u2028": "=;\"'\0\u2029"},
        {"é": 1, "e\u0301": 2, "\U0001f600": "👩‍👩‍👧", "\uffff": None},
        {"$eq": {"$gt": 1}, "a": {"engram.x": True}},
        {"a": [1, -2.5, 1e300, 5e-324, 2**53, 2**60, True, None, [], {}]},
        {"k" * 256: "x" * 3800},
        nested(16),
    ],
    ids=range(8),
)
def test_metadata_round_trip_exactly(client, metadata):
    cid = client.ingest_embedding(V, metadata)
    assert client.get(cid).metadata == metadata
    assert [hit.metadata for hit in client.query_by_vector(V, 1000) if hit.cid == cid] == [metadata]


@pytest.mark.parametrize("number", [2**60, 2**63, 2**64, -(2**64), 1e20, 1.2345678901234568e20, -9.3e18])
def test_a_number_beyond_64_bits_neither_fails_its_reader_nor_the_namespace(node, client, number):
    """It was kept as JSON has it, and no answer with it could be sent: `list` and `query` failed for everybody."""
    space = f"large {number}"
    client.namespaces.create(space, 2, "test/2")
    cid = client.ingest_embedding([1.0, 0.0], {"n": number}, namespace=space)
    assert client.get(cid, namespace=space).metadata == {"n": number}
    assert client.list(namespace=space, filter={"n": {"$gte": -1e30}})[0].metadata == {"n": number}
    assert client.query_by_vector([1.0, 0.0], namespace=space)[0].metadata == {"n": number}


def test_numbers_have_one_form(client):
    assert client.get(client.ingest_embedding(V, {"n": -0.0})).metadata == {"n": 0}
    assert client.ingest_embedding(V, {"n": 1.0}) == client.ingest_embedding(V, {"n": 1})


# -- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top_k", [0, -1, 1001, 10**9, 2**70, -(2**70), 1.5, "5", None, True])
def test_a_bad_top_k(node, client, top_k):
    with unchanged(node):
        for ask, what in ((client.query, "cat"), (client.query_by_vector, V)):
            error = code_of(ask, what, top_k=top_k)
            assert (error.code, error.field) in {("unprocessable", "top_k"), ("bad_request", "top_k")}
            assert "top_k" in error.message


@pytest.mark.parametrize(
    ("page", "field"),
    [({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"limit": 2**70}, "limit"), ({"offset": -1}, "offset")],
)
def test_a_bad_page(node, client, page, field):
    with unchanged(node):
        error = code_of(client.list, **page)
    assert error.field == field
    assert field in error.message


@pytest.mark.parametrize("name", ["nope", "Public", "public ", "\u200b", "a\0b"])
def test_an_unknown_namespace(node, client, name):
    with unchanged(node):
        for error in (
            code_of(client.ingest, "x", namespace=name),
            code_of(client.ingest_embedding, V, namespace=name),
            code_of(client.query, "x", namespace=name),
            code_of(client.list, namespace=name),
            code_of(client.get, "v1::" + "0" * 64, namespace=name),
            code_of(client.delete, "v1::" + "0" * 64, namespace=name),
        ):
            check(error, "not_found", "namespace", "create it first (namespace create)")


@pytest.mark.parametrize("name", ["", "x" * 129, "é" * 65, "x" * 2_000_000, "\ud800"])
def test_a_name_that_no_namespace_can_have(node, client, name):
    with unchanged(node):
        assert code_of(client.list, namespace=name).field == "namespace"
        error = code_of(client.namespaces.create, name)
    assert (error.code, error.field) == ("unprocessable", "name")
    assert len(error.message) < 300


@pytest.mark.parametrize("cid", ["v1::" + "0" * 64, "sha256:" + "1" * 64, "sha256:" + "0" * 64])
def test_an_unknown_cid(node, client, cid):
    """The last is the mark of records without content, which once answered to it."""
    client.ingest_embedding(V)
    with unchanged(node):
        check(code_of(client.get, cid), "not_found", "cid", f"no record {cid} in this namespace")


@pytest.mark.parametrize(
    "cid",
    ["", "v1::", "x", "v1::" + "A" * 64, "v1::" + "0" * 63, "v1::" + "0" * 64 + "\n", "v2::" + "0" * 64, "sha256:zz"],
)
def test_an_ill_formed_cid(node, client, cid):
    with unchanged(node):
        for ask in (client.get, client.delete):
            check(code_of(ask, cid), "unprocessable", "cid", "not a CID (v1:: and 64 lower-case hex digits)")


def test_a_cid_of_another_type_or_size(node, client):
    with unchanged(node):
        check(code_of(client.get, 5), "bad_request", "cid", "got `int`")
        check(code_of(client.get, "\ud800"), "unprocessable", "cid", "lone surrogate")
        assert len(code_of(client.get, "x" * 5_000_000).message) < 300
        check(code_of(client.delete, "sha256:" + "0" * 64), "unprocessable", "cid", "not a CID")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("a =", "bad_request", "column 4: expected a value: a string, a number, true, false or null; found the end\n  a =\n     ^"),
        ("a = 1 nad b = 2", "bad_request", "column 7"),
        ('a = "x', "bad_request", "^"),
        ("(((", "bad_request", "column 4"),
        ("a = 1 and " * 1000 + "a = 1", "too_large", "a filter has at most 256 nodes"),
        ("not " * 1000 + "a = 1", "too_large", "at most 16 levels deep"),
        ("(" * 60_000, "too_large", "at most 16 levels deep"),
        ("x" * 100_000, "too_large", "at most 65536 bytes"),
        ({"a": {"$foo": 1}}, "bad_request", "unknown operator `$foo` (known: $eq"),
        ({"$and": []}, "bad_request", "needs at least one filter"),
        ({"a": {"$in": list(range(100_000))}}, "too_large", "at most 1000 values in its lists"),
        (nested(25), "bad_request", ""),
        (5, "bad_request", "got `int`"),
        ([], "bad_request", "got `array`"),
        ("\ud800", "unprocessable", "lone surrogate"),
        ({"a": object()}, "unprocessable", "cannot be sent"),
    ],
    ids=range(16),
)  # fmt: skip
def test_a_bad_filter(node, client, given, code, said):
    with unchanged(node):
        for ask in (lambda f: client.list(filter=f), lambda f: client.query_by_vector(V, filter=f)):
            error = code_of(ask, given)
            assert error.code == code, error
            assert error.field.startswith("filter")
            assert said in error.message
            assert len(error.message) < 500


def test_a_query_needs_one_of_text_and_vector(node):
    with unchanged(node), Peer(node.port) as peer:
        for params in ({}, {"text": "cat", "vector": V}):
            error, _ = peer.call("query", params)
            assert (error["code"], error["field"]) == ("bad_request", "text")
            assert error["message"] == "give either text or vector to query by"


@pytest.mark.parametrize(
    ("dim", "model", "field"),
    [
        (0, "m/1", "dim"),
        (-1, "m/1", "dim"),
        (4097, "m/1", "dim"),
        (2**70, "m/1", "dim"),
        (5, None, "model_version"),
        (None, "m/1", "dim"),
        (5, "v1", "dim"),
        (4, "v1-draft", "model_version"),
        (4, "v1/x", "model_version"),
        (4, "sealed/1", "model_version"),
        (4, "a b", "model_version"),
        (4, "", "model_version"),
        (4, "x" * 129, "model_version"),
    ],
)
def test_a_namespace_that_cannot_be(node, client, dim, model, field):
    with unchanged(node):
        error = code_of(client.namespaces.create, "never", dim, model)
        assert (error.code, error.field) == ("unprocessable", field)


def test_a_model_version_that_is_not_the_namespaces(node, client):
    with unchanged(node):
        for model in ("other/1", "x" * 1_000_000, ""):
            error = code_of(client.ingest, "never kept", model_version=model)
            check(error, "unprocessable", "model_version", "bound to 'v1'")
            assert len(error.message) < 300


# -- many -------------------------------------------------------------------------------------------------------------


def test_an_item_that_cannot_be_kept_costs_the_others_nothing(client):
    long = "cat " * 250_001
    items = ["fine one", "", 5, {"text": "x", "txet": 1}, {"vector": [1.0]}, {}, None, long, {"text": "fine two"}]
    done = client.ingest_many(items, on_long="reject")
    assert [client.get(cid).text for cid in (done[0], done[-1])] == ["fine one", "fine two"]
    assert [(error.code, error.field) for error in done[1:-1]] == [
        ("unprocessable", "text"),
        ("bad_request", None),
        ("bad_request", "txet"),
        ("unprocessable", "vector"),
        ("bad_request", "text"),
        ("bad_request", None),
        ("too_large", "text"),
    ]


@pytest.mark.parametrize("given", ["abc", b"abc", {"text": "one"}, 5, None])
def test_one_given_as_many_is_refused_and_not_taken_apart(node, client, given):
    """A text would have become its letters, and a dict its keys."""
    with unchanged(node):
        for ask, field in (
            (client.ingest_many, "items"),
            (client.ingest_embeddings, "vectors"),
            *([(client.embed, "texts")] if not isinstance(given, str) else []),
        ):
            check(code_of(ask, given), "bad_request", field, f"got one {type(given).__name__}")


def test_a_thousand_at_once(node, client):
    with node.client() as other:
        before = other.status().position
        done = client.ingest_many({"vector": [1.0, float(at), *[0.0] * 382]} for at in range(1, 1001))
        assert len(set(done)) == 1000
        assert other.status().position == before + 1000
        again = client.ingest_many({"vector": [1.0, float(at), *[0.0] * 382]} for at in range(1, 1001))
        assert again == done
        assert other.status().position == before + 1000


def test_over_a_thousand_in_one_call_is_refused(node):
    with unchanged(node), Peer(node.port) as peer:
        error, _ = peer.call("put_many", {"items": [{"text": "x"}] * 1001})
    assert (error["code"], error["field"]) == ("too_large", "items")
    assert "<= 1000" in error["message"]
