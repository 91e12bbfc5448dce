"""Cut a long text into chunks at the borders of its paragraphs, sentences and words; `docs/long_text.md` has the rule.

The borders decide CIDs. So the rule is versioned (`SPLITTER`), and nothing here may change with a version of Python or
of Unicode: each set of characters is written out, by code point where it is not plain ASCII.
"""

from __future__ import annotations

import re
import sys
from array import array
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_PIECES = 254
"""Most word pieces of a chunk: with the two special tokens they are the model's 256.

A text of so many bytes of UTF-8 is never longer than that: a word piece has a character at least, and no character is
taken apart into more pieces than it has bytes.
"""

OVERLAP_PIECES = 32
"""Most word pieces that a chunk repeats of the one before it."""

PIECE_BYTES = 12
"""Bytes that tell where a word piece stands."""

_BLANKS = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_BREAK = r"(?:\r\n|\r(?!\n)|[\n\x0b\x0c\x85\u2028])"
_STOPS = (
    ".!?\u2026\u203c\u2047\u2048\u2049"  # Latin and its neighbours
    "\u0589\u05c3\u061f\u06d4\u0964\u0965"  # Armenian, Hebrew, Arabic, Urdu, the scripts of India
    "\u0f0d\u0f0e\u104b\u1362\u1367\u1368\u17d4\u17d5\u1803\u1809"  # Tibetan, Burmese, Ethiopic, Khmer, Mongolian
)
_FULL_STOPS = "\u3002\uff01\uff0e\uff1f\uff61"
"""Sentence ends of scripts that put no space after them."""
_CLOSERS = (
    "\"')*]_}\xab\xbb\u2018\u2019\u201c\u201d\u2039\u203a\u3009\u300b\u300d\u300f\u3011\u3015\u3017\u3019\u301b\u301e"
    "\u301f\ufe42\ufe44\uff02\uff07\uff09\uff3d\uff5d\uff60\uff63"
)
_CLOSERS_SEEN = 4

_BLANK = re.compile(f"[{_BLANKS}]")
_LINE_END = re.compile(_BREAK)
_PARAGRAPH_END = re.compile(rf"\u2029|{_BREAK}[{_BLANKS}]*?{_BREAK}")
_ENDED = re.compile(rf"[{re.escape(_STOPS + _FULL_STOPS)}][{re.escape(_CLOSERS)}]{{0,{_CLOSERS_SEEN}}}\Z")
_FULLY_ENDED = re.compile(rf"[{_FULL_STOPS}][{re.escape(_CLOSERS)}]{{0,{_CLOSERS_SEEN}}}\Z")
_GOES_ON = frozenset(_STOPS + _FULL_STOPS + _CLOSERS)

_WORD, _SPACE, _LINE, _SENTENCE, _PARAGRAPH = range(5)


class Span(msgspec.Struct, frozen=True):
    """A part of a text: the code points `start` to `end`, the latter not included."""

    start: int
    end: int


class Split(msgspec.Struct, frozen=True):
    """What a text is cut into: one span, all of it, where one record holds it. `tokens`: of the whole text."""

    tokens: int
    spans: tuple[Span, ...]


def split(
    text: str,
    pieces: bytes,
    count: Callable[[str], int],
    *,
    limit: int = CHUNK_PIECES,
    overlap: int = OVERLAP_PIECES,
) -> tuple[Span, ...]:
    """Cut a text into spans of at most `limit` word pieces, each beginning up to `overlap` of them before the last end.

    `pieces` holds three little-endian u32 a word piece: start and end in code points, and the number of its word.
    `count` counts the pieces of a chunk that stands alone. A text that fits is one span, all of it.
    """
    found = _Pieces(text, pieces)
    if len(found) <= limit:
        return (Span(0, len(text)),)
    spans = []
    first = end = 0
    while end < len(found):
        end = _end(found, first, limit)
        span = found.span(first, end)
        while count(text[span.start : span.end]) > limit and (cuts := found.borders(first + 1, end)):
            end = max(cuts)
            span = found.span(first, end)
        spans.append(span)
        first = _next(found, max(first + 1, end - overlap), end)
    return tuple(spans)


def _end(found: _Pieces, first: int, limit: int) -> int:
    """Choose the end of the chunk that begins at `first`: the last border of the highest kind in its second half."""
    if len(found) - first <= limit:
        return len(found)
    cuts = found.borders(first + 1, first + limit + 1)
    return max(cuts, key=lambda cut: (cut - first > limit // 2, cuts[cut], cut))


def _next(found: _Pieces, least: int, end: int) -> int:
    """Choose where the next chunk begins: at the earliest border of the highest kind, a paragraph's as a sentence's."""
    cuts = found.borders(least, end)
    return min(cuts, key=lambda cut: (-min(cuts[cut], _SENTENCE), cut), default=end)


class _Pieces:
    """The word pieces of a text, and what kind of border stands before each."""

    def __init__(self, text: str, pieces: bytes) -> None:
        numbers = array("I", pieces)
        if sys.byteorder == "big":
            numbers.byteswap()
        self._text = text
        self._starts, self._ends, self._words = numbers[0::3], numbers[1::3], numbers[2::3]

    def __len__(self) -> int:
        return len(self._starts)

    def span(self, first: int, end: int) -> Span:
        """Give the characters of the pieces `first` to `end`, with what stands between them and after the last."""
        start = self._starts[first] if first else 0
        chunk = self._text[start : self._starts[end] if end < len(self) else len(self._text)]
        inner = chunk.lstrip(_BLANKS)
        start += len(chunk) - len(inner)
        return Span(start, start + len(inner.rstrip(_BLANKS)))

    def borders(self, least: int, end: int) -> dict[int, int]:
        """Give the pieces from `least` to before `end` that a cut may stand before, and each one's kind of border."""
        return dict(self._borders(least, min(end, len(self))))

    def _borders(self, least: int, end: int) -> Iterator[tuple[int, int]]:
        for piece in range(least, end):
            before, start = self._ends[piece - 1], self._starts[piece]
            if self._words[piece] != self._words[piece - 1] and before <= start:
                yield piece, self._kind(before, start)

    def _kind(self, before: int, start: int) -> int:
        gap = self._text[before:start]
        said = self._text[max(0, before - _CLOSERS_SEEN - 1) : before]
        if not _BLANK.search(gap):
            ended = _FULLY_ENDED.search(said) and self._text[start] not in _GOES_ON
            return _SENTENCE if ended else _WORD
        if _PARAGRAPH_END.search(gap):
            return _PARAGRAPH
        if _ENDED.search(said):
            return _SENTENCE
        return _LINE if _LINE_END.search(gap) else _SPACE
