"""Other embedding models in real nodes: configured in node.toml, bound to namespaces, told apart, failing alone."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import pytest
import static_model
from e2e.processes import NODE, ROOT, USER, code_of, run
from embed.st_folder import make_minilm
from embedding_server import DIM, Embeddings, packed, serving, vector

import engram
from engram.errors import Unavailable

KEY = "sk-never-to-be-seen-0123456789"


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def configured(tmp_path, server):
    """Write a node.toml with a static model and a server's; give its path."""
    static_model.make(tmp_path / "tiny-model")

    def write(more="", url=server.url):
        path = tmp_path / "node.toml"
        path.write_text(
            f"""
[models.tiny]
backend = "static"
path = "{tmp_path / "tiny-model"}"

[models.far]
backend = "openai"
url = "{url}"
model = "eight"
api_key_env = "FAR_KEY"
timeout_s = 4
{more}"""
        )
        return path

    return write


@pytest.fixture
def node(make_node, configured, weights):
    node = make_node("data", "--config", configured(), FAR_KEY=KEY)
    for line in ("model ready", "model tiny ready", "model far ready"):
        node.wait_for(line)
    return node


def excuse_failed_models(node):
    """Take the failures that a test has asked for out of the log, in which any failure is a bug of ours."""
    node.log.write_text(node.logged().replace("model_failed", "model did as the test wanted"))


def test_each_namespace_is_embedded_by_its_own_model(node, server):
    with node.client() as client:
        for model, dim in (("tiny", static_model.DIM), ("far", DIM), (None, 384)):
            info = client.namespaces.create(f"of {model}", model=model)
            assert info.dim == dim
            cids = [client.ingest(text, {"n": 1}, namespace=info.name) for text in ("the cat sat", "the dog ran")]
            record = client.get(cids[0], namespace=info.name, include_vector=True)
            assert (record.model_version, len(record.vector)) == (info.model_version, 4 * dim)
            hits = client.query("the cat sat", namespace=info.name)
            assert [hit.cid for hit in hits] == cids
            assert hits[0].score == pytest.approx(1.0, abs=1e-6)
            assert len(client.embed("the cat sat", model=model)) == dim
        versions = [info.model_version for info in client.namespaces.list()]
        assert len({v.partition("/")[0] for v in versions}) == 3
        assert client.get(cids[0], namespace="of None").model_version == "v1"
        with_vector = client.ingest_embedding([1.0] * DIM, text="any text beside it", namespace="of far")
        assert client.get(with_vector, namespace="of far", include_vector=True).vector == packed([1.0] * DIM)
    assert "any text beside it" not in server.texts()


def test_a_known_text_costs_no_request(node, server):
    with node.client() as client:
        client.namespaces.create("of far", model="far")
        first = client.ingest_many(["one", "two", "one"], namespace="of far")
        asked = len(server.asked)
        assert client.ingest_many(["two", "one"], namespace="of far") == [first[1], first[0]]
        assert len(server.asked) == asked
        assert client.query("one", namespace="of far")[0].cid == first[0]
        assert len(server.asked) == asked + 1


def test_long_texts_of_models_that_read_any_length_are_one_record(node, server):
    long = " ".join(f"the cat sat on mat {number}." for number in range(400))
    with node.client() as client:
        for model in ("tiny", "far"):
            client.namespaces.create(f"of {model}", model=model)
            cid = client.ingest(long, namespace=f"of {model}")
            assert client.get(cid, namespace=f"of {model}").chunks == 0
            assert client.query(long, namespace=f"of {model}")[0].cid == cid
        assert long in server.texts()
        assert client.get(client.ingest(long)).chunks > 1


def test_the_status_and_the_command_line_name_the_models(node, server):
    with node.client() as client:
        status = client.status()
    assert [(model.name, model.state, model.dim) for model in status.models] == [
        ("tiny", "ready", static_model.DIM),
        ("far", "ready", DIM),
    ]
    shown = run(USER, "status", ENGRAM_NODE=node.url)
    assert f"model tiny\t{status.models[0].model_version}, 6 numbers, ready" in shown.out
    assert json.loads(run(USER, "status", "--json", ENGRAM_NODE=node.url).out)["models"][1]["name"] == "far"
    made = run(USER, "namespace", "create", "letters", "--model", "tiny", ENGRAM_NODE=node.url)
    assert made.out == f"created letters: {status.models[0].model_version}, dim 6\n"
    again = run(USER, "namespace", "create", "letters", "--model", status.models[0].model_version, ENGRAM_NODE=node.url)
    assert again.code == 0
    embedded = run(USER, "embed", "the cat", "--model", "tiny", "--json", ENGRAM_NODE=node.url)
    assert json.loads(embedded.out)["dim"] == 6
    unknown = run(USER, "embed", "the cat", "--model", "potion", ENGRAM_NODE=node.url)
    assert unknown.code == 1
    assert "no 'potion'; it runs v1, tiny (static/" in unknown.err


