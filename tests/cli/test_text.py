"""Texts, numbers and JSON for people."""

from __future__ import annotations

import json
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.cli._json import NotJson, numbers, read_object, write
from engram.cli._text import duration, one_line, plural, printable, short_cid, size, whole_name

ACTING = {"Cc", "Cs", "Zl", "Zp"}
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def acts(character):
    return unicodedata.category(character) in ACTING or unicodedata.bidirectional(character) in TURNING


def test_no_character_that_acts_on_a_terminal_passes():
    for code in range(0x110000):
        character = chr(code)
        if acts(character):
            assert printable(character) != character
            assert printable(character).isascii()


def test_letters_marks_symbols_and_joiners_pass():
    text = "Grüße, 日本語, नमस्ते, سلام, 👩\u200d🚀, \u2066"[:-1] + "‌"
    assert printable(text) == text


def test_escapes_say_which_character_it_was():
    assert printable("\x1b[2J\t\r\n\x85\u202e\U000e0001\ud800") == (
        r"\x1b[2J\t\r\n\x85\u202e\U000e0001\ud800"
    )  # fmt: skip


def test_multiline_keeps_lines_and_tabs_and_nothing_else():
    assert printable("a\r\n\tb\x0bc\x1b", multiline=True) == "a\n\tb\nc\\x1b"


def test_a_name_is_shown_as_it_has_to_be_typed():
    assert whole_name(" a/b  c\n漢\x1b", 40) == r" a/b  c\n漢\x1b"
    assert whole_name("x" * 40, 40) == "x" * 40
    assert whole_name("x" * 41, 40) == "x" * 39 + "…"
    assert whole_name("\n" * 40, 40) == r"\n" * 19 + "\\…"


@given(st.text())
def test_printable_never_acts(text):
    assert not any(map(acts, printable(text)))
    assert not any(map(acts, one_line(text)))
    assert not any(map(acts, printable(text, multiline=True).replace("\n", "").replace("\t", "")))


@given(st.text(), st.integers(1, 50))
def test_one_line_keeps_its_limit(text, limit):
    assert len(one_line(text, limit)) <= limit


def test_one_line_cuts_with_an_ellipsis():
    assert one_line("a  b\n\nc", 10) == "a b c"
    assert one_line("abcdef ghi", 8) == "abcdef…"


def test_sizes_times_and_counts():
    assert [size(n) for n in (0, 1023, 1024, 90868376, 2**40)] == ["0 B", "1023 B", "1.0 KiB", "86.7 MiB", "1.0 TiB"]
    times = [duration(t) for t in (0.0031, 0.5, 4.25, 59.99, 310, 7380, 4 * 86400 + 7 * 3600)]
    assert times == ["3.1 ms", "500 ms", "4.2 s", "60.0 s", "5 min 10 s", "2 h 3 min", "4 d 7 h"]
    assert [plural(1, "line"), plural(4980, "line")] == ["1 line", "4,980 lines"]


def test_a_short_cid_keeps_its_kind():
    assert short_cid("v1::" + "ab" * 32) == "v1::abababababab…"
    assert short_cid("odd") == "odd"


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON))
def test_what_is_written_reads_back_the_same(value):
    for indent in (None, 2):
        text = write(value, indent=indent)
        assert json.loads(text) == value
        assert not any(map(acts, text.replace("\n", "")))
        assert read_object(text, "it") == value


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(NotJson):
        assert isinstance(read_object(text, "it"), dict)


def test_the_caret_stands_under_the_mistake_in_a_long_line():
    text = '{"' + "k" * 200 + '": oops}'
    with pytest.raises(NotJson) as caught:
        read_object(text, "--meta")
    _, excerpt, caret = str(caught.value).split("\n")
    assert excerpt[caret.index("^")] == "o"


def test_numbers_reads_little_endian_floats():
    assert numbers(b"\x00\x00\x00\x3f\x00\x00\x80\xbe") == [0.5, -0.25]
