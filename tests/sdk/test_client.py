"""The blocking client against a real door, and against peers that misbehave."""

import array
import socket
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
from dict_service import DIM, embed
from doors import WIRES
from flavours import again

from engram.errors import (
    BadRequest,
    DeadlineExceeded,
    EngramError,
    NotFound,
    TooLarge,
    Unavailable,
    Unprocessable,
)
from engram.sdk import EngramClient, Kept
from engram.wire import PutMany, Query


@pytest.fixture(params=WIRES)
def wire(request):
    return request.param


# -- every method --


def test_a_memory_is_kept_found_given_listed_and_deleted(client):
    cid = client.ingest("the cat sat", {"kind": "cat"})
    assert client.ingest("the cat sat", {"kind": "cat"}) == cid
    (hit,) = client.query("the cat sat", top_k=1)
    assert (hit["cid"], hit.cid, hit["metadata"]) == (cid, cid, {"kind": "cat"})
    assert hit["score"] == pytest.approx(1.0)
    assert client.get(cid).text == "the cat sat"
    assert [record.cid for record in client.list()] == [cid]
    assert client.delete(cid) is True
    with pytest.raises(NotFound):
        client.delete(cid)
    with pytest.raises(NotFound):
        client.get(cid)


@pytest.mark.parametrize(
    "vector",
    [
        [0.5] * DIM,
        (1, 0) * (DIM // 2),
        np.full(DIM, 0.5, "f4"),
        np.full(DIM, 0.5, "f8"),
        np.full(2 * DIM, 0.5, "f4")[::2],
        np.full(DIM, 0.5, "f2"),
        np.arange(DIM),
        array.array("f", [0.5] * DIM),
        array.array("f", [0.5] * DIM).tobytes(),
        [np.float32(0.5)] * DIM,
    ],
)
def test_a_vector_may_be_of_any_kind(client, vector):
    cid = client.ingest_embedding(vector, {"a": 1})
    expected = np.frombuffer(vector, "<f4") if isinstance(vector, bytes) else np.asarray(vector, "f4")
    assert np.frombuffer(client.get(cid, include_vector=True).vector, "<f4").tolist() == expected.tolist()
    assert client.query_by_vector(vector)[0].cid == cid


def test_rows_of_an_array_are_kept_each_with_its_metadata(client):
    rows = np.random.default_rng(1).random((5, DIM))
    rows[3, 2] = np.nan
    results = client.ingest_embeddings(rows, [{"n": n} for n in range(5)])
    assert isinstance(results[3], Unprocessable)
    assert [client.get(results[n]).metadata for n in (0, 1, 2, 4)] == [{"n": n} for n in (0, 1, 2, 4)]
    with pytest.raises(BadRequest, match="2 for 5"):
        client.ingest_embeddings(rows, [None, None])


def test_a_batch_keeps_its_order_and_puts_an_error_in_the_place_of_a_bad_item(client):
    items = [
        "one",
        {"text": "two", "metadata": {"n": 2}},
        {"txt": "three"},
        "refuse me",
        "\ud800",
        {"vector": [1.0] * DIM},
        5,
        {"text": "nan", "metadata": {"deep": [{"x": float("nan")}]}},
        {},
    ]
    results = client.ingest_many(items)
    assert [type(result) for result in results] == [
        str, str, BadRequest, Unprocessable, Unprocessable, str, BadRequest, Unprocessable, BadRequest,
    ]  # fmt: skip
    assert client.get(results[1]).metadata == {"n": 2}
    assert results[7].field == "metadata.deep[0].x"


def test_a_batch_of_any_size_is_cut_into_calls(node, client):
    vector = bytes(range(4)) * DIM
    results = client.ingest_many({"vector": vector, "metadata": {"n": n}} for n in range(2500))
    assert len(set(results)) == 2500
    calls = [request for request in node.service.requests if isinstance(request, PutMany)]
    assert sorted(len(call.items) for call in calls) == [500, 1000, 1000]
    assert [client.get(cid).metadata["n"] for cid in results[::500]] == [0.0, 500.0, 1000.0, 1500.0, 2000.0]


def test_a_batch_of_large_texts_stays_well_under_the_message_limit(node, client):
    results = client.ingest_many(f"{n}" + "ä" * 400_000 for n in range(12))
    assert len(set(results)) == 12
    assert all(isinstance(cid, str) for cid in results)
    sizes = [sum(2 * len(item.text) for item in r.items) for r in node.service.requests if isinstance(r, PutMany)]
    assert max(sizes) < 4 * 1024 * 1024


def test_an_item_over_the_message_limit_is_an_error_in_its_place(client):
    results = client.ingest_many(["a", "x" * 9_000_000, "b"])
    assert [type(result) for result in results] == [str, TooLarge, str]


def test_embed_gives_one_vector_or_many(client):
    assert client.embed("a") == pytest.approx(embed("a"))
    many = client.embed([str(n) for n in range(250)])
    assert len(many) == 250
    assert many[249] == pytest.approx(embed("249"))
    assert client.embed([]) == []


def test_namespaces_are_created_listed_and_kept_apart(client):
    info = client.namespaces.create("mine", dim=3, model="m")
    assert (info.name, info.dim, info.model_version) == ("mine", 3, "m")
    assert [found.name for found in client.namespaces.list()] == ["mine"]
    cid = client.ingest("secret", namespace="mine")
    assert client.query("secret") == []
    assert client.query("secret", namespace="mine")[0].cid == cid


def test_status_and_health(client):
    assert client.status().role == "miner"
    assert client.health()["status"] == "ok"
    assert client.is_online() is True


def test_a_read_waits_for_what_this_client_has_written(node, client):
    client.query("a")
    client.ingest("a")
    client.query("a")
    queries = [request for request in node.service.requests if isinstance(request, Query)]
    assert [query.min_position for query in queries] == [0, 2]


def test_a_filter_that_cannot_be_sent_is_refused(client):
    with pytest.raises(Unprocessable, match="query"):
        client.query("a", filter={"a": {1, 2}.__iter__()})
    assert client.is_online()


@pytest.mark.parametrize(
    ("call", "cls"),
    [
        (lambda c: c.query("a", top_k="ten"), BadRequest),
        (lambda c: c.ingest(5), BadRequest),
        (lambda c: c.ingest(None), BadRequest),
        (lambda c: c.ingest("\ud800"), Unprocessable),
        (lambda c: c.query("\ud800"), Unprocessable),
        (lambda c: c.embed(["a", "\udfff"]), Unprocessable),
        (lambda c: c.ingest("a", {"k\ud800": 1}), Unprocessable),
        (lambda c: c.ingest("a", {1: 1}), Unprocessable),
        (lambda c: c.ingest("a", {"when": object()}), Unprocessable),
        (lambda c: c.ingest("a", {"n": 10**400}), Unprocessable),
        (lambda c: c.ingest("a", {"n": 2**64 + 1}), Unprocessable),
        (lambda c: c.ingest("a", ["not", "a", "dict"]), BadRequest),
        (lambda c: c.ingest_embedding([1e39]), Unprocessable),
        (lambda c: c.ingest_embedding([float("inf")]), Unprocessable),
        (lambda c: c.ingest_embedding([]), Unprocessable),
        (lambda c: c.ingest_embedding(b"12345"), Unprocessable),
        (lambda c: c.ingest_embedding("text"), Unprocessable),
        (lambda c: c.ingest_embedding([1, "x"]), Unprocessable),
        (lambda c: c.ingest_embedding(np.ones((2, 2))), Unprocessable),
        (lambda c: c.query_by_vector(5), Unprocessable),
    ],
)
def test_what_cannot_be_kept_is_refused_and_the_client_lives(client, call, cls):
    with pytest.raises(cls):
        call(client)
    assert client.is_online()


def test_metadata_that_holds_itself_is_refused(client):
    loop = {}
    loop["self"] = loop
    with pytest.raises(Unprocessable, match="16 deep"):
        client.ingest("a", loop)


def test_a_huge_integer_that_a_double_equals_is_kept(client):
    cid = client.ingest("a", {"n": 2**70, "t": (1, 2)})
    assert client.get(cid).metadata == {"n": float(2**70), "t": [1, 2]}


# -- files --


def test_every_line_of_a_file_is_a_memory_or_an_error_with_its_number(tmp_path, node, client):
    good = b'{"text": "good", "metadata": {"n": 1}}'
    lines = [
        b"\xef\xbb\xbf" + good,
        b"",
        b'{"text": "broken"',
        good + b"\r",
        b"   \t\r",
        b'{"text": "' + b"x" * 20_000_000 + b'"}',
        b'{"text": "a", "text": "b"}',
        b'{"text": "a", "metadata": {"k": 1, "k": 2}}',
        b'{"text": "a", "metadata": {"k": NaN}}',
        b'{"text": "a", "metadata": {"k": 1e999}}',
        b'{"text": 5}',
        b'["text"]',
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b'{"vector": [0, 0.5, 1, 0, 0, 0, 0, 0]}',
        b'{"txet": "a"}',
        b"[" * 100_000,
        b"9" * 10_000,
        b"\xef\xbb\xbf" + good,
        b'{"text": "refuse me"}',
        b'{"text": "last, without an end"}',
    ]
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join(lines))
    results = dict(client.iter_ingest_file(path))
    assert sorted(results) == [n for n in range(1, 22) if n not in (2, 5)]
    assert [n for n, result in results.items() if isinstance(result, Kept)] == [1, 4, 15, 21]
    assert results[1].cid == results[4].cid
    assert (results[1].created, results[4].created) == (True, False)
    for number, result in results.items():
        if isinstance(result, EngramError):
            assert result.message.startswith(f"line {number}: ")
    assert isinstance(results[6], TooLarge)
    assert "20000013" in results[6].message
    assert (results[7].field, results[8].field, results[10].field) == ("text", "k", "metadata.k")
    assert isinstance(results[20], Unprocessable)
    seen = []
    assert len(client.batch_ingest_file(path, progress=seen.append)) == 19
    assert seen == list(range(1, 20))


