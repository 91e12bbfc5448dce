"""The one entry: whatever a caller gave, as a tree."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from engram.errors import BadRequest
from engram.filter._ast import Filter, kind
from engram.filter._json import from_json, from_json_text
from engram.filter._text import from_text


def parse(spec: str | dict[str, Any] | Filter | None) -> Filter | None:
    """Give the tree of a filter in either spelling; None, `{}` and blank text are None, which matches everything.

    A string whose first character is `{` is the JSON spelling as text. A Filter is valid by its making, and is given
    back. Raises `BadRequest` for what is malformed and `TooLarge` beyond a limit, both with field "filter".
    """
    if spec is None or isinstance(spec, Filter):
        return spec
    if isinstance(spec, dict):
        return from_json(spec)
    if isinstance(spec, str):
        return _of_text(spec) if len(spec) > _REMEMBERED_LENGTH else _remembered(spec)
    raise BadRequest(f"filter: needs a string or an object, found {kind(spec)}", field="filter")


def _of_text(spec: str) -> Filter | None:
    return from_json_text(spec) if spec.lstrip(" \t\r\n").startswith("{") else from_text(spec)


_REMEMBERED_LENGTH = 4096
_remembered = lru_cache(maxsize=256)(_of_text)
"""A program asks the same filters again and again; a tree is valid for ever and never changes."""
