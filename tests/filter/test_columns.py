"""Filters as bitmaps, judged by the filters of `engram.filter`, which look at one record at a time."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engram import filter as filters
from engram import record
from engram.filter._dates import instant
from engram.native import _core

NUMBERS = st.sampled_from(
    [0, 1, -0.0, 2, 2.5, -1, -2.5, 2**53, 2**60, 1152921504606847000, -(10**20), 1e300, -1e-300, 5e-324, 86399.5, 86400]
)
DATES = st.sampled_from(
    ["1970-01-01", "1970-01-02", "1970-01-01T23:59:59.5Z", "1970-01-02T01:00:00+01:00", "1969-12-31 23:59:59.000000001"]
)
STRINGS = st.sampled_from(
    ["", "a", "A b", "ab", "b-a", "1", "true", "ß", "SS", "é", "e\u0301", "\U0001f600", "\uffff", 'q"\\\n\x00', "/\x7f"]
)
SCALARS = st.one_of(STRINGS, NUMBERS, DATES, st.booleans(), st.none())
NAMES = st.sampled_from(["a", "b", "a.b", "a.b.c", "b.c", "c", ".", "", "a.", ".a", 'x"\n', "é", "not", "a/b", "a-b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
METADATA = st.dictionaries(NAMES, VALUES, max_size=5)
FIELDS = NAMES | st.lists(NAMES, min_size=2, max_size=4).map(".".join)
LISTS = st.lists(SCALARS, max_size=3).map(tuple)
INSTANTS = NUMBERS | DATES | st.none()
ORDERS = st.sampled_from([filters.Gt, filters.Gte, filters.Lt, filters.Lte])


def ranges(fields):
    return st.builds(
        lambda field, bounds: filters.And(tuple(cls(field, bound) for cls, bound in bounds)),
        fields,
        st.lists(st.tuples(ORDERS, NUMBERS | STRINGS), min_size=2, max_size=3),
    )


def comparisons(fields):
    return st.one_of(
        st.builds(
            lambda cls, field, value: cls(field, value), st.sampled_from([filters.Eq, filters.Ne]), fields, SCALARS
        ),
        st.builds(
            lambda cls, field, value: cls(field, value),
            ORDERS,
            fields,
            NUMBERS | STRINGS,
        ),
        st.builds(
            lambda cls, field, values: cls(field, values),
            st.sampled_from([filters.In, filters.Nin, filters.AnyOf, filters.AllOf]),
            fields,
            LISTS,
        ),
        st.builds(filters.Contains, fields, SCALARS),
        st.builds(filters.Exists, fields),
        st.builds(filters.IsNull, fields, st.booleans()),
        st.builds(filters.StartsWith, fields, STRINGS),
        st.builds(filters.EndsWith, fields, STRINGS),
        st.builds(filters.Match, fields, st.sampled_from(["a", "B a", "ss", "ß", "é", "e\u0301", "1!", "b b"])),
        st.builds(
            lambda field, bounds: filters.Between(field, *bounds),
            fields,
            st.tuples(INSTANTS, INSTANTS).filter(lambda pair: pair != (None, None)),
        ),
    )


COMPARISONS = comparisons(FIELDS)
TREES = st.recursive(
    COMPARISONS | ranges(NAMES),
    lambda inner: st.one_of(
        st.builds(filters.Not, inner),
        st.builds(lambda parts: filters.And(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda parts: filters.Or(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=6,
)


def columns_of(rows):
    columns = _core.AttributeColumns()
    columns.add(rows)
    return columns


def found(columns, tree, count):
    return columns.matching(_core.FilterPlan(tree, filters.value_test), count)


def expected(tree, rows):
    matched = filters.compile(tree)
    return [row for row, held in enumerate(rows) if matched({} if held is None else record.decode_metadata(held))]


@settings(max_examples=400, deadline=None)
@given(st.lists(TREES, min_size=1, max_size=4), st.lists(METADATA | st.none(), max_size=12), st.data())
@example([filters.Eq("a.b.c", 1)], [{"a.b": {"c": 1}, "a": {"b.c": 2}}], None)
@example([filters.Exists("a.b.c")], [{"a.b": 1, "a": {"b": {"c": 2}}}, {"a": {"b": {}}}], None)
@example([filters.Eq("x", 0)], [{"x": -0.0}, {"x": False}], None)
def test_columns_give_the_rows_that_the_filter_matches_as_rows_come(trees, metadata, data):
    rows = [None if one is None else _core.canonical(one) for one in metadata]
    columns = columns_of(rows)
    for tree in trees:
        seen = data.draw(st.integers(0, len(rows))) if data else len(rows)
        for count in (seen, len(rows), seen):  # a reader of fewer rows than there are columns of
            assert found(columns, tree, count) == expected(tree, rows[:count])


@settings(max_examples=400, deadline=None)
@given(
    st.lists(comparisons(st.just("x")) | ranges(st.just("x")), min_size=1, max_size=6),
    st.lists(
        SCALARS | st.lists(SCALARS | st.lists(SCALARS, max_size=1), max_size=3) | METADATA, min_size=8, max_size=16
    ),
)
def test_every_operator_on_values_that_are_there(trees, values):
    """Random trees on random names seldom meet: here there is one name, and each row has it."""
    rows = [_core.canonical({"x": value}) for value in values]
    columns = columns_of(rows)
    for tree in trees:
        assert found(columns, tree, len(rows)) == expected(tree, rows)


ISO = st.from_regex(
    r"[0-9]{2}(19|20|00)-(0[0-9]|1[0-3])-[0-3][0-9]"
    r"([Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,10})?)?([Zz]|[+-][0-2][0-9]:[0-6][0-9])?)?",
    fullmatch=True,
)


@settings(max_examples=300, deadline=None)
@given(ISO, st.integers(0, 40))
def test_an_instant_is_to_the_bit_the_one_of_single_filters(text, cut):
    columns = columns_of([_core.canonical({"x": text[: len(text) - cut if cut < 4 else None]})])
    at = instant(text[: len(text) - cut if cut < 4 else None])
    if at is None:
        assert found(columns, filters.Between("x", None, 1e300), 1) == []
        assert found(columns, filters.Between("x", -1e300, None), 1) == []
    else:
        assert found(columns, filters.Between("x", at, at), 1) == [0]
        assert found(columns, filters.Between("x", None, math.nextafter(at, -math.inf)), 1) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(COMPARISONS, max_size=3), st.integers(1, 400), st.integers(1, 40), st.integers())
def test_values_of_few_and_of_many_rows_are_found_as_rows_come(trees, step, spread, seed):
    rng = random.Random(seed)
    rows = [
        _core.canonical({"a": rng.randrange(spread), "b": [f"a{rng.randrange(spread * 50)}", "b"], "c": f"{row}"})
        for row in range(1200)
    ]
    ordered = [filters.Gt("a", spread // 2), filters.StartsWith("c", "1"), filters.Lte("c", "5")]
    trees += [filters.Eq("a", 0), filters.Eq("b", "a1"), filters.Eq("b", "b"), *ordered]
    columns = columns_of(rows)
    matching = [expected(tree, rows) for tree in trees]
    for count in [*range(0, 1200, 5 * step), 1200]:
        for tree, these in zip(trees, matching, strict=True):
            assert found(columns, tree, count) == [row for row in these if row < count]


# --- hostile and damaged metadata ---


def nested(levels, inner):
    for _ in range(levels):
        inner = {"a": inner}
    return inner


def test_the_deepest_and_the_widest_metadata_are_read():
    wide = {f"k{number}": number % 2 for number in range(400)}
    rows = [_core.canonical(one) for one in (nested(15, {"a": 1}), nested(15, {"a": 2}), wide, {"l": [[[[[1]]]]]})]
    columns = columns_of(rows)
    trees = [
        filters.Eq(".".join(["a"] * 16), 1),
        filters.Exists(".".join(["a"] * 15)),
        filters.Or(tuple(filters.Eq(f"k{number}", 1) for number in range(255))),
        filters.Eq("l", 1),
        filters.Exists(".".join(["a"] * 33)),
        filters.Exists("." * 32),
    ]
    for tree in trees:
        assert found(columns, tree, len(rows)) == expected(tree, rows)


def test_a_name_with_many_readings_is_found_at_once():
    """Every key stands at every level, so that a search that goes back would go back 2^15 times."""
    node = 1
    for _ in range(8):
        node = {".".join(["a"] * length): node if length == 1 else {} for length in range(1, 5)}
    rows = [_core.canonical(node)]
    columns = columns_of(rows)
    for last in ("a", "b"):
        tree = filters.Exists(".".join(["a"] * 7 + [last]))
        assert found(columns, tree, len(rows)) == expected(tree, rows)


NOT_READABLE = [
    b"", b"{", b"[]", b"1", b'"a"', b"null", b'{"a":1', b'{"a":1}}', b'{"a":1}x', b'{"a":}', b'{"a"}', b"{a:1}",
    b'{"a":1,}', b'{"a":nul}', b'{"a":1"b":2}', b'{"a":"\xff"}', b'{"a":1,"b":"\\', b'{"a":1,"b":"\x00"}', b'{"a":1,"b":[}',
    b'{"a":1,"b":[1 2]}', b'{"a":--1}', b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"a":' + b"[" * 5000,
    b'{"a":' + b'{"a":' * 16 + b"1" + b"}" * 17, b'{"a":"' + b"a" * 5000 + b'"}',
]  # fmt: skip


@pytest.mark.parametrize("damaged", NOT_READABLE)
def test_a_row_whose_metadata_are_no_canonical_json_counts_as_one_without_any(damaged):
    rows = [b'{"a":1}', damaged, b'{"a":1}']
    columns = columns_of(rows)
    assert found(columns, filters.Exists("a"), 3) == [0, 2]
    assert found(columns, filters.Not(filters.Exists("a")), 3) == [1]


@settings(max_examples=500, deadline=None)
@given(TREES, st.lists(METADATA, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_damage_anywhere_breaks_nothing(tree, metadata, rng):
    rows = [bytearray(_core.canonical(one)) for one in metadata]
    for row in rows:
        for _ in range(rng.randrange(1, 4)):
            row[rng.randrange(len(row))] = rng.choice(b'{}[]",:\\.0a\xc3\xff')
    answer = found(columns_of([bytes(row) for row in rows]), tree, len(rows))
    assert set(answer) <= set(range(len(rows)))


def test_what_the_test_of_a_value_raises_is_raised():
    def fail(comparison):
        def test(value):
            raise KeyboardInterrupt

        return test

    plan = _core.FilterPlan(filters.Match("a", "é"), fail)
    with pytest.raises(KeyboardInterrupt):
        columns_of([_core.canonical({"a": "é"})]).matching(plan, 1)


def test_strings_beyond_ascii_are_asked_about_and_once():
    asked = []

    def value_test(comparison):
        test = filters.value_test(comparison)
        return lambda value: asked.append(value) or test(value)

    rows = [_core.canonical({"a": ["é x", "X", "x\u0301", "É-X"][row % 4]}) for row in range(40)]
    columns = columns_of(rows)
    for count in (4, 20, 40):
        plan = _core.FilterPlan(filters.Match("a", "x"), value_test)
        assert columns.matching(plan, count) == [row for row in range(count) if row % 4 != 2]
    assert asked == ["é x", "x\u0301", "É-X"]