def test_a_long_line_is_refused_without_being_held(tmp_path, client):
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"x" * 60_000_000 + b'\n{"text": "after"}\n')
    tracemalloc.start()
    try:
        results = client.batch_ingest_file(path)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [type(result) for result in results] == [TooLarge, str]
    assert most_bytes < 30_000_000


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path, client):
    with pytest.raises(NotFound, match=r"nothing\.jsonl"):
        client.batch_ingest_file(tmp_path / "nothing.jsonl")
    with pytest.raises(BadRequest, match="folder"):
        client.batch_ingest_file(tmp_path)


def test_an_empty_file_gives_nothing(tmp_path, client):
    (tmp_path / "empty").write_bytes(b"\n\n")
    assert client.batch_ingest_file(tmp_path / "empty") == []


# -- addresses --


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://127.0.0.1:8090", "no address"),
        ("engram://a/path", "no path"),
        ("http://a?q", "no address"),
        ("http://user@a", "no address"),
        ("127.0.0.1:8090", "no address"),
        ("engram://", "no address"),
        ("engram://a:99999", "port"),
        ("engram://a:x", "no address"),
        ("", "no address"),
    ],
)
def test_a_wrong_url_is_refused_at_once(url, said):
    with pytest.raises(BadRequest, match=said):
        EngramClient(url)


