"""The filter's tree: frozen Structs that check themselves, so a Filter that exists is valid and within the limits.

Every constructor raises `BadRequest` for a value that no filter may hold and `TooLarge` beyond a limit. Numbers are
doubles, as in metadata: a whole one below 2^53 is kept as int, every other as float, so 1 and 1.0 are one filter,
and neither is the filter for `true`.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec.structs import force_setattr

from engram.errors import BadRequest, TooLarge
from engram.filter._dates import instant
from engram.filter._words import words
from engram.limits import LIMITS

Number = int | float
Scalar = str | int | float | bool | None

EXACT_INT = 2**53
"""Below it every whole number is a double of its own."""

MAX_TEXT_BYTES = 64 * 1024
"""The string spelling; and the names and strings of one filter together, in UTF-8."""

MAX_LIST_VALUES = 1000
"""The values in all lists of one filter together."""

MAX_DOTS = 32
"""The dots in one field name: each is a place where the look-up may descend."""


class Filter(msgspec.Struct, frozen=True, eq=False):
    """A condition on a record's metadata. Equal filters are equal Structs, with `true` told from 1."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return hash(_identity(self))


class And(Filter, frozen=True):
    """Match where every one of two or more parts does."""

    sign: ClassVar[str] = "$and"

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        force_setattr(self, "parts", _parts(self.parts))
        check_limits(self)


class Or(Filter, frozen=True):
    """Match where at least one of two or more parts does."""

    sign: ClassVar[str] = "$or"

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        force_setattr(self, "parts", _parts(self.parts))
        check_limits(self)


class Not(Filter, frozen=True):
    """Match where the part does not, a missing field included."""

    sign: ClassVar[str] = "$not"

    part: Filter

    def __post_init__(self) -> None:
        if not isinstance(self.part, Filter):
            raise BadRequest(f"needs a filter, found {kind(self.part)}", field="filter")
        check_limits(self)


class Comparison(Filter, frozen=True):
    """A condition on one field. `sign` is its operator in JSON, `word` in text."""

    sign: ClassVar[str] = ""
    word: ClassVar[str] = ""

    field: str

    def __post_init__(self) -> None:
        force_setattr(self, "field", field_name(self.field))


class _OfScalar(Comparison, frozen=True):
    value: Scalar

    def __post_init__(self) -> None:
        super().__post_init__()
        force_setattr(self, "value", scalar(self.value))
        check_limits(self)


class _OfOrdered(Comparison, frozen=True):
    value: Number | str

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | str):
            raise BadRequest(f"ordering needs a number or a string, found {kind(self.value)}", field="filter")
        force_setattr(self, "value", scalar(self.value))
        check_limits(self)


class _OfList(Comparison, frozen=True):
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.values, list | tuple):
            raise BadRequest(f"needs a list of values, found {kind(self.values)}", field="filter")
        if len(self.values) > MAX_LIST_VALUES:  # before looking at each
            raise _over("values in its lists", MAX_LIST_VALUES, len(self.values))
        force_setattr(self, "values", tuple(scalar(value) for value in self.values))
        check_limits(self)


class _OfString(Comparison, frozen=True):
    value: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.value, str):
            raise BadRequest(f"needs a string, found {kind(self.value)}", field="filter")
        force_setattr(self, "value", scalar(self.value))
        check_limits(self)


class Eq(_OfScalar, frozen=True):
    """Match where the value, or any element of a list, equals this one."""

    sign: ClassVar[str] = "$eq"
    word: ClassVar[str] = "="


class Ne(_OfScalar, frozen=True):
    """Match where the field is there and `Eq` does not match."""

    sign: ClassVar[str] = "$ne"
    word: ClassVar[str] = "!="


class Gt(_OfOrdered, frozen=True):
    """Match a number greater than a number, a string after a string."""

    sign: ClassVar[str] = "$gt"
    word: ClassVar[str] = ">"


class Gte(_OfOrdered, frozen=True):
    """Match a number not less than a number, a string not before a string."""

    sign: ClassVar[str] = "$gte"
    word: ClassVar[str] = ">="


