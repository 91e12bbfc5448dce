"""Words: what the text match compares."""

from __future__ import annotations

import re
import unicodedata

_ASCII_WORDS = re.compile(r"[a-z0-9]+")


def words(text: str) -> frozenset[str]:
    """Split case-folded text into its words: the longest runs of letters, marks and numbers (Unicode L, M, N)."""
    folded = text.casefold()
    if folded.isascii():
        return frozenset(_ASCII_WORDS.findall(folded))
    return frozenset("".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split(" ")) - {""}
