"""Errors of the string spelling: the place, what was found there, and a caret under it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engram.errors import BadRequest, TooLarge

_LEFT, _RIGHT = 60, 20
_SHOWN = 40


def refuse_at(text: str, at: int, problem: str, error: type[BadRequest | TooLarge]) -> BadRequest | TooLarge:
    """Make an error that points at character `at` of `text`: line and column from 1, the line, the caret."""
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    left, right = max(begin, at - _LEFT), min(end, at + _RIGHT)
    before = ("…" if left > begin else "") + printable(text[left:at])
    after = printable(text[at:right]) + ("…" if right < end else "")
    line = text.count("\n", 0, at) + 1
    place = f"line {line}, column {at - begin + 1}" if "\n" in text else f"column {at - begin + 1}"
    caret = " " * sum(map(_width, before)) + "^"
    return error(f"filter, {place}: {problem}\n  {before}{after}\n  {caret}", field="filter")


def shown(text: str) -> str:
    """Quote what was found, cut to a bearable length."""
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return f"`{printable(cut)}`"


def printable(text: str) -> str:
    """Give the text with a space for each blank and U+FFFD for every other character that cannot be shown."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
