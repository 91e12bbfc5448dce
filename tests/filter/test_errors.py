"""The errors' texts, as a user reads them."""

import json

import pytest

from engram.errors import BadRequest, TooLarge
from engram.filter import parse

OPERATORS = (
    "`=` `!=` `>` `>=` `<` `<=` `in` `contains` `any` `all` `starts_with` `ends_with` `match` `not in` `is null` "
    "`is not null` `between`"
)
VALUE = "expected a value: a string, a number, true, false or null"
SIGNS = (
    "$eq $ne $gt $gte $lt $lte $in $nin $exists $is_null $contains $any $all $starts_with $ends_with $match $between"
)
NO_INSTANT = (
    'a bound is a number, null, or an ISO 8601 date or time such as "2020-01-31" or "2020-01-31T12:00:00Z"; '
    "this string is none"
)
FIELD = "expected a field's name, `not`, `exists` or `(`"
DOLLARS = "a field whose name begins with $ is written with one $ more"
ORDERING = "ordering needs a number or a string"
SCALAR = "needs a string, a number, true, false or null"


def said(spec, error=BadRequest):
    with pytest.raises(error) as caught:
        parse(spec)
    assert caught.value.field == "filter"
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("year >= )", f"{VALUE}; found `)`", 9),
        ("year", f"expected an operator: {OPERATORS}; found the end", 5),
        ("year =", f"{VALUE}; found the end", 7),
        ("year like 5", f"expected an operator: {OPERATORS}; found `like`", 6),
        ('t startswith "a"', f"expected an operator: {OPERATORS}; found `startswith`; did you mean `starts_with`?", 3),
        ("year = arxiv", f"{VALUE}; found `arxiv`; a string stands in double quotes", 8),
        ("year = 'a'", 'unexpected `\'`; strings stand in double quotes, as in "arxiv"', 8),
        ("year = [1]", f"{VALUE}; found `[`; a list goes with `in`, `any` or `all`", 8),
        ("year in 5", "expected a list, as in `[1, 2]`; found `5`", 9),
        ("year in [1 2]", "expected `,` or `]`; found `2`", 12),
        ("year in [1,]", f"{VALUE}; found `]`", 12),
        ("year not 5", "expected `in`, as in `not in [1, 2]`; found `5`", 10),
        ("year is 5", "expected `null` or `not null`; found `5`", 9),
        ("year is not 5", "expected `null`; found `5`", 13),
        ("year > true", "ordering needs a number or a string, found true", 8),
        ("year starts_with 5", "needs a string, found a number", 18),
        ('t match "--"', "needs at least one word (letters or numbers), found none", 9),
        ("d between 1", "expected `and` and the upper bound; found the end", 12),
        ("d between true and 1", "a bound is a number, an ISO 8601 string or null, found true", 11),
        ("d between null and null", "needs at least one bound, found null and null", 20),
        (
            'd between "2020-01-01" and "soon"',
            NO_INSTANT,
            28,
        ),
        ("a = 1 b = 2", "expected `and`, `or` or the end; found `b`", 7),
        ("(a = 1", "expected `and`, `or` or `)`; found the end", 7),
        ("a = 1)", "expected `and`, `or` or the end; found `)`", 6),
        ("a = 1 and", f"{FIELD}; found the end", 10),
        ("a = 1 && b = 2", "unexpected `&`; write `and`", 7),
        (
            "in = 1",
            f"{FIELD}; found `in`; as a field's name it stands in backquotes: `in`",
            1,
        ),
        ("exists year", "expected `(` and a field's name, as in `exists(year)`; found `year`", 8),
        ("a-b = 1", "unexpected `-`; a name with such a character stands in backquotes, as in `content-type`", 2),
        ("a = 01", "a number is written as in JSON: 12, -0.5, 1e9", 5),
        ("a = 1.", "a number is written as in JSON: 12, -0.5, 1e9", 5),
        ("a = 1e999", "a number must be finite, found inf", 5),
        ("a = 9007199254740993", "no double equals the whole number 9007199254740993; nearest is 9007199254740992", 5),
        ('a = "x', "this string has no closing double quote", 5),
        ('a = "x\\q"', 'no such escape; JSON has \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000', 7),
        ('a = "x\\ud800"', "a lone surrogate at character 1 of a string", 5),
        ("`a = 1", "this name has no closing backquote", 1),
        ("`a`` = 1", "this name has no closing backquote", 1),
    ],
)
def test_text_error_says_what_was_expected_and_points_at_it(text, message, column):
    assert said(text) == f"filter, column {column}: {message}\n  {text}\n  {' ' * (column - 1)}^"


def test_error_on_a_later_line_shows_that_line():
    assert said("a = 1\nand b = 2\nand c 3") == (
        f"filter, line 3, column 7: expected an operator: {OPERATORS}; found `3`\n  and c 3\n        ^"
    )


def test_caret_stands_under_its_character_after_wide_and_combining_ones():
    assert said('日本 = "e\u0301" 5').endswith('\n  日本 = "e\u0301" 5\n             ^')


def test_long_line_is_cut_round_the_place():
    text = 'name = "' + "x" * 500 + '" oops ' + "y" * 500
    *_, line, caret = said(text).split("\n")
    assert line == "  …" + text[509 + 1 - 60 : 509 + 1 + 20] + "…"
    assert caret == "  " + " " * 61 + "^"
    assert line[len(caret) - 1] == "o"


