"""The native tokeniser against docs/embedding.md in plain Python: golden strings, random ones, every code point."""

import hashlib

import golden
import pytest
from embed.wordpieces import WordPieces, words
from hypothesis import given, settings
from hypothesis import strategies as st

ITEMS = golden.load("minilm_digests")["items"]


@pytest.fixture(scope="module")
def pieces(model_files):
    return WordPieces(model_files.tokenizer)


def test_golden_counts_are_those_of_the_page(pieces):
    assert [len(pieces.ids(item["text"])) for item in ITEMS] == [item["tokens"] for item in ITEMS]


def test_golden_ids_are_those_of_the_page(pieces, embedder):
    """Ids written out as plain words, each of which is in the vocabulary, give the vector of the text itself."""
    fitting = [item for item in ITEMS if item["tokens"] <= 64]
    ids = [pieces.ids(item["text"]) for item in fitting]
    spelt = [pieces.spelt(one) for one in ids]
    assert [pieces.ids(text) for text in spelt] == ids
    vectors = embedder.embed(spelt).vectors
    assert [hashlib.sha256(vector).hexdigest() for vector in vectors] == [item["sha256"] for item in fitting]


def test_texts_have_one_vector_exactly_if_they_have_the_same_ids(pieces):
    by_ids = {}
    for item in ITEMS:
        if item["sha256"]:
            by_ids.setdefault(tuple(pieces.ids(item["text"])), set()).add(item["sha256"])
    assert all(len(digests) == 1 for digests in by_ids.values())
    assert len(set.union(*by_ids.values())) == len(by_ids)


PARTS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(
        ["[CLS]", "[MASK]", "[", "]", " ", "  ", "\x00", "\u0301", "\u200d", "##", "'", "x" * 60, "é", "한", "が"]
    ),
    st.sampled_from(
        [
            "Memory",
            "tokens",
            "unbelievable",
            "\u017ftraße",
            "ΣΊΣΥΦΟΣ",
            "नमस्ते",
            "السَّلَامُ",
            "中文",
            "データ",
            "Йод ёлка",
            "\u01c4",
        ]
    ),
    st.text("aeinostr", max_size=12),
)


@settings(max_examples=150)
@given(st.lists(PARTS, max_size=30).map("".join))
def test_random_texts_have_the_tokens_of_the_page(pieces, embedder, text):
    ids = pieces.ids(text)
    assert embedder.count_tokens(text) == len(ids)
    spelt = pieces.spelt(ids)
    if pieces.ids(spelt) == ids and len(ids) <= 40:
        first, second = embedder.embed([text, spelt]).vectors
        assert first == second


def test_every_code_point_of_the_first_plane_but_ideographs_and_syllables_has_the_count_of_the_page(pieces, embedder):
    for at in (*range(0, 0x3400, 64), *range(0xA000, 0xAC00, 64), *range(0xF900, 0x10000, 64)):
        compare_counts(pieces, embedder, block(at, 64))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_code_point_has_the_tokens_of_the_page(pieces, embedder):
    for at in range(0, 0x110000, 64):
        compare_counts(pieces, embedder, block(at, 64))
    unknown = {100, 101, 102}
    known = [char for at in range(0, 0x110000, 64) for char in block(at, 64) if set(pieces.ids(char)) - unknown]
    assert 2500 < len(known) < 5000
    for at in range(0, len(known), 40):
        text = " ".join(known[at : at + 40])
        ids = pieces.ids(text)
        spelt = pieces.spelt(ids)
        assert pieces.ids(spelt) == ids
        first, second = embedder.embed([text, spelt]).vectors
        assert first == second is not None, text


def block(at, size):
    return [chr(point) for point in range(at, at + size) if not 0xD800 <= point < 0xE000]


def compare_counts(pieces, embedder, chars):
    """Compare how many tokens there are for each code point alone, inside a word, and after a letter."""
    texts = [f"{char} ab{char}cd e{char}" for char in chars]
    text = " . ".join(texts)
    if embedder.count_tokens(text) == len(pieces.ids(text)):
        return
    for char, one in zip(chars, texts, strict=True):
        assert embedder.count_tokens(one) == len(pieces.ids(one)), f"U+{ord(char):04X}"
    raise AssertionError(f"U+{ord(chars[0]):04X} to U+{ord(chars[-1]):04X}: only together")


def test_words_are_cut_as_the_page_says():
    assert list(words("Don't,\tSTOP\u00a0 a\u2013b")) == ["don", "'", "t", ",", "stop", "a", "\u2013", "b"]
    assert list(words("x\u000by\u0085z")) == ["xyz"]
    assert list(words("中文é\u0301")) == ["中", "文", "e"]
    assert list(words("")) == []
