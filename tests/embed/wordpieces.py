"""The tokens of docs/embedding.md, in plain Python: an oracle of the native tokeniser, which shares no code with it.

Categories are those of Unicode 8.0.0, from `tests/data/unicode_8.json`. NFD and lower case are this Python's: the page
says why their version decides nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING

import golden

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
WHITE_SPACE = {0x09, 0x0A, 0x0D, 0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
CJK = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip
LONGEST_WORD = 100


def code_points(category: str) -> set[int]:
    """Give the code points of a category (or of all that begin with P) of Unicode 8.0.0."""
    ranges = (one.partition("-") for one in golden.load("unicode_8")[category].split())
    return {point for first, _, last in ranges for point in range(int(first, 16), int(last or first, 16) + 1)}


REMOVED = ({0, 0xFFFD} | code_points("Cc") | code_points("Cf") | code_points("Co")) - {0x09, 0x0A, 0x0D}
MARKS = code_points("Mn")
PUNCTUATION = code_points("P") | set(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


class WordPieces:
    """The tokeniser of a `tokenizer.json`."""

    def __init__(self, file: Path) -> None:
        self.vocabulary: dict[str, int] = json.loads(file.read_text("utf-8"))["model"]["vocab"]
        self.spelling = {number: piece for piece, number in self.vocabulary.items()}

    def ids(self, text: str) -> list[int]:
        """Give the ids of `text`, [CLS] first and [SEP] last."""
        parts = re.split(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])", text)
        found = [SPECIAL["[CLS]"]]
        for number, part in enumerate(parts):
            found += [SPECIAL[part]] if number % 2 else self.ids_between(part)
        return [*found, SPECIAL["[SEP]"]]

    def ids_between(self, text: str) -> list[int]:
        """Give the ids of a text in which special tokens are not looked for."""
        return [number for word in words(text) for number in self.pieces(word)]

    def pieces(self, word: str) -> list[int]:
        """Cut a word into the longest pieces from the left, or give [UNK] for the whole."""
        found: list[int] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            prefix = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self.vocabulary)
            if (end := next(ends, None)) is None:
                return [SPECIAL["[UNK]"]]
            found.append(self.vocabulary[prefix + word[start:end]])
            start = end
        return found or [SPECIAL["[UNK]"]]

    def spelt(self, ids: list[int]) -> str:
        """Write ids, without the first and the last, so that they are read again: words with spaces between."""
        return " ".join(self.spelling[number] for number in ids[1:-1]).replace(" ##", "")


def words(text: str) -> Iterator[str]:
    """Give the words of a text: runs without space, and each punctuation mark by itself."""
    for run in normal(text).split(" "):
        word = ""
        for char in run:
            if ord(char) not in PUNCTUATION:
                word += char
                continue
            yield from filter(None, (word, char))
            word = ""
        yield from filter(None, (word,))


def normal(text: str) -> str:
    """Clean, space CJK, strip accents, lower the case, in this order."""
    kept = "".join(char for char in text if ord(char) not in REMOVED)
    spaced = "".join(" " if ord(char) in WHITE_SPACE else f" {char} " if is_cjk(char) else char for char in kept)
    bare = "".join(char for char in unicodedata.normalize("NFD", spaced) if ord(char) not in MARKS)
    return "".join(char.lower() for char in bare)


def is_cjk(char: str) -> bool:
    """Tell whether a code point is among those that are words by themselves."""
    return any(first <= ord(char) <= last for first, last in CJK)
