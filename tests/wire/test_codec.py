"""The codec against the golden messages, byte by byte, and against what strangers send."""

import json
import struct
from pathlib import Path

import msgspec
import pytest

from engram.errors import WIRE_ERRORS, BadRequest, EngramError, NotFound, TooLarge, Unavailable, Unprocessable
from engram.limits import Limits
from engram.wire import (
    METHODS,
    BadCall,
    Call,
    ClientConnection,
    Delete,
    DeleteResult,
    ErrorInfo,
    Fatal,
    Get,
    Hello,
    ListResult,
    Notice,
    Notification,
    Put,
    PutResult,
    Query,
    Record,
    Response,
    ServerConnection,
    Status,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "rpc.json").read_text())
pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


def golden(name):
    return bytes.fromhex(GOLDEN[name]["hex"])


def events(data, connection=None):
    return list((connection or ServerConnection()).receive(data))


def only(data):
    (event,) = events(data)
    return event


def refusal(params, method="put"):
    event = only(pack([0, 1, method, [params]]))
    assert isinstance(event, BadCall)
    return event.error


# -- golden --


def test_golden_request():
    data = golden("request_hex")
    assert only(data) == Call(7, Get(cid="v1::" + "0" * 64), len(data))


def test_golden_vectors_mean_the_same_numbers():
    as_bytes, as_numbers = (only(bytes.fromhex(text)).request.vector for text in GOLDEN["vectors_hex"]["hex"])
    assert struct.unpack("<4f", as_bytes) == pytest.approx(as_numbers, rel=1e-7)


def test_golden_answers_leave_as_they_should():
    connection = ServerConnection()
    events(golden("request_hex"), connection)
    error = NotFound("no such record", field="cid")
    assert connection.send_error(7, error) == golden("error_hex")
    assert connection.send_result(7, {"ok": True}) == golden("result_hex")

    class Moved(msgspec.Struct):
        position: int

    assert connection.send_notification("event", Moved(5)) == golden("notification_hex")


def test_golden_hello():
    event = only(bytes.fromhex(GOLDEN["hello_hex"]))
    assert isinstance(event.request, Hello)
    assert (event.request.protocol, event.request.agent, event.request.nonce) == (1, "test", b"\1" * 32)


def test_golden_hello_answer_is_understood():
    client = ClientConnection()
    call_id, _ = client.call(Hello(protocol=1, agent="test", nonce=b"\1" * 32))
    answer = bytearray.fromhex(GOLDEN["hello_answer_hex"])
    assert answer[2] == call_id == 0
    (response,) = client.receive(bytes(answer))
    assert response.outcome.nonce == b"\2" * 32
    assert response.outcome.methods == ["hello", "prove"]


def test_golden_answers_are_understood():
    client = ClientConnection()
    for _ in range(8):
        client.call(Get(cid="x"))
    (response,) = client.receive(golden("error_hex"))
    assert response.id == 7
    assert isinstance(response.outcome, NotFound)
    assert (response.outcome.message, response.outcome.field) == ("no such record", "cid")
    assert client.receive(golden("notification_hex")) == [Notification("event", {"position": 5})]


def test_golden_codes():
    assert {code: cls.http_status for code, cls in WIRE_ERRORS.items()} == GOLDEN["codes"]


@pytest.mark.parametrize("name", GOLDEN["closes"])
def test_golden_what_closes(name):
    data = bytes.fromhex(GOLDEN["closes"][name])
    connection = ServerConnection()
    found = events(data, connection)
    if name.startswith("array"):
        assert found == []
        found = events(bytes(8 * 1024 * 1024), connection)
    (event,) = found
    assert isinstance(event, Fatal)
    kind, method, (info,) = unpack(connection.send_refusal(event))
    assert (kind, method, info["code"]) == (2, "error", event.error.code)
    assert events(golden("request_hex"), connection) == []


@pytest.mark.parametrize("name", GOLDEN["lives"])
def test_golden_what_lives(name):
    connection = ServerConnection()
    notice, call = events(bytes.fromhex(GOLDEN["lives"][name]) + golden("request_hex"), connection)
    assert isinstance(notice, Notice)
    assert unpack(connection.send_refusal(notice))[:2] == [2, "error"]
    assert isinstance(call, Call)


@pytest.mark.parametrize("name", GOLDEN["bad_request_under_its_id"])
def test_golden_bad_request_under_its_id(name):
    connection = ServerConnection()
    bad, call = events(bytes.fromhex(GOLDEN["bad_request_under_its_id"][name]) + golden("request_hex"), connection)
    assert isinstance(bad, BadCall)
    assert unpack(connection.send_refusal(bad))[:2] == [1, 1]
    assert bad.error.code == "bad_request"
    assert isinstance(call, Call)


