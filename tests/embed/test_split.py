"""The splitter: golden borders, its rule against a plain second reading of it, and what must hold for every text."""

import json
import re
import struct
import time
import unicodedata
from itertools import pairwise
from pathlib import Path

import golden
import pytest
from embed import split_oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram.embed import CHUNK_PIECES, Span, Split
from engram.embed._split import OVERLAP_PIECES, split
from engram.errors import BadRequest

GOLDEN = json.loads((golden.DATA / "split.json").read_text("utf-8"))
LICENCE = (Path(__file__).parents[2] / "LICENSE").read_text()
GLOSSES = [json.loads(line)["text"] for line in (golden.DATA / "glosses.jsonl").read_text("utf-8").splitlines()]
PROSE = " ".join(f"{gloss[0].upper()}{gloss[1:]}." for gloss in GLOSSES)

# ruff: noqa: RUF001, SIM905 - letters of many scripts
words = st.sampled_from("a the cat embeddings internationalization don't 3.14 e.g. Dr. 中 文字 かな 국어 नमस्ते שלום مرحبا e\u0301 \u0301 \u200b "
                        "İstanbul ½ ﬁn 😀 👍🏽 [SEP] [CLS] # ``` {x:1} ()))) x\0y".split(" "))  # fmt: skip
stops = st.sampled_from(
    [".", "!", "?", "…", "。", "！", "？」", "।", "؟", '."', ".**", ".)))))", "。。", ",", "", "", "", ""]
)
gaps = st.sampled_from(
    [
        " ",
        " ",
        " ",
        " ",
        "\n",
        "\r\n",
        "\n\n",
        "\r\n\r\n",
        "\n \t\n",
        "\n\u200b\n",
        "\u2028",
        "\u2029",
        "\u3000",
        "\xa0",
        "",
        "\f",
        "\r",
    ]
)
texts = st.lists(st.tuples(words, stops, gaps).map("".join), min_size=1, max_size=300).map("".join)


def pieces_of(embedder, text):
    return list(struct.iter_unpack("<III", embedder._native.token_spans(text)))


def counter(embedder):
    return lambda text: embedder.count_tokens(text) - 2


def judge(embedder, text, spans, limit=CHUNK_PIECES, overlap=OVERLAP_PIECES):
    """What holds for every text, by counting and looking alone."""
    count = counter(embedder)
    pieces = pieces_of(embedder, text)
    if len(pieces) <= limit:
        assert spans == (Span(0, len(text)),)
        return
    assert len(spans) > 1
    covered = set()
    for span in spans:
        chunk = text[span.start : span.end]
        assert chunk.strip(), "a chunk of nothing"
        assert not {chunk[0], chunk[-1]} & set(" \n\r\t")
        assert 0 < count(chunk) <= limit
        covered.update(range(span.start, span.end))
    assert all(character.isspace() for at, character in enumerate(text) if at not in covered)
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.end < after.end
        assert sum(after.start <= start and end <= before.end for start, end, _ in pieces) <= overlap
    for span in spans[:-1]:  # no chunk but the last is small
        assert sum(span.start <= start and end <= span.end for start, end, _ in pieces) > limit // 2


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_borders(embedder, name):
    """Another border is another CID for every long text: it needs another version of the splitter."""
    text, spans = GOLDEN[name]["text"], GOLDEN[name]["spans"]
    found = embedder.split(text)
    assert [[span.start, span.end] for span in found.spans] == spans
    assert found.tokens == GOLDEN[name]["tokens"] == embedder.count_tokens(text)
    judge(embedder, text, found.spans)


@pytest.mark.parametrize("limit", [16, 254])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts)
def test_the_rule_and_what_it_promises(embedder, limit, text):
    if max(map(len, _words(pieces_of(embedder, text))), default=0) > limit // 4:
        limit = 254
    overlap = limit // 8
    spans = split(text, embedder._native.token_spans(text), counter(embedder), limit=limit, overlap=overlap)
    assert [(span.start, span.end) for span in spans] == split_oracle.split(
        text, pieces_of(embedder, text), counter(embedder), limit, overlap
    )
    judge(embedder, text, spans, limit, overlap)


def _words(pieces):
    numbers = sorted({word for _, _, word in pieces})
    return [[piece for piece in pieces if piece[2] == word] for word in numbers]


def toy_pieces(text):
    """A tokeniser of three letters a piece, and of four pieces a word but where a `Z` begins it. `&` is two words on one character, as no real one is."""
    pieces, word = [], -1
    for found in re.finditer(r"Z[a-z]*|[a-z]{1,12}|\S", text):
        word += 1
        if found[0] == "&":
            pieces += [(found.start(), found.end(), word), (found.start(), found.end(), word + 1)]
            word += 1
        elif found[0] == "%":
            pieces += [(found.start(), found.end(), word)] * 20
        else:
            starts = range(found.start(), found.end(), 3)
            pieces += [(start, min(start + 3, found.end()), word) for start in starts]
    return pieces


