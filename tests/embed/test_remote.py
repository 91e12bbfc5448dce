"""The remote backend against a real HTTP server that behaves, and against ones that do not."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from embedding_server import DIM, packed, serving, vector

from engram.embed import RemoteSpec, load_model, parse_url
from engram.errors import ModelNotReady, Unavailable
from engram.native import _core

SECRET = "sk-very-secret-0123456789"
TEXT = "a private sentence about a cat"


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def load(server):
    loaded = []

    def load(**options):
        loaded.append(load_model(RemoteSpec(**{"url": server.url, "model": "m", "dim": DIM} | options)))
        return loaded[-1]

    yield load
    for model in loaded:
        model.close()


def refused(model, texts=(TEXT,)):
    """Give the one error that each text is refused with."""
    done = model.embed(list(texts))
    assert set(done.vectors) == {None}
    assert len({id(error) for error in done.refusals.values()}) == 1
    error = done.refusals[0]
    assert TEXT not in error.message
    assert SECRET not in error.message
    return error


# -- what a good server is asked, and how its answers are read --


@pytest.mark.parametrize("behaviour", ["answer", "floats_only", "strict"])
def test_vectors_come_as_base64_or_as_numbers(server, load, behaviour):
    server.behave = getattr(server, behaviour)
    model = load()
    for _ in range(2):
        assert model.embed(["one", "two"]).vectors == (packed(vector("one")), packed(vector("two")))
    asked = [request.get("encoding_format") for _, request in server.asked]
    assert asked == (["base64", None, None] if behaviour == "strict" else ["base64", "base64"])


def test_the_dimension_is_asked_once_where_it_is_not_configured(server, load):
    model = load(dim=None)
    assert model.dim == DIM
    assert server.texts() == ["Engram"]
    model.embed(["one"])
    assert server.texts() == ["Engram", "one"]


def test_nothing_is_asked_where_the_dimension_is_configured(server, load):
    assert load().dim == DIM
    assert server.asked == []


def test_many_texts_are_several_requests_over_one_connection(server, load):
    texts = [f"text {number}" for number in range(150)]
    assert load().embed(texts).vectors == tuple(packed(vector(text)) for text in texts)
    assert [len(request["input"]) for _, request in server.asked] == [32, 32, 32, 32, 22]
    assert len(server.connections) == 1


def test_long_texts_are_few_a_request(server, load):
    texts = [str(number) * 100_000 for number in range(5)]
    assert load().embed(texts).vectors == tuple(packed(vector(text)) for text in texts)
    assert [len(request["input"]) for _, request in server.asked] == [2, 2, 1]


def test_rows_are_placed_by_their_index(server, load):
    def backwards(request):
        reply = server.reply(request)
        return 200, {}, reply | {"data": reply["data"][::-1]}

    server.behave = backwards
    assert load().embed(["one", "two"]).vectors == (packed(vector("one")), packed(vector("two")))


def test_rows_without_an_index_stand_in_order(server, load):
    def bare(request):
        return 200, {}, {"data": [{"embedding": vector(text)} for text in request["input"]]}

    server.behave = bare
    assert load().embed(["one", "two"]).vectors == (packed(vector("one")), packed(vector("two")))


def test_the_key_comes_from_the_environment_and_goes_into_one_header(server, load, monkeypatch):
    monkeypatch.setenv("SOME_KEY", SECRET)
    model = load(api_key_env="SOME_KEY")
    model.embed(["one"])
    headers, _ = server.asked[0]
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in repr(model) + model.model_version
    load().embed(["one"])
    assert "Authorization" not in server.asked[1][0]


@pytest.mark.parametrize(
    ("value", "says"),
    [(None, "is not set"), ("  ", "is not set"), (f"{SECRET}\n{SECRET}", "no key"), ("ключ", "no key")],
)
def test_a_key_that_is_none_is_named_by_its_variable(load, monkeypatch, value, says):
    if value is None:
        monkeypatch.delenv("SOME_KEY", raising=False)
    else:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(ModelNotReady) as caught:
        load(api_key_env="SOME_KEY")
    assert "SOME_KEY" in caught.value.message
    assert says in caught.value.message
    assert "secret" not in caught.value.message


def test_the_fingerprint_is_of_the_address_the_model_and_the_dimension(load):
    one = load()
    assert one.model_version.startswith("openai/m@")
    assert load(timeout_s=5.0).fingerprint == one.fingerprint
    assert load(url=one._spec.url + "/").fingerprint == one.fingerprint
    assert load(dim=DIM + 1).fingerprint != one.fingerprint
    assert load(model="m2").fingerprint != one.fingerprint
    assert load(url="http://localhost:1/v1").fingerprint != one.fingerprint


# -- a server that will not, or not now --


def test_a_busy_server_is_waited_for_as_long_as_it_says(server, load):
    moments = []

    def busy_once(request):
        moments.append(time.monotonic())
        if len(moments) == 1:
            return 429, {"Retry-After": "1"}, {}
        return server.answer(request)

    server.behave = busy_once
    assert load().embed(["one"]).vectors == (packed(vector("one")),)
    assert moments[1] - moments[0] >= 1.0


def test_a_date_in_retry_after_is_understood(server, load):
    server.behave = lambda _: (
        503,
        {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=90))},
        {},
    )
    error = refused(load())
    assert error.code == "unavailable"
    assert 85 <= error.retry_after_s <= 90


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again_until_the_time_is_up(server, load, status):
    server.behave = lambda _: (status, {}, {"error": {"message": TEXT, "code": "rate_limit_exceeded"}})
    error = refused(load(timeout_s=2.0), [TEXT, "another"])
    assert error.code == "unavailable"
    assert error.retry_after_s > 0
    assert f"HTTP {status}, rate_limit_exceeded" in error.message
    assert 2 <= len(server.asked) <= 4


def test_a_server_that_asks_for_more_time_than_there_is_is_not_waited_for(server, load):
    server.behave = lambda _: (429, {"Retry-After": "3600"}, {})
    started = time.monotonic()
    assert refused(load()).retry_after_s == 3600
    assert time.monotonic() - started < 60  # the server said an hour
    assert len(server.asked) == 1


@pytest.mark.parametrize("said", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_caller_is_sent_away_for_longer_than_an_hour(server, load, said):
    server.behave = lambda _: (429, {"Retry-After": said}, {})
    assert refused(load()).retry_after_s == 3600


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "key"),
        (403, "key"),
        (404, "no model 'm'"),
        (418, "HTTP 418"),
        (302, "not followed"),
        (307, "not followed"),
    ],
)
def test_what_will_not_pass_is_said_at_once(server, load, monkeypatch, status, says):
    monkeypatch.setenv("SOME_KEY", SECRET)
    elsewhere = {"Location": "http://127.0.0.1:1/v1/embeddings"}
    server.behave = lambda _: (status, elsewhere, {"error": {"message": f"{TEXT} {SECRET}", "code": SECRET}})
    error = refused(load(api_key_env="SOME_KEY"), [TEXT] * 100)
    assert error.code == "unavailable"
    assert says in error.message
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_text_that_the_server_refuses_is_refused_alone(server, load, status):
    def picky(request):
        if any("bad" in text for text in request["input"]):
            return status, {}, {"error": {"message": str(request), "code": "context_length_exceeded"}}
        return server.answer(request)

    server.behave = picky
    texts = [f"{'bad' if number in (3, 20) else 'good'} {number}" for number in range(32)]
    done = load().embed(texts)
    assert sorted(done.refusals) == [3, 20]
    for index, error in done.refusals.items():
        assert (error.code, error.field) == ("too_large", "text")
        assert f"HTTP {status}, context_length_exceeded" in error.message
        assert texts[index] not in error.message
    assert [v for v in done.vectors if v] == [packed(vector(text)) for text in texts if "good" in text]


# -- a server that answers wrongly --


def answers(make):
    """Give a behaviour that answers 200 with what `make` makes of the right reply."""
    return lambda server: lambda request: (200, {}, make(server.reply(request)))


WRONG = {
    "one vector too few": answers(lambda reply: reply | {"data": reply["data"][:-1]}),
    "one vector too many": answers(lambda reply: reply | {"data": reply["data"] + reply["data"][:1]}),
    "an index twice": answers(lambda reply: reply | {"data": [row | {"index": 0} for row in reply["data"]]}),
    "an index of nobody": answers(lambda reply: reply | {"data": [row | {"index": 7} for row in reply["data"]]}),
    "another dimension": answers(lambda reply: reply | {"data": [row | {"embedding": [1.0, 2.0]} for row in reply["data"]]}),
    "no numbers": answers(lambda reply: reply | {"data": [row | {"embedding": []} for row in reply["data"]]}),
    "zeros": answers(lambda reply: reply | {"data": [row | {"embedding": [0.0] * DIM} for row in reply["data"]]}),
    "NaN in base64": answers(lambda reply: reply | {"data": [row | {"embedding": nan_base64()} for row in reply["data"]]}),
    "NaN in JSON": answers(lambda reply: reply | {"data": [row | {"embedding": [math.nan] * DIM} for row in reply["data"]]}),
    "more than float32 holds": answers(lambda reply: reply | {"data": [row | {"embedding": [1e300] * DIM} for row in reply["data"]]}),
    "broken base64": answers(lambda reply: reply | {"data": [row | {"embedding": "%%%"} for row in reply["data"]]}),
    "base64 of odd bytes": answers(lambda reply: reply | {"data": [row | {"embedding": "AAAA"} for row in reply["data"]]}),
    "words": answers(lambda reply: reply | {"data": [row | {"embedding": ["a"] * DIM} for row in reply["data"]]}),
    "no data": answers(lambda _: {"texts": TEXT}),
    "a list": answers(lambda _: [TEXT]),
    "no JSON": answers(lambda _: TEXT.encode()),
    "no UTF-8": answers(lambda _: b"\xff\xfe"),
    "nothing": answers(lambda _: b""),
    "brackets without end": answers(lambda _: b"[" * 4000),
}  # fmt: skip


def nan_base64():
    import base64

    return base64.b64encode(struct.pack(f"<{DIM}f", *[math.nan] * DIM)).decode()


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_gives_no_vector(server, load, wrong):
    server.behave = WRONG[wrong](server)
    error = refused(load(), [TEXT, "another"])
    assert error.code == "unavailable"
    assert server.url in error.message


def test_a_wrong_answer_to_the_question_for_the_dimension_fails_the_load(server, load):
    for wrong in ("no data", "no numbers"):
        server.behave = WRONG[wrong](server)
        with pytest.raises(Unavailable):
            load(dim=None)


def test_an_answer_without_end_is_not_read_to_its_end(server, load, monkeypatch):
    from engram.embed import _remote

    monkeypatch.setattr(_remote, "_ANSWER_BYTES", 10_000)
    server.behave = lambda _: (200, {}, b" " * 1_000_000)
    assert "over 10000 bytes" in refused(load(timeout_s=1.0)).message


# -- a server that is slow, or not there --


def test_a_server_that_says_nothing_is_given_up_at_the_deadline(server, load):
    server.behave = lambda _: server.released.wait(30) and None
    started = time.monotonic()
    error = refused(load(timeout_s=1.0))
    assert time.monotonic() - started < 20  # it would have been 30
    assert error.code == "unavailable"
    assert "no answer within 1 s" in error.message


def test_a_server_that_drips_is_given_up_at_the_deadline():
    """A byte each half second: no single wait is long, all of them are."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not ended.wait(0.2):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        model = load_model(
            RemoteSpec(url=f"http://127.0.0.1:{listener.getsockname()[1]}", model="m", dim=4, timeout_s=1.0)
        )
        started = time.monotonic()
        try:
            assert "no answer within 1 s" in refused(model).message
            assert time.monotonic() - started < 60  # it would have been 200
        finally:
            ended.set()
            thread.join()
            model.close()