# -- streams --


def test_requests_come_whole_however_they_are_cut():
    stream = golden("request_hex") + pack([0, 1, "status", [{}]]) + b"\x80" + pack([0, 2, "delete", [{"cid": "a"}]])
    whole = events(stream)
    connection = ServerConnection()
    found = [event for at in range(len(stream)) for event in events(stream[at : at + 1], connection)]
    assert [type(event) for event in whole] == [Call, Call, Notice, Call]
    assert [event for event in found if isinstance(event, Call)] == [e for e in whole if isinstance(e, Call)]
    assert found[3].request == Delete(cid="a")


def test_events_that_are_not_taken_come_with_the_next_bytes():
    connection = ServerConnection()
    first = connection.receive(pack([0, 1, "status", [{}]]) * 1 + pack([0, 2, "status", [{}]]))
    assert next(first).id == 1
    assert [event.id for event in connection.receive(pack([0, 3, "status", [{}]]))] == [2, 3]


def test_an_id_in_flight_is_refused_and_free_again_when_answered():
    connection = ServerConnection()
    call, bad = events(pack([0, 5, "status", [{}]]) * 2, connection)
    assert isinstance(call, Call)
    assert isinstance(bad, BadCall)
    assert bad.error.field == "id"
    assert isinstance(events(pack([0, 5, "status", [{}]]), connection)[0], BadCall)
    connection.send_error(5, NotFound("x"))
    assert isinstance(events(pack([0, 5, "status", [{}]]), connection)[0], Call)


def test_a_client_takes_answers_in_any_order_byte_by_byte():
    client, server = ClientConnection(), ServerConnection()
    calls = [client.call(Put(text=str(n))) for n in range(3)]
    taken = [event for _, data in calls for event in events(data, server)]
    stream = b"".join(
        server.send_result(call.id, PutResult(cid=call.request.text, position=1, created=True))
        for call in reversed(taken)
    )
    found = [response for at in range(len(stream)) for response in client.receive(stream[at : at + 1])]
    assert [(r.id, r.outcome.cid) for r in found] == [(2, "2"), (1, "1"), (0, "0")]


def test_client_ids_wrap_around_and_skip_those_in_flight():
    client = ClientConnection()
    assert client.call(Status())[0] == 0
    client._next_id = 2**32 - 1
    assert client.call(Status())[0] == 2**32 - 1
    assert client.call(Status())[0] == 1


# -- refusals --


@pytest.mark.parametrize(
    ("params", "field", "said"),
    [
        ({"txet": "a"}, "txet", "did you mean `text`?"),
        ({"text": 1}, "text", "expected `str | null`, got `int`"),
        ({"vector": "x"}, "vector", "expected `bytes | array | null`, got `str`"),
        ({"vector": [1, "x"]}, "vector[1]", "expected `float`, got `str`"),
        ({"metadata": {1: 2}}, "metadata", "not a string"),
        ({"metadata": []}, "metadata", "expected `object | null`, got `array`"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(params, field, said):
    error = refusal(params)
    assert isinstance(error, BadRequest)
    assert error.field == field
    assert said in error.message


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"items": [{"text": "a"}, {"text": 5}]}, "items[1].text"),
        ({"items": [{"text": "a", "metdata": {}}]}, "items[0].metdata"),
        ({}, "items"),
        ({"items": 5}, "items"),
    ],
)
def test_a_wrong_item_is_named(params, field):
    error = refusal(params, "put_many")
    assert isinstance(error, BadRequest)
    assert error.field == field


@pytest.mark.parametrize(("method", "params"), [("put", {"vector": [0] * 4097}), ("put_many", {"items": [{}] * 1001})])
def test_lists_over_their_limit_are_too_large(method, params):
    assert isinstance(refusal(params, method), TooLarge)


def test_a_huge_list_is_refused_before_its_items_are_decoded():
    connection = ServerConnection()
    data = b"\x94\x00\x01\xa3put\x91\x81\xa6vector\xdd" + (8_000_000).to_bytes(4, "big") + bytes(8_000_000)
    (event,) = events(data, connection)
    assert isinstance(event.error, TooLarge)


def test_a_crowd_of_containers_is_too_large():
    metadata = b"\xdd" + (1_000_000).to_bytes(4, "big") + b"\x90" * 1_000_000
    event = only(b"\x94\x00\x01\xa3put\x91\x81\xa8metadata\x81\xa1a" + metadata)
    assert isinstance(event, BadCall)
    assert isinstance(event.error, TooLarge)


