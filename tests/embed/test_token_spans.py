"""Where the word pieces of a text stand in it: golden spans, written by hand."""

import struct
import time
from itertools import pairwise

import pytest

GOLDEN = {
    "plain": ("Hello, world!", ["Hello", ",", "world", "!"], [0, 1, 2, 3]),
    "pieces of one word": ("embeddings", ["em", "bed", "ding", "s"], [0, 0, 0, 0]),
    "punctuation parts words": ("don't 3.14", ["don", "'", "t", "3", ".", "14"], [0, 1, 2, 3, 4, 5]),
    "emoji, one of two code points": ("😀 👍🏽 ok", ["😀", "👍🏽", "ok"], [0, 1, 2]),
    "CJK: a word a character": ("中文 字", ["中", "文", "字"], [0, 1, 2]),
    "Hebrew": ("שלום עו", list("שלוםעו"), [0, 0, 0, 0, 1, 1]),
    "composed": ("l'École", ["l", "'", "École"], [0, 1, 2]),
    "combining marks": ("e\u0301te\u0301 x", ["e\u0301t", "e", "x"], [0, 0, 1]),
    "Hangul: a syllable falls apart": ("국 어", ["국", "국", "국", "어", "어"], [0, 0, 0, 1, 1]),
    "a capital that Unicode lowers to two": ("İstanbul x", ["İstanbul", "x"], [0, 1]),
    "full width": ("\uff41 ß", ["\uff41", "ß"], [0, 1]),
    "NUL is dropped within a word": ("a\0b c", ["a\0b", "c"], [0, 1]),
    "CRLF": ("one\r\ntwo\r\n", ["one", "two"], [0, 1]),
    "special tokens are words of their own": (
        "[SEP]x [CLS][SEP] [sep]",
        ["[SEP]", "x", "[CLS]", "[SEP]", "[", "sep", "]"],
        [0, 1, 2, 3, 4, 5, 6],
    ),
    "a word too long to look up": ("x" * 101 + " y", ["x" * 101, "y"], [0, 1]),
    "no words": (" \r\n\0\u200b\u0301", [], []),
    "empty": ("", [], []),
}


@pytest.fixture(scope="session")
def spans(embedder):
    return lambda text: list(struct.iter_unpack("<III", embedder._native.token_spans(text)))


@pytest.mark.parametrize("name", GOLDEN)
def test_spans_cut_the_pieces_out_of_the_text(spans, name):
    text, pieces, words = GOLDEN[name]
    got = spans(text)
    assert [text[start:end] for start, end, _ in got] == pieces
    assert [word for _, _, word in got] == words


def test_there_is_a_span_for_each_token_but_the_two_around_them(embedder, spans, reference):
    texts, tokens, _ = reference
    assert [len(spans(text)) + 2 for text in texts] == tokens
    for text in texts:
        got = spans(text)
        for before, after in pairwise(got):
            assert before[0] <= after[0]
            assert before[1] <= after[1]
            assert after[2] - before[2] in (0, 1)
        assert all(0 <= start < end <= len(text) for start, end, _ in got)


def test_a_megabyte_is_cut_quickly(spans, reference):
    text = " ".join(reference[0])
    text = (text * (1_000_000 // len(text.encode()) + 1)).encode()[:1_000_000].decode(errors="ignore")
    start = time.process_time()
    spans(text[: len(text) // 4])
    quarter = time.process_time() - start
    assert len(spans(text)) > 100_000
    # On a slow machine too: what takes its square would take sixteen times as long.
    assert time.process_time() - start - quarter < 10 * quarter + 1
