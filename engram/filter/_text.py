"""The string spelling: its lexer and a recursive-descent parser; `docs/filters.md` has the grammar.

Both work from left to right and stop at the first error, so the caret points at the first thing that is wrong. The
parser goes no deeper than the limit on depth, since every bracket and every `not` is counted.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from engram.errors import BadRequest, TooLarge
from engram.filter._ast import (
    COMPARISONS,
    MAX_LIST_VALUES,
    MAX_TEXT_BYTES,
    AllOf,
    And,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Filter,
    In,
    IsNull,
    Nin,
    Not,
    Or,
    Scalar,
    bound,
    field_name,
    scalar,
)
from engram.filter._errors import refuse_at, shown
from engram.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable

BARE_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
"""A field's name that needs no backquotes, unless it is a keyword."""

_CONSTANTS: dict[str, Scalar] = {"true": True, "false": False, "null": None}
_SYMBOLS = {"==": "=", "<>": "!="}
_OPERATORS = {cls.word: cls for cls in COMPARISONS if cls not in (Exists, IsNull, Between, Nin)}
_LISTS = (In, Nin, AnyOf, AllOf)
_OPERATOR_WORDS = (*_OPERATORS, "not in", "is null", "is not null", "between")
KEYWORDS = frozenset(
    {"and", "or", "not", "is", "exists", "between", *_CONSTANTS, *filter(str.isidentifier, _OPERATORS)}
)
"""Words that are no field's name unless they stand in backquotes; in any case of letters."""

_BLANK = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SYMBOL = re.compile(r"[<>=!]=|<>|[=<>()\[\],]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![\w.])")
_NUMBER_LIKE = re.compile(r"[-+.]?[0-9][\w.+-]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_QUOTED_NAME = re.compile(r"`((?:[^`]|``)*+)`")

Made = TypeVar("Made")

_NAME_HINT = "a name with such a character stands in backquotes, as in `content-type`"
_HINTS = {
    **dict.fromkeys("-$/:@#%", _NAME_HINT),
    "'": 'strings stand in double quotes, as in "arxiv"',
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=`",
    "“": 'strings stand in straight double quotes, as in "arxiv"',
    "”": 'strings stand in straight double quotes, as in "arxiv"',
}


def from_text(text: str) -> Filter | None:
    """Parse the string spelling; blank text is None, which matches everything.

    Raises `BadRequest`, with the place and a caret, for what the grammar does not allow, and `TooLarge` beyond a limit.
    """
    check_text(text)
    return _Parser(text).whole()


def check_text(text: str) -> None:
    """Refuse a string that is no Unicode text, or that is longer than the limit."""
    if len(text) <= MAX_TEXT_BYTES and (surrogate := _SURROGATE.search(text)):
        raise refuse_at(text, surrogate.start(), "a lone surrogate is no character", BadRequest)
    size = len(text) if len(text) > MAX_TEXT_BYTES else len(text.encode())
    if size > MAX_TEXT_BYTES:
        unit = "characters" if len(text) > MAX_TEXT_BYTES else "bytes"
        raise TooLarge(f"filter: at most {MAX_TEXT_BYTES} bytes of text, this one has {size} {unit}", field="filter")


