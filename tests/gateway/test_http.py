"""The HTTP door over a memory in a dict: what each endpoint answers, and to whom."""

import base64
import json
import struct
from urllib.parse import unquote

import pytest
import trio
from dict_service import DIM, DictService, embed
from http_clients import ask, connect, door, head, read_answer

from engram.errors import RateLimited, Unavailable, Unprocessable
from engram.gateway._metrics import Metrics
from engram.gateway.http import serve_http
from engram.identity import ANONYMOUS, OPERATOR
from engram.limits import Limits
from engram.wire import ROUTES, EventInfo, EventsResult, ModelStatus, StatusResult

# -- REST --


async def test_a_memory_is_put_found_and_deleted():
    async with door() as server:
        put = await ask(server, "POST", "/v1/memories", {"text": "the cat", "metadata": {"kind": "cat"}})
        assert (put.status, put.json["created"]) == (201, True)
        again = await ask(server, "POST", "/v1/memories", {"text": "the cat", "metadata": {"kind": "cat"}})
        assert (again.status, again.json["cid"], again.json.get("created")) == (200, put.json["cid"], False)
        found = await ask(server, "POST", "/v1/query", {"text": "the cat", "top_k": 1})
        assert (found.status, found.json["hits"][0]["cid"]) == (200, put.json["cid"])
        got = await ask(server, "GET", f"/v1/memories/{put.json['cid']}?include_vector=true")
        assert struct.unpack(f"<{DIM}f", base64.b64decode(got.json["vector"])) == pytest.approx(embed("the cat"))
        listed = await ask(server, "GET", "/v1/memories?limit=5")
        assert [record["cid"] for record in listed.json["records"]] == [put.json["cid"]]
        wrong = await ask(server, "DELETE", f"/v1/memories/{put.json['cid']}?erase=yes")
        assert (wrong.status, wrong.json["field"]) == (400, "erase")
        deleted = await ask(server, "DELETE", f"/v1/memories/{put.json['cid']}?erase=true")
        assert (deleted.status, deleted.json["erased"]) == (200, True)
        gone = await ask(server, "GET", f"/v1/memories/{put.json['cid']}")
        assert (gone.status, gone.json) == (404, {"error": "no such record", "code": "not_found", "field": "cid"})


async def test_a_vector_is_numbers_or_base64():
    async with door() as server:
        numbers = await ask(server, "POST", "/v1/memories", {"vector": [0.5] * DIM})
        packed = base64.b64encode(struct.pack(f"<{DIM}f", *[0.5] * DIM)).decode()
        assert (await ask(server, "POST", "/v1/memories", {"vector": packed})).json["cid"] == numbers.json["cid"]


@pytest.mark.parametrize("cid", ["a%0Ab", "%0A", "a%2Fb", "..%2F..", "%3Fx", "%00", "%F0%9F%90%88", "a//"])
async def test_a_segment_may_hold_anything(cid):
    service = DictService()
    async with door(service) as server:
        answer = await ask(server, "GET", f"/v1/memories/{cid}")
    if "//" in cid:
        assert (answer.status, answer.json["code"]) == (404, "unknown_method")
    else:
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert [request.cid for request in service.requests] == [unquote(cid)]


async def test_many_requests_take_turns_on_one_connection():
    async with door() as server, await connect(server) as stream:
        asked = [head("POST", "/v1/memories", body=json.dumps({"text": str(i)}).encode()) for i in range(20)]
        await stream.send_all(b"".join(asked))
        rest, positions = b"", []
        for _ in asked:
            answer, rest = await read_answer(stream, rest)
            positions.append(answer.json["position"])
        assert positions == sorted(positions)
        assert len(set(positions)) == 20


async def test_head_is_get_without_the_body():
    async with door() as server, await connect(server) as stream:
        await stream.send_all(head("HEAD", "/v1/status") + head("GET", "/v1/status"))
        data = b""
        while data.count(b"HTTP/1.1 200") < 2 or not data.endswith(b"}"):
            data += await stream.receive_some(65536)
        first, second = data.split(b"HTTP/1.1 200")[1:]
        assert first.endswith(b"\r\n\r\n")
        assert b'"position"' in second


