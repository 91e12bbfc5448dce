"""The JSON spelling: an object, or its text, to a tree; `docs/filters.md` has the table.

A key that begins with `$` is an operator; a field whose own name begins with `$` is written with one `$` more.
"""

from __future__ import annotations

import difflib
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from engram.errors import BadRequest, TooLarge
from engram.filter._ast import (
    COMPARISONS,
    MAX_LIST_VALUES,
    AllOf,
    And,
    AnyOf,
    Between,
    Comparison,
    Eq,
    Exists,
    Filter,
    In,
    Nin,
    Not,
    Or,
    bound,
    field_name,
    kind,
    scalar,
)
from engram.filter._errors import printable, refuse_at, shown
from engram.filter._text import BARE_NAME, check_text, whole_number
from engram.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

Made = TypeVar("Made")

_GROUPS = ("$and", "$or", "$not")
_LISTS = (In, Nin, AnyOf, AllOf)
_OPERATORS = {cls.sign: cls for cls in COMPARISONS}
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|([\[{])|([\]}])', re.DOTALL)
_MAX_NESTING = 2 * LIMITS.filter_depth + 4


def from_json(spec: dict[str, Any]) -> Filter | None:
    """Parse the JSON spelling; an empty object is None, which matches everything.

    Raises `BadRequest`, with the path to what is wrong, and `TooLarge` beyond a limit.
    """
    if not isinstance(spec, dict):
        _refuse("filter", f"needs an object, found {kind(spec)}")
    return _Reader().tree(spec, "filter", 1) if spec else None


def from_json_text(text: str) -> Filter | None:
    """Parse the JSON spelling from its text; a key that an object has twice is refused too."""
    check_text(text)
    nesting = 0
    for bracket in _BRACKET.finditer(text):
        nesting += (bracket[1] is not None) - (bracket[2] is not None)
        if nesting > _MAX_NESTING:  # json.loads is recursive
            raise refuse_at(text, bracket.start(), f"brackets are at most {_MAX_NESTING} deep", TooLarge)
    try:
        spec = json.loads(text, object_pairs_hook=_object, parse_int=whole_number)
    except json.JSONDecodeError as error:
        raise refuse_at(text, error.pos, f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}", BadRequest) from None
    return from_json(spec)


