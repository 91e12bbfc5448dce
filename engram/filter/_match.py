"""What a filter means: closures over a record's metadata.

Metadata is what a JSON decoder gives: str, int, float, bool, None, list, dict. `docs/filters.md` states the rules.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from engram.filter._ast import (
    EXACT_INT,
    AllOf,
    And,
    AnyOf,
    Between,
    Comparison,
    Contains,
    EndsWith,
    Eq,
    Exists,
    Filter,
    Gt,
    Gte,
    In,
    IsNull,
    Lt,
    Lte,
    Match,
    Ne,
    Nin,
    Not,
    Number,
    Or,
    Scalar,
    StartsWith,
)
from engram.filter._dates import DAY_S, instant, is_day
from engram.filter._words import words

Metadata = dict[str, Any]
Predicate = Callable[[Metadata], bool]
Test = Callable[[Any], bool]

_MISSING = object()
_ORDERS: dict[type[Comparison], Callable[[Any, Any], bool]] = {
    Gt: operator.gt,
    Gte: operator.ge,
    Lt: operator.lt,
    Lte: operator.le,
}


def matches(tree: Filter | None, metadata: Metadata) -> bool:
    """Tell whether one record's metadata matches; for many records `compile` the filter once."""
    return compile(tree)(metadata)


def compile(tree: Filter | None) -> Predicate:  # noqa: A001 - `filter.compile`, as in `re.compile`
    """Make the function that tells whether a record's metadata matches; it keeps no state and never raises."""
    match tree:
        case None:
            return lambda _: True
        case And(parts):
            return _every([compile(part) for part in parts])
        case Or(parts):
            return _some([compile(part) for part in parts])
        case Not(part):
            return _inverse(compile(part))
    assert isinstance(tree, Comparison)
    return _on_field(tree.field, value_test(tree))


def _every(tests: list[Predicate]) -> Predicate:
    def matched(metadata: Metadata) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would cost three times as much a row
            if not test(metadata):
                return False
        return True

    return matched


def _some(tests: list[Predicate]) -> Predicate:
    def matched(metadata: Metadata) -> bool:
        for test in tests:  # noqa: SIM110
            if test(metadata):
                return True
        return False

    return matched


def _inverse(test: Test) -> Test:
    return lambda value: not test(value)


def _on_field(field: str, test: Test) -> Predicate:
    if "." not in field:

        def direct(metadata: Metadata) -> bool:
            value = metadata.get(field, _MISSING)
            return value is not _MISSING and test(value)

        return direct

    def by_path(metadata: Metadata) -> bool:
        value = _find(metadata, field)
        return value is not _MISSING and test(value)

    return by_path


def _find(node: Metadata, path: str) -> Any:
    """Find what a name with dots stands for: the key of that exact name, else the longest that leads on into a map."""
    found = node.get(path, _MISSING)
    dot = path.rfind(".")
    while found is _MISSING and dot >= 0:
        inner = node.get(path[:dot])
        if type(inner) is dict:
            found = _find(inner, path[dot + 1 :])
        dot = path.rfind(".", 0, dot)
    return found


def value_test(tree: Comparison) -> Test:
    """Make the function that tells whether the value of its field, where there is one, passes a comparison."""
    match tree:
        case Eq(_, value):
            return _any_element(_one_of((value,)))
        case Ne(_, value):
            return _inverse(_any_element(_one_of((value,))))
        case In(_, values):
            return _any_element(_one_of(values))
        case Nin(_, values):
            return _inverse(_any_element(_one_of(values)))
        case Gt(_, value) | Gte(_, value) | Lt(_, value) | Lte(_, value):
            return _ordered(_ORDERS[type(tree)], value)
        case Exists():
            return lambda _: True
        case IsNull(_, null):
            return lambda value: (value is None) is null
        case Contains(_, value):
            return _contains(value)
        case AnyOf(_, values):
            return _holds_any(values)
        case AllOf(_, values):
            return _holds_all(values)
        case StartsWith():
            return lambda text: type(text) is str and text.startswith(tree.value)
        case EndsWith():
            return lambda text: type(text) is str and text.endswith(tree.value)
        case Match(_, value):
            return _matched(words(value))
        case Between(_, low, high):
            return _between(low, high)
    raise AssertionError(tree)


def _one_of(values: tuple[Scalar, ...]) -> Test:
    """Test a value for equality with one of several: types apart, all numbers as doubles."""
    strings = frozenset(value for value in values if isinstance(value, str))
    numbers = frozenset(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    others = tuple(value for value in values if value is None or isinstance(value, bool))

    def equal(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return value in strings
        if kind is int or kind is float:
            return (value if -EXACT_INT < value < EXACT_INT else _double(value)) in numbers
        return any(value is other for other in others)

    return equal


def _any_element(test: Test) -> Test:
    def matched(value: Any) -> bool:
        return any(map(test, value)) if type(value) is list else test(value)

    return matched


def _ordered(order: Callable[[Any, Any], bool], bound: Number | str) -> Test:
    if isinstance(bound, str):
        return lambda value: type(value) is str and order(value, bound)

    def matched(value: Any) -> bool:
        kind = type(value)
        if kind is not int and kind is not float:
            return False
        return order(value if -EXACT_INT < value < EXACT_INT else _double(value), bound)

    return matched


def _contains(value: Scalar) -> Test:
    equal = _one_of((value,))

    def matched(held: Any) -> bool:
        if type(held) is list:
            return any(map(equal, held))
        return type(held) is str and isinstance(value, str) and value in held

    return matched


def _holds_any(values: tuple[Scalar, ...]) -> Test:
    equal = _one_of(values)
    return lambda held: type(held) is list and any(map(equal, held))


def _holds_all(values: tuple[Scalar, ...]) -> Test:
    tests = [_one_of((value,)) for value in values]
    return lambda held: type(held) is list and all(any(map(test, held)) for test in tests)


def _matched(wanted: frozenset[str]) -> Test:
    def matched(text: Any) -> bool:
        if type(text) is not str:
            return False
        folded = text.casefold()
        return all(word in folded for word in wanted) and wanted <= words(text)  # the cheap half first

    return matched


def _between(low: Number | str | None, high: Number | str | None) -> Test:
    start = _bound(low, float("-inf"))
    end = _bound(high, float("inf"))
    whole_day = isinstance(high, str) and is_day(high)

    def matched(value: Any) -> bool:
        kind = type(value)
        at = instant(value) if kind is str else _double(value) if kind is int or kind is float else None
        if at is None or at < start:
            return False
        return at < end + DAY_S if whole_day else at <= end

    return matched


def _bound(value: Number | str | None, open_end: float) -> float:
    at = instant(value) if isinstance(value, str) else value
    return open_end if at is None else float(at)


def _double(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:  # no number that a record can hold
        return float("nan")
