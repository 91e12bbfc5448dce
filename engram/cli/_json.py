"""JSON in and out: what a user typed read strictly, what the node answered written safely. Pure."""

from __future__ import annotations

import json
import math
from array import array
from typing import TYPE_CHECKING, Any, NoReturn

from engram.cli._text import UNSAFE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

_EXCERPT = 60


class NotJson(ValueError):
    """The text is not the JSON that was asked for; the message says where and why, over several lines."""


def read_object(text: str, name: str) -> dict[str, Any]:
    """Read one JSON object; `name` is what errors call it.

    Refused, as the node would: duplicate keys, NaN and infinities, numbers that no double holds, lone surrogates.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _object(pairs, name),
            parse_constant=lambda word: _refuse_constant(word, name),
            parse_float=lambda digits: _float(digits, name),
            parse_int=lambda digits: _integer(digits, name),
        )
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise NotJson(_syntax(error, name)) from None
    except UnicodeEncodeError:
        raise NotJson(f"{name} has a lone surrogate, which no UTF-8 text can hold") from None
    except RecursionError:
        raise NotJson(f"{name} is nested too deeply") from None
    if not isinstance(value, dict):
        raise NotJson(f'{name} must be a JSON object such as {{"source": "notes"}}; it is {_kind(value)}')
    return value


def write(value: Any, *, indent: int | None = 2) -> str:
    r"""Write JSON for people and programs: letters of every script as they are, control characters as `\u….`."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return UNSAFE.sub(lambda found: found.group() if found.group() == "\n" else json.dumps(found.group())[1:-1], text)


def write_line(value: Any) -> str:
    """Write JSON on one line, several times as fast as `write`: for output that has millions of them."""
    import msgspec

    text = msgspec.json.encode(value).decode()
    return UNSAFE.sub(lambda found: json.dumps(found.group())[1:-1], text)


def fields(answer: msgspec.Struct) -> dict[str, Any]:
    """Give every field of an answer by name, absent ones as null, so that a program finds the same keys each time.

    An answer within it is given so too.
    """
    return {name: _plain(getattr(answer, name)) for name in answer.__struct_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return fields(value) if hasattr(value, "__struct_fields__") else value


def numbers(vector: bytes) -> list[float]:
    """Give the numbers of a vector that came as bytes of little-endian float32."""
    values = array("f", vector)
    if array("H", [1]).tobytes() == b"\x00\x01":
        values.byteswap()
    return values.tolist()


def _object(pairs: Sequence[tuple[str, Any]], name: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise NotJson(f"{name} has the key {json.dumps(key)} twice in one object; keep one")
        result[key] = value
    return result


def _refuse_constant(word: str, name: str) -> NoReturn:
    raise NotJson(f"{name} has {word}, which is not JSON")


def _float(digits: str, name: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson(f"{name} has the number {digits[:_EXCERPT]}, which is over what a double holds")
    return number


def _integer(digits: str, name: str) -> int | float:
    number = _float(digits, name)
    if -(2**63) <= number < 2**63:
        return int(digits)
    if int(number) != int(digits):
        raise NotJson(f"{name} has the integer {digits[:_EXCERPT]}, which no double equals; give it as a string")
    return number


def _syntax(error: json.JSONDecodeError, name: str) -> str:
    line = error.doc.split("\n")[error.lineno - 1]
    start = max(0, error.colno - 1 - _EXCERPT // 2)
    excerpt = line[start : start + _EXCERPT].replace("\t", " ")
    where = f"character {error.colno}" if "\n" not in error.doc else f"line {error.lineno}, character {error.colno}"
    what = error.msg.removesuffix(" at")
    return f"{name} is not JSON: {what}, at {where}\n  {excerpt}\n  {' ' * (error.colno - 1 - start)}^"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return kinds[type(value)]