@pytest.mark.parametrize(
    ("verb", "target", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/v1/nothing", 404, None),
        ("PATCH", "/v1/memories", 405, "GET, POST"),
        ("POST", "/health", 405, "GET"),
        ("POST", "/retrieve/v1::00", 405, "DELETE, GET"),
        ("OPTIONS", "/v1/query", 405, "POST"),
        ("TRACE", "/docs", 405, "GET"),
    ],
)
async def test_what_stands_nowhere_and_what_takes_another_verb(verb, target, status, allow):
    async with door() as server:
        answer = await ask(server, verb, target)
    assert (answer.status, answer.json["code"], answer.headers.get("allow")) == (status, "unknown_method", allow)


@pytest.mark.parametrize("error", [RateLimited("slow down", retry_after_s=1.2), Unprocessable("no", field="text")])
async def test_an_error_has_its_true_status_and_says_when_to_come_again(error):
    class Failing(DictService):
        async def _status(self, _):
            raise error

    async with door(Failing()) as server:
        answer = await ask(server, "GET", "/v1/status")
    assert (answer.status, answer.json["code"], answer.json["error"]) == (error.http_status, error.code, error.message)
    assert answer.headers.get("retry-after") == ("2" if error.retry_after_s else None)


async def test_a_bug_is_answered_without_its_words(capfd):
    async with door() as server:
        answer = await ask(server, "POST", "/v1/memories", {"text": "bug"})
        assert (answer.status, answer.json["code"]) == (500, "internal")
        assert "secret" not in answer.json["error"]
        assert (await ask(server, "GET", "/health")).status == 200
    assert "secret" not in "".join(capfd.readouterr())


async def test_an_answer_over_the_limit_is_refused():
    async with door(limits=Limits(http_body_bytes=2000)) as server:
        for number in range(30):
            await ask(server, "POST", "/v1/memories", {"text": str(number)})
        answer = await ask(server, "GET", "/v1/memories")
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    assert "ask for less at once" in answer.json["error"]


async def test_a_call_of_the_first_engrams_api_has_a_deadline():
    async with door(call_deadline_s=0.2) as server:
        answer = await ask(server, "POST", "/IngestSynapse", {"text": "wait"})
    assert (answer.status, answer.json["code"]) == (504, "deadline")
    assert "IngestSynapse took longer than 0.2 s" in answer.json["error"]


# -- who asks --


async def test_who_asks_from_this_machine_is_the_operator():
    service = DictService()
    async with door(service) as server:
        for host in ("127.0.0.1", "localhost:8091", "[::1]:8091", "notes.localhost", "LOCALHOST."):
            assert (await ask(server, "GET", "/v1/status", headers={"host": host})).status == 200
    assert set(service.callers) == {OPERATOR}


PROXIED = [
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via", "x-real-ip", "cf-connecting-ip",
    "x-envoy-external-address", "true-client-ip", "x-client-ip",
]  # fmt: skip


@pytest.mark.parametrize("header", PROXIED)
async def test_who_comes_through_a_proxy_is_nobody_that_is_known(header):
    service = DictService()
    async with door(service) as server:
        await ask(server, "GET", "/v1/status", headers={header: "for=1.2.3.4"})
    assert service.callers == [ANONYMOUS]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example:8091"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "https://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["/v1/memories", "/IngestSynapse"])
async def test_a_page_of_another_site_cannot_ask(headers, target):
    service = DictService()
    async with door(service) as server:
        answer = await ask(server, "POST", target, {"text": "planted"}, headers)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert service.callers == []


async def test_a_page_of_the_node_and_a_link_to_it_work():
    async with door() as server:
        own = {"host": "127.0.0.1:8091", "origin": "http://127.0.0.1:8091", "sec-fetch-site": "same-origin"}
        assert (await ask(server, "POST", "/v1/memories", {"text": "a"}, own)).status == 201
        link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert (await ask(server, "GET", "/docs", headers=link)).status == 200


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data; boundary=a"]
)
async def test_a_body_that_a_form_could_send_is_refused(media):
    async with door() as server:
        answer = await ask(server, "POST", "/v1/memories", {"text": "planted"}, {"content-type": media})
    assert (answer.status, answer.json["field"]) == (415, "content-type")


