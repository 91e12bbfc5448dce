"""What every backend keeps: the same tests over the canonical one, a static one, a remote one, and, with `-m st`, torch."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
import static_model
from embed.st_folder import make_minilm
from embedding_server import serving

from engram.embed import RemoteSpec, SentenceTransformersSpec, StaticSpec, load_model
from engram.errors import BadRequest, Unavailable
from engram.native import _core

TEXTS = ["A cat sat on the mat.", "the dog ran", "Water boils at 100", "it is a cat", "the mat"]


@pytest.fixture(scope="module", params=["canonical", "static", "remote", pytest.param("st", marks=pytest.mark.st)])
def backend(request, tmp_path_factory):
    """A loaded backend; closed afterwards."""
    if request.param == "canonical":
        yield request.getfixturevalue("embedder")
        return
    folder = tmp_path_factory.mktemp("model")
    if request.param == "remote":
        with serving() as server:
            loaded = load_model(RemoteSpec(url=server.url, model="org/eight numbers"))
            yield loaded
            loaded.close()
        return
    if request.param == "static":
        loaded = load_model(StaticSpec(path=static_model.make(folder / "tiny")))
    else:
        loaded = load_model(SentenceTransformersSpec(path=make_minilm(folder / "MiniLM", request)))
    yield loaded
    loaded.close()


def test_a_vector_a_text_of_the_dimension_it_says(backend):
    done = backend.embed(TEXTS)
    assert [len(vector) for vector in done.vectors] == [4 * backend.dim] * len(TEXTS)
    assert len(set(done.vectors)) == len(TEXTS)
    assert np.isfinite(np.frombuffer(b"".join(done.vectors), "<f4")).all()
    assert done.refusals == {}


def test_the_vectors_are_those_of_each_text_alone(backend):
    together = [np.frombuffer(vector, "<f4") for vector in backend.embed(TEXTS).vectors]
    for text, vector in zip(TEXTS, together, strict=True):
        alone = np.frombuffer(backend.embed([text]).vector(0), "<f4")
        assert alone @ vector / np.linalg.norm(alone) / np.linalg.norm(vector) >= 0.999999


def test_its_version_names_its_fingerprint(backend):
    assert re.fullmatch("[0-9a-f]{64}", backend.fingerprint)
    assert re.fullmatch("[A-Za-z0-9._/:@+-]{1,128}", backend.model_version)
    if backend.model_version != "v1":
        assert backend.model_version.endswith(f"@{backend.fingerprint[:16]}")


def test_a_text_that_is_no_unicode_is_refused_alone(backend):
    done = backend.embed(["a cat", "a \ud800 cat", "the mat"])
    assert [vector is None for vector in done.vectors] == [False, True, False]
    assert (done.refusals[1].code, done.refusals[1].field) == ("bad_request", "text")
    with pytest.raises(type(done.refusals[1])):
        backend.count_tokens("\udfff")


def test_tokens_are_counted_the_same_both_ways(backend):
    done = backend.embed(TEXTS)
    assert list(done.tokens) == [backend.count_tokens(text) for text in TEXTS]


def test_nothing_gives_nothing(backend):
    assert backend.embed([]).vectors == ()


def test_a_call_that_is_stopped_embeds_nothing(backend):
    stop = _core.Stop()
    assert backend.embed(TEXTS[:1], stop).refusals == {}
    stop.set()
    with pytest.raises(Unavailable):
        backend.embed(TEXTS, stop)


def test_threads_may_share_it(backend):
    expected = [np.frombuffer(vector, "<f4") for vector in backend.embed(TEXTS).vectors]
    wrong = []

    def work():
        for _ in range(5):
            for index, vector in enumerate(backend.embed(TEXTS).vectors):
                if not np.allclose(np.frombuffer(vector, "<f4"), expected[index], atol=1e-5):
                    wrong.append(index)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_short_text_is_one_part_and_whole(backend):
    for text in TEXTS:
        split = backend.split(text)
        assert [(span.start, span.end) for span in split.spans] == [(0, len(text))]
        assert split.tokens == backend.count_tokens(text)
    with pytest.raises(BadRequest):
        backend.split("a \ud800 cat")


def test_every_part_of_a_long_text_is_embedded_and_no_word_is_lost(backend):
    """Backends that read any length leave it whole; what is over `whole_bytes` may be cut."""
    text = " ".join(f"the cat sat on mat {number}." for number in range(400))
    spans = backend.split(text).spans
    parts = [text[span.start : span.end] for span in spans]
    assert backend.embed(parts).refusals == {}
    covered = set()
    for span in spans:
        covered.update(range(span.start, span.end))
    assert all(at in covered for at, letter in enumerate(text) if letter != " ")
    assert (len(spans) > 1) == (backend.embed([text]).vectors == (None,))


def test_what_is_under_whole_bytes_is_never_cut(backend):
    text = ("ab cd \u0e4d \ufdfa \uac00 " * 10_000).encode()[: backend.whole_bytes].decode(errors="ignore")
    assert len(backend.split(text).spans) == 1