@pytest.mark.parametrize("method", ["qurey", "Put", "", "no\nsuch", "x" * 100_000])
def test_an_unknown_method_is_told_the_names_it_could_have_meant(method):
    event = only(pack([0, 1, method, [{}]]))
    assert event.error.code == "unknown_method"
    assert len(event.error.message) < 400
    assert "query" in event.error.message or "put" in event.error.message


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (b"\xa3put\x91\x82\xa4text\xa1a\xa4text\xa1b", "`text` comes twice"),
        (b"\xa3put\x91\x81\xa8metadata\x82\xa1k\x01\xa1k\x02", "`metadata.k` comes twice"),
        (b"\xa3put\x91\x81\xa4text\xa1\xff", "not UTF-8"),
        (b"\xa3put\x91\x81\xa8metadata\x81\xa1k\xd4\x01\x02", "ext type"),
        (b"\xa1\xff\x91\x80", "not UTF-8"),
        (b"\x05\x91\x80", "name must be a string"),
        (b"\xa3put\xc0", "params must be an array"),
        (b"\xa3put\x90", "params must be an array"),
        (b"\xa3put\x91\xc0", "params: expected `object`, got `null`"),
    ],
)
def test_what_a_decoder_would_let_pass_is_refused_under_its_id(tail, said):
    event = only(b"\x94\x00\x09" + tail)
    assert isinstance(event, BadCall)
    assert event.id == 9
    assert isinstance(event.error, BadRequest)
    assert said in event.error.message


@pytest.mark.parametrize(
    "message",
    [[1, 2, None, None], [2, "x", [{}]], 5, "get", [], [True, 1, "get", [{}]], [0, -1, "get", [{}]], [0, 1.0, "a", []]],
)
def test_what_is_no_request_is_a_notice(message):
    assert isinstance(only(pack(message)), Notice)


def test_an_ext_value_alone_is_a_notice():
    assert isinstance(only(b"\xd4\x01\x02"), Notice)


def test_an_answer_over_the_limit_is_too_large_instead():
    server, client = ServerConnection(), ClientConnection()
    call_id, data = client.call(Get(cid="a"))
    events(data, server)
    record = Record(cid="a", text="x" * 9_000_000, model_version="v1", dim=1)
    (response,) = client.receive(server.send_result(call_id, record))
    assert isinstance(response.outcome, TooLarge)
    assert "8388608" in response.outcome.message


def test_an_error_with_a_lone_surrogate_can_still_be_sent():
    data = ServerConnection().send_error(1, NotFound("no \ud800"))
    assert unpack(data)[2]["message"] == "no ?"


# -- the client's side --


@pytest.mark.parametrize(
    ("request_", "cls"),
    [
        (Put(text="\ud800"), Unprocessable),
        (Put(metadata={"a": 2**70}), Unprocessable),
        (Query(filter={"a": object()}), Unprocessable),
        (Put(text="x" * 9_000_000), TooLarge),
    ],
)
def test_a_client_refuses_what_cannot_be_sent(request_, cls):
    client = ClientConnection()
    with pytest.raises(cls):
        client.call(request_)
    assert client._in_flight == {}


def test_a_client_refuses_to_send_what_is_nested_too_deep():
    nested = {}
    for _ in range(40):
        nested = {"not": nested}
    with pytest.raises(BadRequest, match="32"):
        ClientConnection().call(Query(filter=nested))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\xc1",
        b"\x94\x01\x05\xc0\x80",
        b"\x94\x01\x00\xc0\x05",
        b"\x94\x01\x00\xa1\xff\x80",
    ],
)
def test_a_peer_that_speaks_something_else_is_told_apart(data):
    client = ClientConnection()
    client.call(Get(cid="a"))
    with pytest.raises(Unavailable):
        client.receive(data)


def test_a_client_ignores_fields_that_it_does_not_know():
    client = ClientConnection()
    call_id, _ = client.call(Delete(cid="a"))
    answer = {"cid": "a", "position": 4, "seal": "new"}
    assert client.receive(pack([1, call_id, None, answer])) == [Response(call_id, DeleteResult(cid="a", position=4))]


def test_an_unknown_error_code_is_an_engram_error():
    client = ClientConnection()
    call_id, _ = client.call(Status())
    (response,) = client.receive(pack([1, call_id, {"code": "new_code", "message": "m", "more": 1}, None]))
    assert type(response.outcome) is EngramError


def test_an_error_notification_carries_its_error():
    server = ServerConnection(Limits())
    (told,) = ClientConnection().receive(
        server.send_notification("error", ErrorInfo(code="busy", message="b", retry_after_s=2.0))
    )
    assert told.error.code == "busy"
    assert told.error.retry_after_s == 2.0


def test_every_method_has_its_two_structs():
    assert all(request.method == name for name, (request, _) in METHODS.items())
    assert METHODS["list"][1] is ListResult
