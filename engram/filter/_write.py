"""The way back: a tree to either of its spellings."""

from __future__ import annotations

import json
from typing import Any

from engram.errors import TooLarge
from engram.filter._ast import MAX_TEXT_BYTES, And, Between, Comparison, Eq, Exists, Filter, IsNull, Not, Or, Scalar
from engram.filter._text import BARE_NAME, KEYWORDS


def to_json(tree: Filter | None) -> dict[str, Any]:
    """Write a filter in the JSON spelling, so that `from_json` gives it back; None is the empty object."""
    match tree:
        case None:
            return {}
        case Not(Exists(field)):
            return {_key(field): {"$exists": False}}
        case Not(part):
            return {"$not": to_json(part)}
        case Or(parts):
            return {"$or": [to_json(part) for part in parts]}
        case And(parts):
            return _merged(parts) or {"$and": [to_json(part) for part in parts]}
        case Eq(field, value):
            return {_key(field): value}
    assert isinstance(tree, Comparison)
    return {_key(tree.field): {tree.sign: _operand(tree)}}


def to_text(tree: Filter | None) -> str:
    """Write a filter in the string spelling, so that `from_text` gives it back; None is the empty string.

    Raises `TooLarge` if its quotes and escapes make it longer than that spelling may be.
    """
    text = "" if tree is None else _spell(tree)
    if (size := len(text.encode())) > MAX_TEXT_BYTES:
        problem = f"as text this filter has {size} bytes, at most {MAX_TEXT_BYTES} are read; use its JSON spelling"
        raise TooLarge(problem, field="filter")
    return text


def _merged(parts: tuple[Filter, ...]) -> dict[str, Any] | None:
    """Give one object for conditions on fields, if reading it gives the same conditions in the same order."""
    merged: dict[str, dict[str, Any]] = {}
    last = None
    for part in parts:
        match part:
            case Comparison():
                key, sign, operand = _key(part.field), part.sign, _operand(part)
            case Not(Exists(field)):
                key, sign, operand = _key(field), Exists.sign, False
            case _:
                return None
        if sign in merged.get(key, {}) or (key in merged and key != last):
            return None
        merged.setdefault(key, {})[sign] = operand
        last = key
    return {key: signs["$eq"] if list(signs) == ["$eq"] else signs for key, signs in merged.items()}


def _key(field: str) -> str:
    return f"${field}" if field.startswith("$") else field


def _operand(tree: Comparison) -> Any:
    match tree:
        case Exists():
            return True
        case IsNull(_, null):
            return null
        case Between(_, low, high):
            return [low, high]
    operand = getattr(tree, tree.__struct_fields__[1])
    return list(operand) if isinstance(operand, tuple) else operand


def _spell(tree: Filter) -> str:
    match tree:
        case And(parts):
            return " and ".join(map(_grouped, parts))
        case Or(parts):
            return " or ".join(map(_grouped, parts))
        case Not(part):
            return f"not {_grouped(part)}"
        case Exists(field):
            return f"exists({_name(field)})"
        case IsNull(field, null):
            return f"{_name(field)} is {'' if null else 'not '}null"
        case Between(field, low, high):
            return f"{_name(field)} between {_literal(low)} and {_literal(high)}"
    assert isinstance(tree, Comparison)
    operand = _operand(tree)
    spelt = f"[{', '.join(map(_literal, operand))}]" if isinstance(operand, list) else _literal(operand)
    return f"{_name(tree.field)} {tree.word} {spelt}"


def _grouped(tree: Filter) -> str:
    return f"({_spell(tree)})" if isinstance(tree, And | Or) else _spell(tree)


def _name(field: str) -> str:
    if field.isascii() and field.lower() not in KEYWORDS and BARE_NAME.fullmatch(field):
        return field
    return "`" + field.replace("`", "``") + "`"


def _literal(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)
