"""The embedder against sentence-transformers' own vectors, and against itself in any company, thread and kernel."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engram.embed import load_embedder
from engram.errors import BadRequest, TooLarge, Unprocessable
from engram.limits import LIMITS
from engram.native import _core


def floats(vectors):
    return np.array([np.frombuffer(vector, "<f4") for vector in vectors], dtype=np.float64)


def test_vectors_agree_with_sentence_transformers(embedder, reference):
    texts, tokens, expected = reference
    assert len(texts) == 50
    result = embedder.embed(texts)
    got = floats(result.vectors)
    cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= 0.99999
    assert np.abs(got - expected).max() < 2e-6
    assert list(result.tokens) == tokens
    assert not result.refusals


def test_vectors_have_norm_one(embedder, reference):
    norms = np.linalg.norm(floats(embedder.embed(reference[0]).vectors), axis=1)
    assert np.abs(norms - 1).max() < 1e-6


def test_a_text_gives_the_same_bytes_alone_and_in_any_batch(embedder, reference):
    texts = reference[0]
    alone = {text: embedder.embed([text]).vector(0) for text in texts}
    rng = random.Random(5)
    for size in (2, 3, 7, 20, 50):
        batch = rng.choices(texts, k=size)
        assert embedder.embed(batch).vectors == tuple(alone[text] for text in batch)


def test_a_text_gives_the_same_bytes_in_any_thread(embedder, reference):
    texts = reference[0][:20]
    expected = embedder.embed(texts).vectors
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: embedder.embed(texts[i:] + texts[:i]).vectors, range(12)))
    for i, vectors in enumerate(results):
        assert vectors == expected[i:] + expected[:i]


@pytest.mark.parametrize("kernel", ["avx512", "avx2", "neon", "scalar"])
def test_every_kernel_of_this_cpu_gives_the_same_bytes(model_files, embedder, reference, kernel):
    try:
        other = load_embedder(model_files, kernel=kernel)
    except Unprocessable:
        assert kernel not in ("scalar", embedder.kernel)
        pytest.skip(f"this CPU has no {kernel}")
    assert other.kernel == kernel
    texts = reference[0][12:48]  # with the long texts: all block heights and the padding of attention
    if kernel == "scalar":
        texts = texts[::4]
    assert other.embed(texts).vectors == embedder.embed(texts).vectors


def test_forced_kernel_comes_from_the_environment(model_files, monkeypatch):
    monkeypatch.setenv("ENGRAM_KERNEL", "scalar")
    assert load_embedder(model_files).kernel == "scalar"


def test_unknown_kernel_is_refused_by_name(model_files, monkeypatch):
    monkeypatch.setenv("ENGRAM_KERNEL", "mmx")
    with pytest.raises(Unprocessable, match=r'ENGRAM_KERNEL.*"mmx".*scalar') as caught:
        load_embedder(model_files)
    assert caught.value.field == "ENGRAM_KERNEL"


def test_kernel_of_another_cpu_is_refused_by_name(model_files, embedder):
    foreign = "neon" if embedder.kernel != "neon" else "avx2"
    with pytest.raises(Unprocessable, match=f'cannot run the kernel "{foreign}"'):
        load_embedder(model_files, kernel=foreign)


def test_254_word_pieces_fit_and_255_are_refused_with_their_count(embedder):
    assert embedder.embed(["a " * 254]).tokens == (256,)
    result = embedder.embed(["a " * 255])
    assert result.vectors == (None,)
    assert result.tokens == (257,)
    with pytest.raises(TooLarge, match=r"255 word pieces.* 254.*split it") as caught:
        result.vector(0)
    assert caught.value.field == "text"
    assert LIMITS.text_tokens == _core.MINILM_MAX_TOKENS


def test_a_refused_text_leaves_the_others_alone(embedder):
    result = embedder.embed(["first", "a " * 300, "\ud800", "last"])
    assert set(result.refusals) == {1, 2}
    assert result.vector(0) == embedder.embed(["first"]).vector(0)
    assert result.vector(3) == embedder.embed(["last"]).vector(0)
    assert result.tokens == (3, 302, 0, 3)


def test_lone_surrogate_is_refused_with_its_place(embedder):
    with pytest.raises(BadRequest, match=r"U\+DC80 at index 2") as caught:
        embedder.embed(["ab\udc80"]).vector(0)
    assert caught.value.field == "text"
    with pytest.raises(BadRequest, match=r"U\+DC80"):
        embedder.count_tokens("\udc80")


def test_texts_without_words_are_embedded(embedder):
    for text in ("", " ", "\n", "\x00", "\u200b"):
        result = embedder.embed([text])
        assert result.tokens == (2,)
        assert abs(np.linalg.norm(floats(result.vectors)) - 1) < 1e-6
    assert embedder.embed([]).vectors == ()


def test_count_tokens_counts_without_a_limit(embedder, reference):
    texts, tokens, _ = reference
    assert [embedder.count_tokens(text) for text in texts] == tokens
    assert embedder.count_tokens("a " * 1000) == 1002


def test_the_port_is_fulfilled(embedder):
    assert (embedder.model_version, embedder.dim) == ("v1", 384)
    assert len(embedder.embed(["x"]).vector(0)) == 4 * embedder.dim


def test_importing_it_loads_no_network_and_no_numpy():
    unwanted = {"numpy", "socket", "ssl", "urllib.request", "trio", "engram.runtime"}
    code = f"import sys, engram.embed; print(sorted({unwanted} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert out.stdout.strip() == "[]"
