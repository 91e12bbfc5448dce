"""The metadata filter language: one tree, two spellings (`docs/filters.md`).

`parse` takes either spelling; `compile` makes the predicate for many records, `matches` asks about one.
"""

from engram.filter._ast import (
    MAX_DOTS,
    MAX_LIST_VALUES,
    MAX_TEXT_BYTES,
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
    Or,
    StartsWith,
)
from engram.filter._json import from_json
from engram.filter._match import compile, matches, value_test  # noqa: A004 - `filter.compile`, as in `re.compile`
from engram.filter._parse import parse
from engram.filter._text import from_text
from engram.filter._write import to_json, to_text

__all__ = [
    "MAX_DOTS",
    "MAX_LIST_VALUES",
    "MAX_TEXT_BYTES",
    "AllOf",
    "And",
    "AnyOf",
    "Between",
    "Comparison",
    "Contains",
    "EndsWith",
    "Eq",
    "Exists",
    "Filter",
    "Gt",
    "Gte",
    "In",
    "IsNull",
    "Lt",
    "Lte",
    "Match",
    "Ne",
    "Nin",
    "Not",
    "Or",
    "StartsWith",
    "compile",
    "from_json",
    "from_text",
    "matches",
    "parse",
    "to_json",
    "to_text",
    "value_test",
]