def test_a_stopped_call_ends_at_once_whatever_it_waits_for(server, load):
    entered = threading.Event()
    for behaviour in (
        lambda _: entered.set() or (server.released.wait(30) and None),
        lambda _: entered.set() or (503, {"Retry-After": "15"}, {}),
    ):
        server.behave = behaviour
        entered.clear()
        stop, said = _core.Stop(), []

        def call(stop=stop, said=said):
            try:
                load().embed([TEXT], stop)
            except Unavailable as error:
                said.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        assert entered.wait(10)
        stop.set()
        started = time.monotonic()
        thread.join()
        assert time.monotonic() - started < 10  # it would have been 15
        assert "stopped" in said[0].message


def test_a_connection_that_ends_is_made_again(server, load):
    calls = []

    def hang_up_once(request):
        calls.append(request)
        return None if len(calls) == 2 else server.answer(request)

    server.behave = hang_up_once
    model = load()
    assert model.embed(["one"]).refusals == {}
    assert model.embed(["two"]).vectors == (packed(vector("two")),)
    assert len(calls) == 3


def test_a_kept_connection_that_was_closed_meanwhile_costs_no_wait(server, load):
    """There is less time than the first wait between two tries takes."""
    calls = []

    def hang_up_once(request):
        calls.append(request)
        return None if len(calls) == 2 else server.answer(request)

    server.behave = hang_up_once
    model = load(timeout_s=0.45)
    assert model.embed(["one"]).refusals == {}
    assert model.embed(["two"]).refusals == {}


