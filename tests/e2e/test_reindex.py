"""`reindex` in real nodes: a namespace embedded again by another model, by hand, by the SDK, and after an interruption."""

from __future__ import annotations

import itertools
import json

import pytest
import static_model
from e2e.processes import USER, code_of, run
from embedding_server import serving

from engram.errors import Unavailable

WORDS = [word for word in static_model.WORDS if not word.startswith("[")]
TEXTS = [" ".join(words) for words in itertools.permutations(WORDS[1:7], 3)]
LONG = "The cat sat on the mat. " * 100


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def node(make_node, server, tmp_path, weights):
    folder = static_model.make(tmp_path / "tiny")
    (tmp_path / "node.toml").write_text(
        f'[models.tiny]\nbackend = "static"\npath = "{folder}"\n'
        f'[models.far]\nbackend = "openai"\nurl = "{server.url}"\nmodel = "m"\ndim = 8\ntimeout_s = 2\n'
    )
    node = make_node("data", "--config", tmp_path / "node.toml")
    for line in ("model ready", "model tiny ready", "model far ready"):
        node.wait_for(line)
    return node


@pytest.fixture
def client(node):
    with node.client() as client:
        yield client


def test_there_and_back_again_gives_the_cids_of_before(client):
    client.namespaces.create("letters")
    metadata = {"n": 1, "who": {"name": "Ada"}, "æ": [1.5, None]}
    cids = [client.ingest(text, metadata, "letters") for text in [*TEXTS, LONG]]
    there = list(client.reindex("letters", "tiny letters", "tiny"))
    assert [item.old for item in there] == cids
    assert {item.error for item in there} == {None}
    for item, text in zip(there, [*TEXTS, LONG], strict=True):
        record = client.get(item.new, "tiny letters")
        assert (record.text, record.metadata) == (text, metadata)
        assert record.model_version.startswith("static/tiny@")
    back = list(client.reindex("tiny letters", into="letters again"))
    forth = {item.new: item.old for item in there}
    assert {forth[item.old]: item.new for item in back} == {cid: cid for cid in cids}
    assert [record.cid for record in client.list(namespace="letters", limit=1000)] == cids
    assert client.get(cids[-1], "letters again").chunks > 1
    assert client.query("the cat sat", namespace="letters again", top_k=3) == client.query(
        "the cat sat", namespace="letters", top_k=3
    )


def test_done_again_it_costs_nothing(client, server):
    client.ingest_many(TEXTS)
    first = list(client.reindex(None, "far ones", "far"))
    assert all(item.created for item in first)
    asked, position = len(server.asked), client.status().position
    again = list(client.reindex("public", "far ones", "far"))
    assert [(item.old, item.new, item.created) for item in again] == [(i.old, i.new, False) for i in first]
    assert (len(server.asked), client.status().position) == (asked, position)


def test_a_server_that_goes_away_ends_it_and_it_goes_on_later(client, server):
    client.ingest_many([f"text {number}" for number in range(500)])
    answered = []

    def answer(request):
        answered.extend(request["input"])
        return server.answer(request)

    def first_batch(request):
        return all(int(text.split()[1]) < 100 for text in request["input"])

    server.behave = lambda request: answer(request) if first_batch(request) else (503, {}, {})
    done = []
    with pytest.raises(Unavailable):
        for item in client.reindex(None, "far ones", "far"):
            done.append(item)
    # Calls that are on their way together share requests to the server: what one of these held is to be done again.
    assert len(done) in range(0, 500, 100)
    assert all(item.new is not None for item in done)
    server.behave = answer
    rest = list(client.reindex(None, "far ones", "far"))
    assert len(rest) == 500
    assert {item.error for item in rest} == {None}
    assert [item.created for item in rest[: len(done)]] == [False] * len(done)
    assert len(answered) <= 500 + 4 * 100  # no more again than the batches that were on their way


def test_what_has_no_text_and_what_the_model_refuses_is_told(client, node):
    client.namespaces.create("mixed")
    cat = client.ingest("the cat", namespace="mixed")
    bare = client.ingest_embedding([1.0] * 384, namespace="mixed")
    zebra = client.ingest("zebra", namespace="mixed")
    done = list(client.reindex("mixed", "tiny mixed", "tiny"))
    assert [item.old for item in done] == [cat, bare, zebra]
    assert (done[1].new, done[1].error) == (None, None)
    assert (done[2].new, done[2].error.code) == (None, "unprocessable")
    ran = run(USER, "reindex", "mixed", "--model", "tiny", "--into", "tiny mixed", ENGRAM_NODE=node.url)
    assert (ran.code, ran.out) == (1, f"{cat}\t{done[0].new}\n")
    assert f"error: {zebra}: text has no token" in ran.err
    assert "3 records: 0 new, 1 known already, 1 without a text, 1 error" in ran.err


def test_the_command_prints_the_map(client, node):
    cids = client.ingest_many(TEXTS[:3])
    arguments = ("reindex", "public", "--model", "tiny", "--into", "tiny ones")
    ran = run(USER, *arguments, ENGRAM_NODE=node.url)
    assert ran.code == 0
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert [old for old, _ in lines] == cids
    assert [record.cid for record in client.list(namespace="tiny ones")] == [new for _, new in lines]
    as_json = [json.loads(line) for line in run(USER, *arguments, "--json", ENGRAM_NODE=node.url).out.splitlines()]
    assert as_json[:-1] == [{"old": old, "new": new} for old, new in lines]
    summary = as_json[-1]["summary"]
    assert summary | {"seconds": 0} == {
        "records": 3, "new": 0, "known": 3, "without_text": 0, "errors": 0, "seconds": 0
    }  # fmt: skip


def test_what_cannot_be_is_said_before_anything_is_made(client, node):
    client.ingest("the cat")
    position = client.status().position
    for namespace, into, model, code, field in (
        ("nowhere", "new", None, "not_found", "namespace"),
        (None, "public", None, "bad_request", "into"),
        ("public", "public", "tiny", "bad_request", "into"),
        (None, "new", "unheard-of", "unprocessable", "dim"),
        (None, "a" * 129, None, "unprocessable", "name"),
    ):
        error = code_of(next, client.reindex(namespace, into, model))
        assert (error.code, error.field) == (code, field)
    assert client.status().position == position
    client.namespaces.create("taken")
    assert code_of(next, client.reindex(None, "taken", "tiny")).code == "conflict"
    ran = run(USER, "reindex", "nowhere", "--into", "new", ENGRAM_NODE=node.url)
    assert (ran.code, ran.out) == (1, "")
    assert "no namespace 'nowhere'" in ran.err