class Lt(_OfOrdered, frozen=True):
    """Match a number less than a number, a string before a string."""

    sign: ClassVar[str] = "$lt"
    word: ClassVar[str] = "<"


class Lte(_OfOrdered, frozen=True):
    """Match a number not greater than a number, a string not after a string."""

    sign: ClassVar[str] = "$lte"
    word: ClassVar[str] = "<="


class In(_OfList, frozen=True):
    """Match where the value, or any element of a list, equals one of these."""

    sign: ClassVar[str] = "$in"
    word: ClassVar[str] = "in"


class Nin(_OfList, frozen=True):
    """Match where the field is there and `In` does not match."""

    sign: ClassVar[str] = "$nin"
    word: ClassVar[str] = "not in"


class Contains(_OfScalar, frozen=True):
    """Match a list with an element that equals the value, or a string with the string within it."""

    sign: ClassVar[str] = "$contains"
    word: ClassVar[str] = "contains"


class AnyOf(_OfList, frozen=True):
    """Match a list that holds at least one of these values."""

    sign: ClassVar[str] = "$any"
    word: ClassVar[str] = "any"


class AllOf(_OfList, frozen=True):
    """Match a list that holds every one of these values."""

    sign: ClassVar[str] = "$all"
    word: ClassVar[str] = "all"


class StartsWith(_OfString, frozen=True):
    """Match a string that begins with this one, case and all."""

    sign: ClassVar[str] = "$starts_with"
    word: ClassVar[str] = "starts_with"


class EndsWith(_OfString, frozen=True):
    """Match a string that ends with this one, case and all."""

    sign: ClassVar[str] = "$ends_with"
    word: ClassVar[str] = "ends_with"


class Match(_OfString, frozen=True):
    """Match a string in which every word of this one stands, in any order and case."""

    sign: ClassVar[str] = "$match"
    word: ClassVar[str] = "match"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not words(self.value):
            raise BadRequest("needs at least one word (letters or numbers), found none", field="filter")


class Exists(Comparison, frozen=True):
    """Match where the field is there, be it null."""

    sign: ClassVar[str] = "$exists"
    word: ClassVar[str] = "exists"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits(self)


class IsNull(Comparison, frozen=True):
    """Match where the field is there and null; with `null=False`, where it is there and not null."""

    sign: ClassVar[str] = "$is_null"
    word: ClassVar[str] = "is null"

    null: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.null, bool):
            raise BadRequest(f"needs true or false, found {kind(self.null)}", field="filter")
        check_limits(self)


class Between(Comparison, frozen=True):
    """Match an instant from `low` to `high`, both included; None leaves a side open, a date as `high` is its whole day.

    An instant is a number (seconds since 1970 UTC) or an ISO 8601 string, in the filter as in the metadata.
    """

    sign: ClassVar[str] = "$between"
    word: ClassVar[str] = "between"

    low: Number | str | None
    high: Number | str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in ("low", "high"):
            force_setattr(self, side, bound(getattr(self, side)))
        if self.low is None and self.high is None:
            raise BadRequest("needs at least one bound, found null and null", field="filter")
        check_limits(self)


COMPARISONS: tuple[type[Comparison], ...] = (
    Eq, Ne, Gt, Gte, Lt, Lte, In, Nin, Exists, IsNull, Contains, AnyOf, AllOf, StartsWith, EndsWith, Match, Between,
)  # fmt: skip


def scalar(value: object) -> Scalar:
    """Give a literal in its one form; raise `BadRequest` if it is none: a list, NaN, a lone surrogate."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return _number(value)
    raise BadRequest(f"needs a string, a number, true, false or null, found {kind(value)}", field="filter")


def field_name(name: object) -> str:
    """Give a field's name; raise `BadRequest` if it cannot be one, `TooLarge` if it has too many dots."""
    if not isinstance(name, str):
        raise BadRequest(f"a field's name must be a string, found {kind(name)}", field="filter")
    if (dots := name.count(".")) > MAX_DOTS:
        raise TooLarge(f"a field's name has at most {MAX_DOTS} dots, this one has {dots}", field="filter")
    return _text(name)


