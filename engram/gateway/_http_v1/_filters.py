"""The first Engram's filters: equal values, compared as their texts."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_LITERALS = {"True": True, "False": False}


def translated(filter_: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Give the filter of ours that matches what the first Engram's did.

    There `"2017"` matched the number 2017 and the text, and so does 2017; whatever else a field is compared with, such
    as `{"$gte": 2015}`, is a filter of ours as it stands.
    """
    return {name: _condition(value) for name, value in filter_.items()} if filter_ else None


def _condition(value: Any) -> Any:
    alike = _alike(value)
    return value if alike is None else {"$in": [value, alike]}


def _alike(value: Any) -> Any:
    """Give the value of another type that the first Engram took for the same; None for a value without one."""
    if isinstance(value, bool | int | float):
        return str(value)
    if not isinstance(value, str):
        return None
    if value in _LITERALS:
        return _LITERALS[value]
    number = float(value) if len(value) < 40 and _NUMBER.fullmatch(value) else math.nan
    return number if math.isfinite(number) else None
