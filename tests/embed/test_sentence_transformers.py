"""The sentence-transformers backend on the canonical model's own files: `pytest -m st`, with the extra `st`."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from embed.st_folder import make_minilm

from engram.embed import SentenceTransformersSpec, load_model
from engram.errors import ModelNotReady


@pytest.fixture(scope="module")
def folder(request, tmp_path_factory):
    return make_minilm(tmp_path_factory.mktemp("st") / "all-MiniLM-L6-v2", request)


@pytest.fixture(scope="module")
def model(folder):
    return load_model(SentenceTransformersSpec(path=folder))


@pytest.mark.st
def test_its_vectors_are_those_of_the_native_embedder_and_of_the_reference(model, embedder, reference):
    texts, tokens, expected = reference
    done = model.embed(texts)
    fitting = [index for index, count in enumerate(tokens) if count <= 256]
    assert sorted(done.refusals) == sorted(set(range(len(texts))) - set(fitting))
    vectors = np.array([np.frombuffer(done.vector(index), "<f4") for index in fitting], dtype="f8")
    native = np.array([np.frombuffer(embedder.embed([texts[index]]).vector(0), "<f4") for index in fitting], dtype="f8")
    assert [done.tokens[index] for index in fitting] == [tokens[index] for index in fitting]
    assert ((vectors * native).sum(axis=1) >= 0.999999).all()
    assert ((vectors * expected[fitting]).sum(axis=1) >= 0.999999).all()


@pytest.mark.st
def test_a_text_over_its_limit_is_refused_and_not_cut(model):
    done = model.embed(["cat " * 254, "cat " * 255])
    assert done.tokens == (256, 257)
    assert list(done.refusals) == [1]
    assert (done.refusals[1].code, done.refusals[1].field) == ("too_large", "text")
    assert "257 tokens" in done.refusals[1].message
    assert "at most 256" in done.refusals[1].message


@pytest.mark.st
def test_long_texts_are_cut_where_the_native_embedder_cuts_them(model, embedder):
    """The same tokeniser, by another way, under the same rule."""
    for text in ("One sentence of some words. " * 200, "wörter " * 700, "日本語の文章です。" * 100):
        assert model.split(text) == embedder.split(text)


@pytest.mark.st
def test_its_fingerprint_is_of_the_files_that_decide(model, folder, tmp_path, request):
    assert model.model_version.startswith("st/all-MiniLM-L6-v2@")
    copy = make_minilm(tmp_path / "copy", request)
    (copy / "README.md").write_text("words")
    (copy / "onnx").mkdir()
    (copy / "onnx" / "model.onnx").write_bytes(b"other")
    (copy / "pytorch_model.bin").write_bytes(b"the same weights, for others")
    assert load_model(SentenceTransformersSpec(path=copy)).fingerprint == model.fingerprint
    (copy / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128, "do_lower_case": False}))
    shorter = load_model(SentenceTransformersSpec(path=copy))
    assert shorter.fingerprint != model.fingerprint
    assert shorter.embed(["cat " * 127]).refusals[0].code == "too_large"


@pytest.mark.st
def test_a_damaged_folder_is_an_error_that_names_it(folder, tmp_path, request):
    broken = make_minilm(tmp_path / "broken", request)
    (broken / "model.safetensors").unlink()
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelNotReady, match=str(broken)):
        load_model(SentenceTransformersSpec(path=broken))


def test_without_the_package_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelNotReady, match=r"pip install 'engram-node\[st\]'"):
        load_model(SentenceTransformersSpec(path=folder))


def test_a_folder_that_holds_no_model_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelNotReady, match=r"no modules.json or config.json"):
            load_model(SentenceTransformersSpec(path=path))


def test_modules_outside_of_the_folder_are_refused(tmp_path):
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "../elsewhere"}]))
    with pytest.raises(ModelNotReady, match="outside"):
        load_model(SentenceTransformersSpec(path=tmp_path))