async def test_json_in_its_usual_spellings_is_taken():
    async with door() as server:
        for media in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"):
            assert (await ask(server, "POST", "/v1/query", {"text": "a"}, {"content-type": media})).status == 200


# -- events --


class Log(DictService):
    """Has a log of its own: one event a put."""

    def __init__(self):
        super().__init__()
        self.grown = trio.Event()

    async def call(self, request, caller=OPERATOR):
        answer = await super().call(request, caller)
        if request.method == "put":
            self.grown.set()
            self.grown = trio.Event()
        return answer

    async def _events(self, request):
        if request.since > 1000:
            raise Unprocessable("since: beyond the log", field="since")
        if request.since >= self.position and request.wait_s:
            with trio.move_on_after(request.wait_s):
                await self.grown.wait()
        found = [
            EventInfo(position=position, type="record_stored.1", time_unix_ns=1)
            for position in range(request.since, self.position)
        ][: request.limit]
        return EventsResult(events=found, next=request.since + len(found), position=self.position)


class Stream:
    """Reads server-sent events."""

    def __init__(self, stream):
        self._stream, self._raw, self._data, self._begun = stream, b"", b"", False

    async def block(self):
        while b"\n\n" not in self._data:
            chunk = await self._chunk()
            if not chunk:
                return None
            self._data += chunk
        block, _, self._data = self._data.partition(b"\n\n")
        return block.decode()

    async def _chunk(self):
        if not self._begun:
            await self._until(b"\r\n\r\n")
            self._begun = True
        size = int(await self._until(b"\r\n") or b"0", 16)
        while len(self._raw) < size + 2:
            self._raw += await self._stream.receive_some(65536)
        chunk, self._raw = self._raw[:size], self._raw[size + 2 :]
        return chunk

    async def _until(self, mark):
        while mark not in self._raw:
            piece = await self._stream.receive_some(65536)
            if not piece:
                return b""
            self._raw += piece
        found, _, self._raw = self._raw.partition(mark)
        return found

    async def event(self):
        while (block := await self.block()) is not None:
            if "data: " in block:
                return dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        return None


STREAM = {"accept": "text/event-stream"}


async def test_events_come_as_a_stream_and_go_on_where_it_broke():
    async with door(Log()) as server:
        await ask(server, "POST", "/v1/memories", {"text": "a"})
        async with await connect(server) as raw:
            await raw.send_all(head("GET", "/v1/events?since=1", STREAM))
            stream = Stream(raw)
            first = await stream.event()
            assert (first["id"], first["event"], json.loads(first["data"])["position"]) == ("2", "record_stored.1", 1)
            await ask(server, "POST", "/v1/memories", {"text": "b"})
            assert (await stream.event())["id"] == "3"
        await ask(server, "POST", "/v1/memories", {"text": "c"})
        async with await connect(server) as raw:
            await raw.send_all(head("GET", "/v1/events?since=1", STREAM | {"last-event-id": "3"}))
            assert (await Stream(raw).event())["id"] == "4"


async def test_a_silent_stream_beats_and_says_how_far_it_is():
    async with door(Log(), heartbeat_s=0.01) as server, await connect(server) as raw:
        await raw.send_all(head("GET", "/v1/events?since=1", STREAM))
        stream = Stream(raw)
        blocks = [await stream.block() for _ in range(4)]
        assert "retry: 1000" in blocks[0]
        assert blocks[-1].endswith(": alive\nid: 1")


async def test_a_stream_ends_with_the_node():
    async with door(Log()) as server, await connect(server) as raw:
        await raw.send_all(head("GET", "/v1/events?since=1", STREAM))
        stream = Stream(raw)
        await stream.block()
        server.stop()
        with trio.fail_after(2):
            assert await stream.event() is None


async def test_streams_are_bounded_and_leave_their_place():
    async with door(Log(), streams=1) as server:
        async with await connect(server) as raw:
            await raw.send_all(head("GET", "/v1/events", STREAM))
            await Stream(raw).event()
            refused = await ask(server, "GET", "/v1/events", headers=STREAM)
            assert (refused.status, refused.json["code"], refused.headers["retry-after"]) == (503, "busy", "5")
        with trio.fail_after(2):
            while (await ask(server, "GET", "/v1/events?since=2000", headers=STREAM)).status == 503:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("target", "last"), [("/v1/events?since=2000", None), ("/v1/events", "-1"), ("/v1/events", "9" * 30)]
)
async def test_a_stream_that_cannot_begin_is_an_error(target, last):
    async with door(Log()) as server:
        answer = await ask(server, "GET", target, headers=STREAM | ({"last-event-id": last} if last else {}))
    assert answer.status in (400, 422)