class _Token(NamedTuple):
    kind: str
    value: Scalar
    start: int
    end: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        self.nodes = 0
        self.token = self._lex(0)

    # --- the grammar ---

    def whole(self) -> Filter | None:
        if self.token.kind == "end":
            return None
        tree = self._either()
        if self.token.kind != "end":
            self._expected("`and`, `or` or the end")
        return tree

    def _either(self) -> Filter:
        return self._chain("or", self._both, Or)

    def _both(self) -> Filter:
        return self._chain("and", self._negated, And)

    def _chain(self, word: str, operand: Callable[[], Filter], cls: type[And | Or]) -> Filter:
        first = self.token
        parts = [operand()]
        while self._is(word):
            if len(parts) == 1:
                self._count()
            self._advance()
            parts.append(operand())
        return parts[0] if len(parts) == 1 else self._checked(first, lambda: cls(tuple(parts)))

    def _negated(self) -> Filter:
        if not self._is("not"):
            return self._primary()
        first = self.token
        self._count()
        self._enter()
        part = self._negated()
        self.depth -= 1
        return self._checked(first, lambda: Not(part))

    def _primary(self) -> Filter:
        if self._is("("):
            self._enter()
            inner = self._either()
            self.depth -= 1
            self._take(")", "`and`, `or` or `)`")
            return inner
        self._count()
        if self._is("exists"):
            self._advance()
            self._take("(", "`(` and a field's name, as in `exists(year)`")
            start, field = self.token, self._field("a field's name")
            self._take(")", "`)`")
            return self._checked(start, lambda: Exists(field))
        return self._comparison()

    def _comparison(self) -> Filter:
        start, field = self.token, self._field("a field's name, `not`, `exists` or `(`")
        word = str(self.token.value) if self.token.kind in ("symbol", "keyword") else ""
        if word == "is":
            return self._null_test(start, field)
        if word not in ("not", "between") and word not in _OPERATORS:
            self._expected_operator()
        self._advance()
        if word == "between":
            return self._between(field)
        if word == "not":
            self._take("in", "`in`, as in `not in [1, 2]`")
        # Every class in the table is made from a field and one operand, which its constructor checks.
        make: Callable[[str, object], Comparison] = _OPERATORS.get(word, Nin)
        operand_at = self.token
        operand = self._list() if make in _LISTS else self._value()
        return self._checked(operand_at, lambda: make(field, operand))

    def _null_test(self, start: _Token, field: str) -> Filter:
        self._advance()
        wanted = not self._is("not")
        if not wanted:
            self._advance()
        self._take("null", "`null` or `not null`" if wanted else "`null`")
        return self._checked(start, lambda: IsNull(field, wanted))

    def _between(self, field: str) -> Filter:
        low_at, low = self.token, self._value()
        low = self._checked(low_at, lambda: bound(low))
        self._take("and", "`and` and the upper bound")
        high_at, high = self.token, self._value()
        return self._checked(high_at, lambda: Between(field, low, bound(high)))

    def _list(self) -> tuple[Scalar, ...]:
        self._take("[", "a list, as in `[1, 2]`")
        values: list[Scalar] = []
        if not self._is("]"):
            values.append(self._value())
            while self._is(","):
                if len(values) == MAX_LIST_VALUES:
                    self._refuse(self.token.start, f"a list has at most {MAX_LIST_VALUES} values", TooLarge)
                self._advance()
                values.append(self._value())
        self._take("]", "`,` or `]`")
        return tuple(values)

    def _value(self) -> Scalar:
        token = self.token
        constant = token.kind == "keyword" and token.value in _CONSTANTS
        if token.kind not in ("string", "number") and not constant:
            self._expected("a value: a string, a number, true, false or null", self._hint_for_value())
        value = self._checked(token, lambda: scalar(_CONSTANTS[str(token.value)] if constant else token.value))
        self._advance()
        return value

    def _field(self, expected: str) -> str:
        token = self.token
        if token.kind != "name":
            keyword = token.kind == "keyword"
            self._expected(
                expected, f"as a field's name it stands in backquotes: `{self._source()}`" if keyword else ""
            )
        name = self._checked(token, lambda: field_name(token.value))
        self._advance()
        return name

    # --- the tokens ---

    def _is(self, word: str) -> bool:
        return self.token.kind in ("symbol", "keyword") and self.token.value == word

    def _advance(self) -> None:
        self.token = self._lex(self.token.end)

    def _take(self, word: str, expected: str) -> None:
        if not self._is(word):
            self._expected(expected)
        self._advance()

    def _lex(self, at: int) -> _Token:
        blank = _BLANK.match(self.text, at)
        at = blank.end() if blank else at
        if at == len(self.text):
            return _Token("end", None, at, at)
        if self.text[at] == '"':
            return self._lex_string(at)
        if self.text[at] == "`":
            return self._lex_quoted_name(at)
        if symbol := _SYMBOL.match(self.text, at):
            return _Token("symbol", _SYMBOLS.get(symbol[0], symbol[0]), at, symbol.end())
        if number := _NUMBER.match(self.text, at):
            whole = number[1] is None and number[2] is None
            return _Token("number", whole_number(number[0]) if whole else float(number[0]), at, number.end())
        if name := BARE_NAME.match(self.text, at):
            word = name[0].lower()
            return _Token(*(("keyword", word) if word in KEYWORDS else ("name", name[0])), at, name.end())
        if _NUMBER_LIKE.match(self.text, at):
            self._refuse(at, "a number is written as in JSON: 12, -0.5, 1e9", BadRequest)
        return self._refuse(at, _unexpected(self.text[at]), BadRequest)

    def _lex_string(self, at: int) -> _Token:
        body = _STRING.match(self.text, at)
        end = body.end() if body else at
        if end == len(self.text):
            self._refuse(at, "this string has no closing double quote", BadRequest)
        if self.text[end] == "\\":
            self._refuse(end, 'no such escape; JSON has \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000', BadRequest)
        if self.text[end] != '"':
            self._refuse(end, "a control character in a string is written as an escape, as in \\n", BadRequest)
        return _Token("string", str(json.loads(self.text[at : end + 1])), at, end + 1)

    def _lex_quoted_name(self, at: int) -> _Token:
        quoted = _QUOTED_NAME.match(self.text, at)
        if quoted is None:
            self._refuse(at, "this name has no closing backquote", BadRequest)
        return _Token("name", quoted[1].replace("``", "`"), at, quoted.end())

    # --- limits and errors ---

    def _count(self) -> None:
        self.nodes += 1
        if self.nodes > LIMITS.filter_nodes:
            self._refuse(self.token.start, f"a filter has at most {LIMITS.filter_nodes} nodes", TooLarge)

    def _enter(self) -> None:
        self.depth += 1
        if self.depth >= LIMITS.filter_depth:
            problem = f"a filter is at most {LIMITS.filter_depth} levels deep, brackets and `not` included"
            self._refuse(self.token.start, problem, TooLarge)
        self._advance()

    def _checked(self, at: _Token, make: Callable[[], Made]) -> Made:
        try:
            return make()
        except (BadRequest, TooLarge) as error:
            self._refuse(at.start, error.message, type(error))

    def _expected(self, expected: str, hint: str = "") -> NoReturn:
        found = "the end" if self.token.kind == "end" else shown(self._source())
        problem = f"expected {expected}; found {found}" + (f"; {hint}" if hint else "")
        self._refuse(self.token.start, problem, BadRequest)

    def _expected_operator(self) -> NoReturn:
        near = difflib.get_close_matches(self._source()[:32].lower(), _OPERATOR_WORDS, 1, 0.7)
        known = " ".join(f"`{word}`" for word in _OPERATOR_WORDS)
        self._expected(f"an operator: {known}", f"did you mean `{near[0]}`?" if near else "")

    def _hint_for_value(self) -> str:
        if self.token.kind == "name":
            return "a string stands in double quotes"
        return "a list goes with `in`, `any` or `all`" if self._is("[") else ""

    def _source(self) -> str:
        return self.text[self.token.start : self.token.end]

    def _refuse(self, at: int, problem: str, error: type[BadRequest | TooLarge]) -> NoReturn:
        raise refuse_at(self.text, at, problem, error) from None


def _unexpected(character: str) -> str:
    hint = _HINTS.get(character)
    return f"unexpected {shown(character)}" + (f"; {hint}" if hint else "")


def whole_number(digits: str) -> int | float:
    """Read a whole number of any length; one that is beyond every double is infinite, and refused as such later."""
    return int(digits) if len(digits) <= 310 else float(digits)
