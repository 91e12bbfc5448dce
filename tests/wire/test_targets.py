"""Where requests stand in HTTP: there and back, and the same errors as over RPC."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import BadRequest, Conflict, EngramError, TooLarge, Unavailable, UnknownMethod, Unprocessable
from engram.limits import Limits
from engram.wire import (
    METHODS,
    ROUTES,
    BadCall,
    Delete,
    Events,
    Get,
    Hello,
    History,
    Item,
    KeyDelete,
    KeyGet,
    KeyList,
    KeySet,
    List,
    NamespaceDelete,
    Put,
    PutMany,
    PutResult,
    Query,
    ServerConnection,
    WrongVerb,
    decode_answer,
    encode_error,
    http_call,
    request_of,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.one_of(texts, st.sampled_from(["a/b", "..", ".", "a%2Fb", "?x=1&y", "#", "", "é", " ", "+", "history"]))
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), texts
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
metadata = st.none() | st.dictionaries(texts, values, max_size=4)
expects = st.sampled_from([msgspec.UNSET, None, "v1::00"])
numbers = st.integers(-(2**63), 2**63 - 1)
vectors = (
    st.none()
    | st.binary(max_size=16)
    | st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=4)
)
optional = st.none() | names
requests = st.one_of(
    st.builds(Put, text=optional, vector=vectors, metadata=metadata, key=optional, expect=expects, namespace=optional),
    st.builds(PutMany, items=st.lists(st.builds(Item, text=optional, vector=vectors, metadata=metadata), max_size=3)),
    st.builds(Query, text=optional, vector=vectors, top_k=numbers, filter=st.none() | names | metadata, exact=st.booleans()),
    st.builds(Get, cid=names, namespace=optional, include_vector=st.booleans(), min_position=numbers),
    st.builds(Delete, cid=names, namespace=optional),
    st.builds(List, filter=st.none() | metadata, limit=numbers, after=numbers, chunks=st.booleans()),
    st.builds(KeySet, key=names, cid=texts, expect=expects, namespace=optional),
    st.builds(KeyDelete, key=names, expect=expects, namespace=optional),
    st.builds(KeyGet, key=names, namespace=optional),
    st.builds(KeyList, prefix=names, after=optional, limit=numbers),
    st.builds(History, key=names, after=numbers),
    st.builds(Events, since=numbers, wait_s=st.floats(0, 30), types=st.none() | st.just(["a.1", "b.1"]), namespace=optional),
    st.builds(NamespaceDelete, name=names),
)  # fmt: skip


def back(call):
    path, _, query = call.target.encode().partition(b"?")
    return request_of(call.verb, path, query, call.body or b"")


@given(requests)
def test_a_request_is_the_same_after_its_way_through_http(request):
    assert back(http_call(request)) == request


def test_every_request_but_a_connections_has_a_route():
    assert set(ROUTES) == {request for request, _ in METHODS.values()} - {
        METHODS[name][0] for name in ("ping", "hello", "prove")
    }


def over_rpc(request, params):
    [event] = ServerConnection().receive(msgspec.msgpack.encode([0, 1, request.method, [params]]))
    assert isinstance(event, BadCall)
    return event.error


def over_http(request, params):
    verb, path = ROUTES[request].verb, ROUTES[request].path.encode()
    with pytest.raises(EngramError) as refused:
        request_of(verb, path, b"", msgspec.json.encode(params))
    return refused.value


BAD_BODIES = [
    (Put, {"text": 1}),
    (Put, {"text": None, "txt": "a"}),
    (Put, {"quite": "other"}),
    (Put, {"vector": 1}),
    (Put, {"vector": [1.0, "a"]}),
    (Put, {"vector": [0.5] * 4097}),
    (Put, {"metadata": [1]}),
    (Put, {"expect": 3}),
    (Put, {"on_long": "cut"}),
    (Put, []),
    (Put, None),
    (Put, "text"),
    (PutMany, {}),
    (PutMany, {"items": {}}),
    (PutMany, {"items": [{"text": "a"}, {"texts": "a"}]}),
    (PutMany, {"items": [{"text": "a"}, {"metadata": {"a": 1}, "vector": [None]}]}),
    (PutMany, {"items": [{}] * 1001}),
    (Query, {"top_k": "5"}),
    (Query, {"top_k": 1.5}),
    (Query, {"top_k": 2**63}),
    (Query, {"filter": 3}),
    (Query, {"exact": "yes"}),
]


@pytest.mark.parametrize(("request_type", "params"), BAD_BODIES, ids=lambda value: str(value)[:40])
def test_a_bad_body_is_refused_as_over_rpc(request_type, params):
    http, rpc = over_http(request_type, params), over_rpc(request_type, params)
    assert (http.code, http.field, http.message) == (rpc.code, rpc.field, rpc.message)


@pytest.mark.parametrize(
    ("request_type", "query", "params"),
    [
        (List, b"limit=many", {"limit": "many"}),
        (List, b"limit=1.5", {"limit": 1.5}),
        (List, b"limit=", {"limit": ""}),
        (List, b"chunks=yes", {"chunks": "yes"}),
        (List, b"chunks=1", {"chunks": 1}),
        (List, b"limt=4", {"limt": "4"}),
        (List, b"limit=9223372036854775808", {"limit": 2**63}),
        (Events, b"wait_s=long", {"wait_s": "long"}),
        (Events, b"wait_s=NaN", {"wait_s": "NaN"}),
        (List, b"limit=" + b"[" * 4000, {"limit": "[" * 4000}),
        (Events, b"types=" + b",".join([b"a"] * 65), {"types": ["a"] * 65}),
        (Events, b"types=" + b"," * 64, {"types": [""] * 65}),
    ],
)
def test_a_bad_query_string_is_refused_as_over_rpc(request_type, query, params):
    with pytest.raises(EngramError) as refused:
        request_of("GET", ROUTES[request_type].path.encode(), query, b"")
    http, rpc = refused.value, over_rpc(request_type, params)
    assert (http.code, http.field, http.message) == (rpc.code, rpc.field, rpc.message)


def refusal(verb, path, query=b"", body=b""):
    with pytest.raises(EngramError) as refused:
        request_of(verb, path, query, body)
    return refused.value


def test_a_field_that_comes_twice_is_named():
    assert "`text` comes twice" in str(refusal("POST", b"/v1/memories", body=b'{"text":"a","text":"b"}'))
    assert "`limit` comes twice" in str(refusal("GET", b"/v1/memories", b"limit=1&limit=2"))
    for error in (
        refusal("PUT", b"/v1/keys/a", body=b'{"cid":"b","key":"c"}'),
        refusal("GET", b"/v1/keys/a", b"key=c"),
    ):
        assert (error.code, error.field, error.message) == ("bad_request", "key", "`key` comes twice")


def test_where_a_field_belongs_is_told():
    error = refusal("POST", b"/v1/memories", b"namespace=notes", b'{"text":"a"}')
    assert (error.field, "put it in the body" in error.message) == ("namespace", True)
    assert "takes no body" in refusal("DELETE", b"/v1/memories/v1::00", body=b"{}").message


def test_a_body_before_which_there_is_space_takes_the_paths_fields():
    assert request_of("PUT", b"/v1/keys/a%2Fb", b"", b' \n{ "cid": "c" }') == KeySet(key="a/b", cid="c")
    assert refusal("PUT", b"/v1/keys/a", body=b"{}").message == "key_set: `cid` is missing"
    assert (
        refusal("PUT", b"/v1/keys/a", body=b'[{"cid":1}]').message == "key_set: params: expected `object`, got `array`"
    )
    assert "at byte 1" in refusal("PUT", b"/v1/keys/a", body=b"{,}").message


def test_a_key_with_slashes_is_one_segment():
    assert request_of("GET", b"/v1/keys/a%2Fhistory", b"", b"") == KeyGet(key="a/history")
    assert request_of("GET", b"/v1/keys/a/history", b"", b"") == History(key="a")
    assert isinstance(refusal("GET", b"/v1/keys/a/b"), UnknownMethod)
    assert refusal("GET", b"/v1/keys/%ff").field == "key"


def test_a_path_that_is_written_out_is_no_others_segment():
    error = refusal("GET", b"/v1/memories/batch")
    assert isinstance(error, WrongVerb)
    assert error.allowed == ("POST",)


def test_what_stands_nowhere_is_told_with_what_is_near():
    error = refusal("GET", b"/v1/memorys")
    assert (error.code, error.http_status, error.field) == ("unknown_method", 404, "path")
    assert "/v1/memories" in error.message
    error = refusal("PATCH", b"/v1/memories")
    assert isinstance(error, WrongVerb)
    assert (error.http_status, error.allowed) == (405, ("GET", "POST"))


def test_a_filter_in_a_query_string_is_an_expression_or_json():
    assert request_of("GET", b"/v1/memories", b"filter=kind+%3D+%27a%27", b"").filter == "kind = 'a'"
    assert request_of("GET", b"/v1/memories", b"filter=%7B%22kind%22%3A%22a%22%7D", b"").filter == {"kind": "a"}
    assert refusal("GET", b"/v1/memories", b'filter={"a":1,"a":2}').field == "filter.a"
    assert "not JSON" in refusal("GET", b"/v1/memories", b'filter={"a"').message


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (Put(metadata={"a": [1, float("nan")]}), Unprocessable, "metadata.a[1]: nan is not a number that JSON has"),
        (Put(metadata={"a": b"bytes"}), Unprocessable, "metadata.a: a bytes is not a JSON value"),
        (Put(metadata={1: 2}), BadRequest, "a key in `metadata` is not a string"),
        (Put(text="\ud800"), Unprocessable, "a string with a lone surrogate"),
        (PutMany(items=[Item(metadata={"a": float("inf")})]), Unprocessable, "items[0].metadata.a: inf"),
        (Query(text="a", filter={"a": float("nan")}), Unprocessable, "filter.a: nan"),
        (List(filter={"a": object()}), Unprocessable, "filter"),
        (Hello(protocol=1, agent="a", nonce=bytes(32)), UnknownMethod, "hello"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_json_cannot_carry_is_refused_before_it_leaves(request_, error, words):
    with pytest.raises(error) as refused:
        http_call(request_)
    assert words in str(refused.value)


def test_a_vector_that_is_not_finite_leaves_as_bytes_for_the_node_to_refuse():
    assert len(back(http_call(Put(vector=[float("nan"), 1.0]))).vector) == 8


def test_a_body_over_the_limit_is_not_sent():
    with pytest.raises(TooLarge, match="at most 50"):
        http_call(Put(text="a" * 100), Limits(http_body_bytes=50))


def test_answers_and_errors_come_back():
    answer = PutResult(cid="v1::00", position=3, created=True)
    assert decode_answer(Put, 201, msgspec.json.encode(answer)) == answer
    error = decode_answer(Put, 409, encode_error(Conflict("taken", field="key", current="v1::11")))
    assert isinstance(error, Conflict)
    assert (error.message, error.field, error.current) == ("taken", "key", "v1::11")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":1}', b'{"cid":"a"}', b"\xff", b'{"a":' * 4000])
@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_that_is_not_a_nodes_is_unavailable(status, body):
    with pytest.raises(Unavailable, match=str(status)):
        decode_answer(Put, status, body)