def test_unprintable_characters_are_shown_harmlessly():
    assert said("a\x1b[31m = 1") == "filter, column 2: unexpected `\ufffd`\n  a\ufffd[31m = 1\n   ^"
    assert said("a = \ud800") == "filter, column 5: a lone surrogate is no character\n  a = \ufffd\n      ^"
    assert said({"a\x00": {"$gt": None}}).startswith("filter.`a\ufffd`.$gt: ordering needs")


def test_control_character_in_a_string_is_named():
    assert said('a = "x\ty"') == (
        'filter, column 7: a control character in a string is written as an escape, as in \\n\n  a = "x y"\n        ^'
    )


def test_limits_point_at_what_goes_over():
    assert said("(" * 17 + "a = 1" + ")" * 17, TooLarge) == (
        "filter, column 16: a filter is at most 16 levels deep, brackets and `not` included\n"
        f"  {'(' * 17}a = 1{')' * 13}…\n  {' ' * 15}^"
    )
    assert said("a = 1 " * 20_000, TooLarge) == "filter: at most 65536 bytes of text, this one has 120000 characters"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"$or": [{"a": 1}, {"y": {"$gt": True}}]},
            "filter.$or[1].y.$gt: ordering needs a number or a string, found true",
        ),
        ({"year": {"$in": [1, {}]}}, f"filter.year.$in[1]: {SCALAR}, found an object"),
        ({"year": {"$between": [1, "x"]}}, f"filter.year.$between[1]: {NO_INSTANT}"),
        ({"year": {"$between": [1]}}, "filter.year.$between: needs a list of two bounds, found a list of 1"),
        ({"year": {"$in": 5}}, "filter.year.$in: needs a list of values, found a number"),
        ({"year": [1]}, "filter.year: needs one value, found a list; a list goes with $in, $any or $all"),
        ({"year": {"$eq": [1]}}, "filter.year.$eq: needs one value, found a list; a list goes with $in, $any or $all"),
        ({"year": {}}, "filter.year: needs an operator, found an empty object"),
        ({"year": {"$gtt": 5}}, f"filter.year: unknown operator `$gtt`; did you mean $gt? (known: {SIGNS})"),
        ({"year": {"$xyz": 5}}, f"filter.year: unknown operator `$xyz` (known: {SIGNS})"),
        ({"a": {"b": 5}}, "filter.a: needs operators, found the key `b`; a field inside a map is named `a.b`"),
        ({"a": {"$not": {}}}, 'filter.a: $not stands around a field\'s condition, as in {"$not": …}, not inside it'),
        ({"$gt": 5}, 'filter: $gt stands inside a field\'s condition, as in {"year": {"$gt": …}}'),
        (
            {"$ands": []},
            f"filter: unknown operator `$ands`; did you mean $and? (known: $and $or $not {SIGNS}); {DOLLARS}",
        ),
        ({"$and": {}}, "filter.$and: needs a list of filters, found an object"),
        ({"$and": []}, "filter.$and: needs at least one filter, found an empty list"),
        ({"$or": [{"a": 1}, {}]}, "filter.$or[1]: an empty object matches everything, and stands only alone"),
        ({"$not": [1]}, "filter.$not: needs an object, found a list"),
        (
            {"$not": {"$or": [{"a b": {"$exists": 1}}]}},
            "filter.$not.$or[0].`a b`.$exists: needs true or false, found a number",
        ),
        ({"a": float("nan")}, "filter.a: a number must be finite, found nan"),
        ({"a": 10**400}, "filter.a: a number beyond the range of a double"),
        ({"a": {"$in": ["\ud800"]}}, "filter.a.$in[0]: a lone surrogate at character 0 of a string"),
        ({"\ud800": 1}, "filter: a lone surrogate at character 0 of a string"),
        ({1: 2}, "filter: a field's name must be a string, found a number"),
        ({"a": {1: 2}}, "filter.a: an operator must be a string, found a number"),
        ({"a": b"x"}, f"filter.a: {SCALAR}, found a value of type bytes"),
        ([], "filter: needs a string or an object, found a list"),
    ],
)
def test_json_error_names_the_path(spec, message):
    assert said(spec) == message


def test_json_text_errors_point_at_the_place_or_name_the_key():
    assert said('{"a": [1,}') == 'filter, column 10: not JSON: expecting value\n  {"a": [1,}\n           ^'
    assert said(' {"a": 1, "a": 2}') == "filter: an object has the key `a` twice"
    assert said('{"$or": [{"b": {"$gt": 1, "$gt": 2}}]}') == "filter: an object has the key `$gt` twice"
    assert said('{"a": NaN}') == "filter.a: a number must be finite, found nan"
    assert said('{"a": ' + "9" * 5000 + "}") == "filter.a: a number must be finite, found inf"
    assert said('{"a": "\\udc00"}') == "filter.a: a lone surrogate at character 0 of a string"


def test_huge_names_are_cut():
    assert len(said({"x" * 60_000: {"$gt": None}})) < 200
    assert len(said({"a": {"$" + "x" * 60_000: None}})) < 400
    assert len(said("a " + "x" * 60_000)) < 500
    assert len(said(json.dumps({"a": {"y" * 60_000: 1}}))) < 300