async def test_events_are_asked_for_without_a_stream_too():
    async with door(Log()) as server:
        await ask(server, "POST", "/v1/memories", {"text": "a"})
        answer = await ask(server, "GET", "/v1/events?since=1&types=record_stored.1")
    assert [event["position"] for event in answer.json["events"]] == [1]


# -- what the door says of itself --


async def test_ready_waits_for_the_model():
    class Loading(DictService):
        state, message = "loading", None

        async def _status(self, _):
            model = ModelStatus(model_version="v1", dim=DIM, state=self.state, message=self.message)
            return StatusResult(
                version="0", role="miner", node_key="5x", records=0, namespaces=0, position=1, log_root="00",
                model=model, uptime_s=1.0, data_dir="none",
            )  # fmt: skip

    service = Loading()
    async with door(service) as server:
        answer = await ask(server, "GET", "/ready")
        assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "model_not_ready", "2")
        service.state, service.message = "failed", "no network"
        answer = await ask(server, "GET", "/ready")
        assert (answer.status, "no network" in answer.json["error"]) == (503, True)
        service.state = "ready"
        assert (await ask(server, "GET", "/ready")).json == {"status": "ready"}
        assert (await ask(server, "GET", "/health")).json == {"status": "ok"}


async def test_metrics_are_prometheuss():
    parser = pytest.importorskip("prometheus_client.parser")
    metrics = Metrics()
    async with door(metrics=metrics) as server:
        await ask(server, "POST", "/v1/memories", {"text": "a"})
        await ask(server, "POST", "/v1/memories", {"text": 1})
        answer = await ask(server, "GET", "/metrics")
    families = {family.name: family for family in parser.text_string_to_metric_families(answer.body.decode())}
    values = {name: family.samples[0].value for name, family in families.items() if family.samples}
    assert (values["engram_records"], values["engram_log_position"]) == (1, 2)
    requests = {(s.labels["method"], s.labels["code"]): s.value for s in families["engram_requests"].samples}
    assert (requests["put", "ok"], requests["put", "bad_request"]) == (1, 1)
    buckets = [s for s in families["engram_request_duration_seconds"].samples if s.name.endswith("_bucket")]
    assert buckets[-1].value == 2
    assert [s.value for s in buckets] == sorted(s.value for s in buckets)
    assert {s.labels["state"]: s.value for s in families["engram_model_state"].samples}["ready"] == 1


async def test_the_home_page_leads_to_the_docs():
    async with door() as server:
        answer = await ask(server, "GET", "/")
        assert (answer.status, answer.headers["location"]) == (307, "/docs")
        page = await ask(server, "GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


# -- the port --


async def test_a_port_that_is_taken_is_told():
    async with door() as server:
        with pytest.raises(Unavailable, match="is taken by another process") as refused:
            await serve_http(DictService(), port=server.addresses[0][1])
    assert refused.value.field == "http_port"


@pytest.mark.parametrize(("host", "port"), [("0.0.0.0", 0), ("127.0.0.1", 70000), ("no.such.host.invalid", 0)])
async def test_an_address_that_is_none_or_not_loopback_is_refused(host, port):
    with pytest.raises(Unprocessable):
        await serve_http(DictService(), host=host, port=port)


async def test_the_door_speaks_at_ipv6():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_http(DictService(), host="::1", port=0, task_status=task_status)
        )
        assert server.url == f"http://[::1]:{server.addresses[0][1]}"
        async with await connect(server) as stream:
            await stream.send_all(head("GET", "/health", {"host": f"[::1]:{server.addresses[0][1]}"}))
            assert (await read_answer(stream))[0].status == 200
        server.stop()


def test_every_route_is_of_rest():
    assert all(route.path.startswith("/v1/") for route in ROUTES.values())