def toy_count(text):
    """As if some words had more pieces alone than in the text."""
    return len(toy_pieces(text)) + 3 * text.count("xx")


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(
            [
                "a",
                "word",
                "xx",
                "xxyy",
                "&",
                "&",
                "&&",
                "%",
                "Z" + "y" * 90,
                ".",
                "?)",
                ".))))",
                ".)))))",
                " ",
                " ",
                "\n",
                "\n\n",
            ]
        ),
        min_size=60,
        max_size=300,
    ).map("".join)
)
def test_the_rule_on_a_tokeniser_that_is_odder_than_ours(text):
    found = toy_pieces(text)
    data = b"".join(struct.pack("<III", *piece) for piece in found)
    spans = [(span.start, span.end) for span in split(text, data, toy_count, limit=12, overlap=4)]
    assert spans == split_oracle.split(text, found, toy_count, 12, 4)
    covered = {at for start, end in spans for at in range(start, end)}
    assert all(at in covered for at, character in enumerate(text) if not character.isspace())


def test_at_most_four_closers_stand_between_a_stop_and_its_border(embedder):
    for closers, ends_there in [(0, True), (4, True), (5, False)]:
        start = "cat " * 140 + "dog." + ")" * closers
        first = embedder.split(start + " " + "cat " * 200).spans[0]
        assert (first.end == len(start)) is ends_there


def test_real_texts_against_the_oracle(embedder, reference):
    for text in [PROSE, LICENCE * 3, "\n".join(GLOSSES), "\n\n".join(GLOSSES), "\n".join(reference[0]), *GLOSSES[:20]]:
        spans = embedder.split(text).spans
        assert [(span.start, span.end) for span in spans] == split_oracle.split(
            text, pieces_of(embedder, text), counter(embedder), 254, 32
        )
        judge(embedder, text, spans)


def test_a_text_that_fits_is_one_span(embedder):
    assert embedder.split(" a cat\n") == Split(4, (Span(0, 7),))
    text = "cat " * 254
    assert embedder.split(text) == Split(256, (Span(0, len(text)),))
    assert len(embedder.split(text + "cat").spans) == 2


def test_a_cut_prefers_a_paragraph_to_a_sentence_to_a_line_to_a_blank(embedder):
    for better, worse in [("\n\n", ". "), (". ", "\n"), ("\n", " "), (" ", "/")]:
        filler = "cat/" * 35 if worse == "/" else "cat " * 70
        text = filler * 2 + "dog" + better + filler + "dog" + worse + filler * 3
        first = embedder.split(text).spans[0]
        cut = len(filler) * 2 + 3
        assert first.end == cut + (better == ". "), (better, worse)


def test_lines_of_wrapped_prose_are_not_cut_in_the_middle_of_a_sentence(embedder):
    lines = re.sub(r"((?:\S+ ){9}\S+) ", r"\1\n", PROSE)
    spans = embedder.split(lines).spans
    assert all(lines[span.end - 1] == "." for span in spans)


def test_a_lone_surrogate_is_refused(embedder):
    with pytest.raises(BadRequest):
        embedder.split("\ud800" * 300)


def test_a_character_has_no_more_pieces_than_bytes(embedder):
    """So a text of 254 bytes is never long; those are all that a normal form makes longer."""
    changed = [chr(c) for c in range(0x110000) if len(unicodedata.normalize("NFD", chr(c)).lower()) > 1]
    assert len(changed) > 10_000
    for character in changed:
        if not 0xD800 <= ord(character) < 0xE000:
            assert embedder.count_tokens(character) - 2 <= len(character.encode())


@pytest.mark.parametrize(
    "unit", ["!", "中", "a", "ab,", "국 ", ". ) ", "a \u0301", " \n", "中文。", PROSE], ids=lambda unit: ascii(unit[:4])
)
def test_a_megabyte_of_anything_is_cut_in_seconds(embedder, unit):
    text = (unit * (1_000_000 // len(unit.encode()) + 1)).encode()[:1_000_000].decode(errors="ignore")
    start = time.process_time()
    embedder.split(text[: len(text) // 4])
    quarter = time.process_time() - start
    found = embedder.split(text)
    # On a slow machine too: what takes its square would take sixteen times as long.
    assert time.process_time() - start - quarter < 10 * quarter + 1
    assert len(found.spans) == 1 or len(found.spans) > found.tokens // 254
    for span in found.spans[:3] + found.spans[-3:]:
        assert len(found.spans) == 1 or embedder.count_tokens(text[span.start : span.end]) <= 256
    assert found.spans[0].start == 0