def test_no_node_is_a_clear_error(connect):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = connect(f"engram://127.0.0.1:{port}")
    with pytest.raises(Unavailable, match=rf"engram://127\.0\.0\.1:{port} .*start one with engram-node"):
        client.ingest("a")
    assert client.is_online() is False
    assert all(isinstance(result, Unavailable) for result in client.ingest_many(["a", "b"]))


# -- connections that die --


def test_a_node_that_was_restarted_is_found_again(node, client):
    cid = client.ingest("a")
    node.stop()
    with pytest.raises(Unavailable):
        client.get(cid)
    node.start()
    assert client.get(cid).text == "a"


def test_a_restarted_node_is_found_without_an_error_between(node, client):
    cid = client.ingest("a")
    node.stop()
    node.start()
    assert client.delete(cid) is True


def test_no_answer_in_time_is_a_deadline(connect, node):
    with connect(node.url, timeout=0.1) as client, pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
        client.ingest("wait")


def test_the_node_ceases_to_work_for_who_waits_no_more(connect, node):
    with connect(node.url, timeout=0.1) as client, pytest.raises(DeadlineExceeded):
        client.ingest("wait")
    deadline = time.monotonic() + 20
    while node.service.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    node.open_gate()
    assert node.service.records == {}


def test_a_late_answer_is_not_taken_for_another_calls(connect, node):
    with connect(node.url, timeout=0.1) as client:
        with pytest.raises(DeadlineExceeded):
            client.ingest("wait")
        node.open_gate()
        client.timeout = 20
        assert client.embed("a") == pytest.approx(embed("a"))