def test_what_a_namespace_is_bound_to_is_checked(node):
    with node.client() as client:
        error = code_of(client.namespaces.create, "wrong", 7, "tiny")
        assert (error.code, error.field) == ("unprocessable", "dim")
        info = client.namespaces.create("tiny ones", 6, "tiny")
        assert code_of(client.ingest, "a cat", namespace="tiny ones", model_version="v1").field == "model_version"
        assert client.ingest("a cat", namespace="tiny ones", model_version=info.model_version)
        assert code_of(client.namespaces.create, "tiny ones", None, "far").code == "conflict"
        refused = code_of(client.ingest, "zebra", namespace="tiny ones")
        assert (refused.code, refused.field) == ("unprocessable", "text")


def test_a_model_whose_files_change_is_another(node, tmp_path, make_node, configured):
    with node.client() as client:
        old = client.namespaces.create("tiny ones", model="tiny")
        cid = client.ingest("the cat sat", namespace="tiny ones")
    node.stop()
    (tmp_path / "tiny-model" / "config.json").write_text('{"normalize": false}')
    node.start()
    for line in ("model tiny ready", "model far ready"):
        node.wait_for(line)
    with node.client() as client:
        for ask in (client.ingest, client.query):
            error = code_of(ask, "the dog ran", namespace="tiny ones")
            assert (error.code, error.field) == ("unprocessable", "vector")
            assert old.model_version in error.message
            assert client.status().models[0].model_version in error.message
            assert "engram reindex" in error.message
        assert client.get(cid, namespace="tiny ones").text == "the cat sat"
        assert client.query_by_vector([1, 2, 3, 4, 5, 6], namespace="tiny ones")[0].cid == cid
        assert code_of(client.namespaces.create, "tiny ones", None, "tiny").code == "conflict"
    node.stop()
    (tmp_path / "tiny-model" / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    (tmp_path / "tiny-model").rename(tmp_path / "moved")
    (tmp_path / "node.toml").write_text((tmp_path / "node.toml").read_text().replace("tiny-model", "moved"))
    node.start()
    node.wait_for("model tiny ready")
    with node.client() as client:
        assert client.query("the cat sat", namespace="tiny ones")[0].cid == cid


def test_a_model_that_does_not_load_leaves_the_node_and_the_others_alone(make_node, configured, tmp_path, weights):
    more = f'[models.gone]\nbackend = "sentence-transformers"\npath = "{tmp_path / "nowhere"}"\n'
    node = make_node("data", "--config", configured(more))  # and no FAR_KEY
    assert "FAR_KEY" in node.wait_for("model far failed: ")
    assert "nowhere" in node.wait_for("model gone failed: ")
    node.wait_for("model tiny ready")
    with node.client() as client:
        assert client.embed("the cat", model="tiny")
        assert [model.state for model in client.status().models] == ["ready", "failed", "failed"]
        error = code_of(client.namespaces.create, "of far", None, "far")
        assert error.code == "model_not_ready"
        assert "FAR_KEY" in error.message
        assert code_of(client.embed, "the cat", model="gone").code == "model_not_ready"
    excuse_failed_models(node)


def test_a_server_that_comes_later_is_found(make_node, configured, weights):
    server = Embeddings()
    server.behave = lambda _: (503, {"Retry-After": "60"}, {})
    with serving(server):
        node = make_node("data", "--config", configured(url=server.url), FAR_KEY=KEY)
        assert "tried again" in node.wait_for("model far failed: ")
        server.behave = server.answer
        node.wait_for("model far ready")
        with node.client() as client:
            assert client.embed("one", model="far") == pytest.approx(vector("one"))
        excuse_failed_models(node)


def test_a_hanging_server_holds_up_neither_the_other_models_nor_the_nodes_end(node, server):
    entered = threading.Event()
    with node.client() as client:
        client.namespaces.create("of far", model="far")
        client.ingest("one", namespace="of far")
        server.behave = lambda _: entered.set() or (server.released.wait(30) and None)
        said = []

        def hang():
            with node.client() as other:
                said.extend(other.ingest_many([f"{KEY} {n}" for n in range(300)], namespace="of far"))

        waiting = [threading.Thread(target=hang) for _ in range(3)]
        for thread in waiting:
            thread.start()
        assert entered.wait(10)
        started = time.monotonic()
        for number in range(5):
            client.ingest(f"the cat {number}")
            client.query("the cat")
            client.embed("the cat", model="tiny")
        assert time.monotonic() - started < 2
        started = time.monotonic()
        node.stop()
        assert time.monotonic() - started < 13
    for thread in waiting:
        thread.join()
    assert len(said) == 900
    assert {type(outcome) for outcome in said} == {Unavailable}


def test_neither_key_nor_text_nor_the_servers_words_are_told(node, server):
    private = "a very private sentence"
    with node.client() as client:
        client.namespaces.create("of far", model="far")
        for status in (400, 401, 404, 429, 500):
            said = {"error": {"message": f"{private} {KEY}", "code": KEY, "type": private}}
            server.behave = lambda _, status=status, said=said: (status, {"Retry-After": "9"}, said)
            error = code_of(client.ingest, private, namespace="of far")
            assert error.code in ("unavailable", "unprocessable")
            assert private not in error.message
            assert KEY not in error.message
            assert str(status) in error.message
        status = repr(client.status())
    node.stop()
    everything = node.logged() + status + "".join(node.said)
    assert private not in everything
    assert KEY not in everything
    assert not [path for path in node.data.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_the_doctor_has_a_line_for_each_model(configured, server, tmp_path):
    configured(f'[models.gone]\nbackend = "static"\npath = "{tmp_path / "nowhere"}"\n')
    ran = run(NODE, "doctor", "--json", cwd=tmp_path, FAR_KEY=KEY)
    checks = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert checks["model tiny"]["found"].startswith("static/tiny-model@")
    assert "dim 6, fingerprint" in checks["model tiny"]["found"]
    assert checks["model far"]["found"].startswith("openai/eight@")
    assert (checks["model gone"]["state"], ran.code) == ("fail", 1)
    assert "nowhere" in checks["model gone"]["found"]


def test_an_embedded_memory_takes_models_too(tmp_path, server, weights):
    models = {
        "tiny": {"backend": "static", "path": static_model.make(tmp_path / "tiny")},
        "far": {"backend": "openai", "url": server.url, "model": "m"},
    }
    with engram.open(tmp_path / "data", models=models) as memory:
        for model in models:
            memory.namespaces.create(model, model=model)
            cid = memory.ingest("the cat sat", namespace=model)
            assert memory.query("the cat sat", namespace=model)[0].cid == cid
    error = code_of(engram.open, tmp_path / "data", models={"tiny": {"backend": "static"}})
    assert (error.code, error.field) == ("bad_request", "path")
    assert "models.tiny.path is missing" in error.message


@pytest.mark.st
def test_a_model_of_sentence_transformers_in_a_node(make_node, tmp_path, request, weights):
    """The canonical model by the other library: near the native vectors, and never taken for them."""
    folder = make_minilm(tmp_path / "MiniLM", request)
    (tmp_path / "node.toml").write_text(f'[models.mini]\nbackend = "sentence-transformers"\npath = "{folder}"\n')
    node = make_node("data", "--config", tmp_path / "node.toml", PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path]))
    node.wait_for("model mini ready")
    with node.client() as client:
        client.namespaces.create("own")
        info = client.namespaces.create("letters", model="mini")
        assert info.model_version.startswith("st/MiniLM@")
        texts = ["The cat sat on the mat.", "Water boils at 100 degrees.", "One more sentence. " * 200]
        for space in ("own", "letters"):
            assert all(isinstance(cid, str) for cid in client.ingest_many(texts, namespace=space))
        ours, theirs = (client.query("a cat on a mat", namespace=space) for space in ("own", "letters"))
        assert [hit.text for hit in ours] == [hit.text for hit in theirs]
        assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=1e-5)
        assert not {hit.cid for hit in ours} & {hit.cid for hit in theirs}
        assert theirs[-1].chunk or theirs[1].chunk
