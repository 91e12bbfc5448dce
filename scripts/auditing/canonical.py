"""Canonical JSON (RFC 8785), as metadata and patches must be. Formats §1."""

from __future__ import annotations

import json
import math
from typing import Any

from auditing.framing import Wrong

DEPTH, KEY_BYTES = 16, 256


def check_canonical(data: bytes) -> None:
    """Check that bytes are the canonical JSON (RFC 8785) of a map, by the rules of §1."""
    try:
        value = json.loads(
            data.decode(), parse_int=float, parse_float=float, parse_constant=_refuse, object_pairs_hook=_distinct
        )
        right = isinstance(value, dict) and _canonical(value, 1).encode() == data
    except (ValueError, OverflowError, RecursionError):
        right = False
    if not right:
        raise Wrong("JSON that is not its own canonical form")


def _refuse(name: str) -> None:
    raise ValueError(name)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs) or any(len(key.encode()) > KEY_BYTES for key, _ in pairs):
        raise ValueError(pairs)
    return dict(pairs)


def _canonical(value: Any, depth: int) -> str:
    if isinstance(value, dict | list) and depth > DEPTH:
        raise ValueError(depth)
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_quoted(key)}:{_canonical(value[key], depth + 1)}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_canonical(item, depth + 1) for item in value) + "]"
    return _number(value) if isinstance(value, float) else _quoted(value)


def _quoted(value: str | bool | None) -> str:  # noqa: FBT001
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """Print a number as ECMAScript does: the shortest digits, exponents below 1e-6 and from 1e21."""
    if not math.isfinite(value):
        raise ValueError(value)
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0").rstrip("0")
    if not digits:
        return "0"
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len((whole + fraction).lstrip("0")))
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1:+d}"
    return "-" + text if value < 0 else text