def test_a_server_that_always_hangs_up_is_unavailable(server, load):
    server.behave = lambda _: None
    error = refused(load(timeout_s=2.0))
    assert error.code == "unavailable"
    assert "connection" in error.message


def test_nobody_there_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refused(load_model(RemoteSpec(url=f"http://127.0.0.1:{port}", model="m", dim=4, timeout_s=1.0)))
    assert "Connection refused" in error.message
    assert error.retry_after_s > 0


def test_a_server_that_speaks_something_else_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak():
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        model = load_model(
            RemoteSpec(url=f"http://127.0.0.1:{listener.getsockname()[1]}", model="m", dim=4, timeout_s=1.4)
        )
        assert "does not speak HTTP" in refused(model).message
        thread.join()


# -- TLS --


@pytest.fixture
def certificates(tmp_path):
    """A server's certificate for 127.0.0.1, signed by itself: (certificate, key)."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_a_certificate_that_nobody_vouches_for_ends_the_call_before_a_text_is_sent(certificates, monkeypatch):
    with serving(certificates=certificates) as server:
        model = load_model(RemoteSpec(url=server.url, model="m", dim=DIM, timeout_s=1.0))
        assert "certificate is not to be trusted" in refused(model).message
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates[0]))
        trusting = load_model(RemoteSpec(url=server.url, model="m", dim=DIM))
        for text in ("one", "two"):
            assert trusting.embed([text]).vectors == (packed(vector(text)),)
        assert len(server.connections) == 1
        trusting.close()


# -- addresses --


@pytest.mark.parametrize(
    ("url", "said", "loopback"),
    [
        ("https://api.openai.com/v1/", "https://api.openai.com/v1", False),
        ("https://API.OpenAI.com:443/v1", "https://api.openai.com/v1", False),
        ("http://localhost:11434/v1", "http://localhost:11434/v1", True),
        ("http://127.0.0.1:80", "http://127.0.0.1", True),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1", True),
        ("http://192.168.1.5:11434/v1", "http://192.168.1.5:11434/v1", False),
        ("http://localhost.example.org", "http://localhost.example.org", False),
    ],
)
def test_an_address_is_written_in_one_way(url, said, loopback):
    assert (str(parse_url(url)), parse_url(url).on_loopback) == (said, loopback)


@pytest.mark.parametrize(
    "url",
    ["", "api.openai.com/v1", "ftp://x/v1", "https://", "https:///v1", f"https://me:{SECRET}@x/v1", f"https://{SECRET}@x",
     f"https://x/v1?key={SECRET}", "https://x/v1#a", "https://x/v 1", "https://x/v1\r\nX: y", "https://bücher.example", "https://x:99999/"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_being_shown(url):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_url(url)
    assert SECRET not in str(caught.value)