def test_a_batch_survives_a_connection_that_dies_in_the_middle(node, client):
    def items():
        for n in range(1000):
            if n == 450:
                node.stop()
                node.start()
            yield f"text {n}"

    results = client.ingest_many(items())
    assert [client.get(cid).text for cid in results] == [f"text {n}" for n in range(1000)]


# -- threads, processes, ends --


def test_many_threads_share_a_client(client):
    failures = []

    def work(name):
        for n in range(30):
            text = f"{name} {n}"
            if client.get(client.ingest(text)).text != text:
                failures.append(text)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_client_can_be_pickled(client):
    with again(client) as other:
        assert other.get(client.ingest("a")).text == "a"


def test_a_closed_client_says_so(client):
    client.is_online()
    client.close()
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.status()


# -- what it costs to import --


def test_importing_the_sdk_loads_no_node():
    script = (
        "import sys, engram.sdk\n"
        "heavy = {'trio', 'sqlite3', 'numpy', 'rich', 'asyncio', 'structlog', 'cryptography', 'engram.gateway'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_file_says_what_is_new(client, tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n{"text": "one"}\n')
    kept = dict(client.iter_ingest_file(path))
    assert [kept[line].created for line in (1, 2, 3)] == [True, True, False]
    assert client.batch_ingest_file(path) == [kept[line]["cid"] for line in (1, 2, 3)]
    assert not any(kept.created for _, kept in client.iter_ingest_file(path))


# -- exact, and explained --


def test_a_query_says_that_it_wants_exact_rows_and_gives_a_list_all_the_same(client, node):
    client.ingest("the cat sat")
    assert len(client.query("cat")) == len(client.query("cat", exact=True)) == 1
    assert len(client.query_by_vector([0.5] * DIM, exact=True)) == 1
    queries = [request for request in node.service.requests if isinstance(request, Query)]
    assert [(query.exact, query.explain) for query in queries] == [(False, False), (True, False), (True, False)]


def test_explain_gives_the_whole_answer(client):
    cid = client.ingest("the cat sat", {"kind": "cat"})
    by_text = client.explain("the cat sat", top_k=1)
    assert [hit.cid for hit in by_text.hits] == [cid]
    assert (by_text.mode, by_text.position) == ("fast", 2)
    assert [(step.name, step.rows, step.us) for step in by_text.explain] == [("namespace", 1, 1.5)]
    by_vector = client.explain(vector=embed("the cat sat"), exact=True)
    assert (by_vector.mode, [hit.cid for hit in by_vector.hits]) == ("exact", [cid])
    assert by_vector.explain


@pytest.mark.parametrize("given", [{}, {"text": "x", "vector": [0.5] * DIM}])
def test_explain_wants_a_text_or_a_vector(client, given):
    with pytest.raises(BadRequest, match="either text or vector"):
        client.explain(**given)