def bound(value: object) -> Number | str | None:
    """Give a bound of `Between` in its one form; raise `BadRequest` if it is no instant and not None."""
    if isinstance(value, str):
        if instant(value) is None:
            raise BadRequest(
                'a bound is a number, null, or an ISO 8601 date or time such as "2020-01-31" or '
                '"2020-01-31T12:00:00Z"; this string is none',
                field="filter",
            )
        return _text(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"a bound is a number, an ISO 8601 string or null, found {kind(value)}", field="filter")
    return _number(value)


def kind(value: object) -> str:
    """Say what a value is, in JSON's words, for an error."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    for types, noun in (((int, float), "a number"), (str, "a string"), ((list, tuple), "a list"), (dict, "an object")):
        if isinstance(value, types):
            return noun
    return f"a value of type {type(value).__name__}"


def check_limits(tree: Filter) -> None:
    """Raise `TooLarge` if a tree is too deep, has too many nodes or list values, or too much text."""
    depth, nodes, values, text_bytes = _measure(tree)
    for what, limit, came in (
        ("levels", LIMITS.filter_depth, depth),
        ("nodes", LIMITS.filter_nodes, nodes),
        ("values in its lists", MAX_LIST_VALUES, values),
        ("bytes of names and strings", MAX_TEXT_BYTES, text_bytes),
    ):
        if came > limit:
            raise _over(what, limit, came)


def _over(what: str, limit: int, came: int) -> TooLarge:
    return TooLarge(f"a filter has at most {limit} {what}, this one has {came}", field="filter")


def _measure(tree: Filter) -> tuple[int, int, int, int]:
    # Recursion is safe: the parts were measured when they were made, so none is deeper than the limit.
    if isinstance(tree, And | Or | Not):
        below = [_measure(part) for part in (tree.parts if isinstance(tree, And | Or) else (tree.part,))]
        nodes, values, text_bytes = (sum(column) for column in list(zip(*below, strict=True))[1:])
        return 1 + max(depth for depth, *_ in below), 1 + nodes, values, text_bytes
    held = [getattr(tree, name) for name in tree.__struct_fields__]
    listed = tree.values if isinstance(tree, _OfList) else ()
    return 1, 1, len(listed), sum(len(item.encode()) for item in (*held, *listed) if isinstance(item, str))


def _parts(parts: object) -> tuple[Filter, ...]:
    if not isinstance(parts, list | tuple) or len(parts) < 2:
        raise BadRequest("needs two filters or more", field="filter")
    for part in parts:
        if not isinstance(part, Filter):
            raise BadRequest(f"needs filters, found {kind(part)}", field="filter")
    return tuple(parts)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"a lone surrogate at character {error.start} of a string", field="filter") from None
    return str.__str__(value)


def _number(value: Number) -> Number:
    try:
        double = float(value)
    except OverflowError:
        raise BadRequest("a number beyond the range of a double", field="filter") from None
    if double - double != 0:
        raise BadRequest(f"a number must be finite, found {double}", field="filter")
    if isinstance(value, int) and value not in (int(double), _as_printed(double)):
        # The rule of metadata, so that a filter never matches a neighbour of the number that was meant.
        raise BadRequest(f"no double equals the whole number {value}; nearest is {int(double)}", field="filter")
    return int(double) if double.is_integer() and abs(double) < EXACT_INT else double


def _as_printed(double: float) -> int | None:
    """Give the whole number that JCS (ECMAScript) prints for a large double: its shortest digits, then zeros."""
    if not EXACT_INT <= abs(double) < 1e21:
        return None
    digits, _, exponent = repr(double).partition("e")
    if not exponent:
        return int(double)
    whole, _, fraction = digits.partition(".")
    return int((whole + fraction).ljust(int(exponent) + len(whole), "0"))


def _identity(held: object) -> object:
    if isinstance(held, bool):
        return (bool, held)  # Python takes True for 1
    if isinstance(held, tuple):
        return tuple(_identity(item) for item in held)
    if isinstance(held, Filter):
        return (type(held), *(_identity(getattr(held, name)) for name in held.__struct_fields__))
    return held