class _Reader:
    def __init__(self) -> None:
        self.nodes = 0

    def tree(self, spec: object, path: str, depth: int) -> Filter:
        if not isinstance(spec, dict):
            _refuse(path, f"needs an object, found {kind(spec)}")
        if not spec:
            _refuse(path, "an empty object matches everything, and stands only alone")
        many = len(spec) > 1 or any(_is_operators(key, value) and len(value) > 1 for key, value in spec.items())
        if many:
            self._count(path, depth)
        parts = [part for key, value in spec.items() for part in self._entry(key, value, path, depth + many)]
        return _checked(path, lambda: And(tuple(parts))) if many else parts[0]

    def _entry(self, key: object, value: object, path: str, depth: int) -> Iterator[Filter]:
        name = _checked(path, lambda: field_name(key))
        if name in _GROUPS:
            yield self._group(name, value, f"{path}.{name}", depth)
            return
        if name.startswith("$") and not name.startswith("$$"):
            _unknown_outside(name, path)
        field, at = name.removeprefix("$"), _step(path, name)
        if not isinstance(value, dict):
            yield self._comparison(field, "$eq", value, at, depth)
            return
        if not value:
            _refuse(at, "needs an operator, found an empty object")
        for sign, operand in value.items():
            if sign not in _OPERATORS:
                _unknown_inside(sign, at, field)
            yield self._comparison(field, sign, operand, f"{at}.{sign}", depth)

    def _group(self, sign: str, value: object, path: str, depth: int) -> Filter:
        self._count(path, depth)
        if sign == "$not":
            part = self.tree(value, path, depth + 1)
            return _checked(path, lambda: Not(part))
        if not isinstance(value, list | tuple):
            _refuse(path, f"needs a list of filters, found {kind(value)}")
        if not value:
            _refuse(path, "needs at least one filter, found an empty list")
        parts = tuple(self.tree(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
        cls = And if sign == "$and" else Or
        return _checked(path, lambda: cls(parts)) if len(parts) > 1 else parts[0]

    def _comparison(self, field: str, sign: str, operand: object, path: str, depth: int) -> Filter:
        self._count(path, depth)
        cls = _OPERATORS[sign]
        if cls is Exists:
            if not isinstance(operand, bool):
                _refuse(path, f"needs true or false, found {kind(operand)}")
            there = _checked(path, lambda: Exists(field))
            return there if operand else _checked(path, lambda: Not(there))
        if cls is Between:
            if not isinstance(operand, list | tuple) or len(operand) != 2:
                count = f" of {len(operand)}" if isinstance(operand, list | tuple) else ""
                _refuse(path, f"needs a list of two bounds, found {kind(operand)}{count}")
            low, high = _each(bound, operand, path)
            return _checked(path, lambda: Between(field, low, high))
        if cls is Eq and isinstance(operand, list | tuple):
            _refuse(path, "needs one value, found a list; a list goes with $in, $any or $all")
        if cls in _LISTS and isinstance(operand, list | tuple) and len(operand) <= MAX_LIST_VALUES:
            operand = _each(scalar, operand, path)
        # Every other class is made from a field and one operand, which its constructor checks.
        make: Callable[[str, object], Comparison] = cls
        return _checked(path, lambda: make(field, operand))

    def _count(self, path: str, depth: int) -> None:
        if depth > LIMITS.filter_depth:
            _refuse(path, f"a filter is at most {LIMITS.filter_depth} levels deep", TooLarge)
        self.nodes += 1
        if self.nodes > LIMITS.filter_nodes:
            _refuse(path, f"a filter has at most {LIMITS.filter_nodes} nodes", TooLarge)


def _is_operators(key: object, value: object) -> bool:
    return isinstance(value, dict) and key not in _GROUPS


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            _refuse("filter", f"an object has the key {shown(key)} twice")
        result[key] = value
    return result


def _step(path: str, name: str) -> str:
    return f"{path}.{name}" if BARE_NAME.fullmatch(name.lstrip("$")) and len(name) <= 64 else f"{path}.{shown(name)}"


def _each(check: Callable[[object], Made], items: list[Any] | tuple[Any, ...], path: str) -> tuple[Made, ...]:
    return tuple(_checked(f"{path}[{index}]", partial(check, item)) for index, item in enumerate(items))


def _unknown_outside(sign: str, path: str) -> NoReturn:
    if sign in _OPERATORS:
        _refuse(path, f'{sign} stands inside a field\'s condition, as in {{"year": {{"{sign}": …}}}}')
    hint = "a field whose name begins with $ is written with one $ more"
    _unknown(sign, path, (*_GROUPS, *_OPERATORS), hint)


def _unknown_inside(sign: object, path: str, field: str) -> NoReturn:
    if not isinstance(sign, str):
        _refuse(path, f"an operator must be a string, found {kind(sign)}")
    if sign in _GROUPS:
        _refuse(path, f'{sign} stands around a field\'s condition, as in {{"{sign}": …}}, not inside it')
    if not sign.startswith("$"):
        nested = shown(f"{field}.{sign}")
        _refuse(path, f"needs operators, found the key {shown(sign)}; a field inside a map is named {nested}")
    _unknown(sign, path, _OPERATORS)


def _unknown(sign: str, path: str, known: Collection[str], hint: str = "") -> NoReturn:
    near = difflib.get_close_matches(sign[:32].lower(), known, 1, 0.7)
    guess = f"; did you mean {near[0]}?" if near else ""
    _refuse(path, f"unknown operator {shown(sign)}{guess} (known: {' '.join(known)}){'; ' if hint else ''}{hint}")


def _checked(path: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except (BadRequest, TooLarge) as error:
        _refuse(path, error.message, type(error))


def _refuse(path: str, problem: str, error: type[BadRequest | TooLarge] = BadRequest) -> NoReturn:
    raise error(f"{printable(path)}: {problem}", field="filter") from None
