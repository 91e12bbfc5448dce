"""The two spellings: to the same tree, and back; and no input that does more than be refused."""

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram.errors import BadRequest, TooLarge
from engram.filter import (
    MAX_LIST_VALUES,
    MAX_TEXT_BYTES,
    AllOf,
    And,
    AnyOf,
    Between,
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
    compile,  # noqa: A004
    from_json,
    from_text,
    parse,
    to_json,
    to_text,
)
from engram.limits import LIMITS

KEYWORDS = ["and", "OR", "not", "in", "is", "null", "exists", "between", "Any", "match"]
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = PLAIN | st.sampled_from([*KEYWORDS, "a", "a.b", "a..b", ".", "$a", "$$a", "$and", "`", "``a`", "é", "a b", "1"])
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.just(2**60)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, PLAIN)
LISTS = st.lists(SCALARS, max_size=4).map(tuple)
INSTANTS = NUMBERS | st.sampled_from(["2020-01-01", "2020-02-29T10:00:00.5+05:30"])
COMPARISONS = st.one_of(
    *[st.builds(cls, NAMES, SCALARS) for cls in (Eq, Ne, Contains)],
    *[st.builds(cls, NAMES, NUMBERS | PLAIN) for cls in (Gt, Gte, Lt, Lte)],
    *[st.builds(cls, NAMES, LISTS) for cls in (In, Nin, AnyOf, AllOf)],
    *[st.builds(cls, NAMES, PLAIN) for cls in (StartsWith, EndsWith)],
    st.builds(Match, NAMES, PLAIN.map(lambda text: f"a{text}")),
    st.builds(Exists, NAMES),
    st.builds(IsNull, NAMES, st.booleans()),
    st.builds(Between, NAMES, INSTANTS, INSTANTS | st.none()),
    st.builds(Between, NAMES, st.none(), INSTANTS),
)
TREES = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(TREES)
def test_tree_survives_both_spellings_as_it_was(tree):
    text, spec = to_text(tree), to_json(tree)
    for again in (from_text(text), from_json(spec), parse(json.dumps(spec)), parse(json.loads(json.dumps(spec)))):
        assert again == tree
        assert repr(again) == repr(tree)  # Python's == takes True for 1
        assert hash(again) == hash(tree)
    assert parse(tree) is tree


@given(TREES)
def test_tree_survives_copying_and_pickling(tree):
    assert pickle.loads(pickle.dumps(tree)) == copy.deepcopy(tree) == tree


def test_nothing_is_written_as_nothing():
    assert to_text(None) == ""
    assert to_json(None) == {}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a=1AND b=2", None),
        ("a = 1 AND b = 2 Or c = TRUE", Or((And((Eq("a", 1), Eq("b", 2))), Eq("c", True)))),
        ("a = 1 or b = 2 and c = 3", Or((Eq("a", 1), And((Eq("b", 2), Eq("c", 3)))))),
        ("not a = 1 and b = 2", And((Not(Eq("a", 1)), Eq("b", 2)))),
        ("not (a = 1 and b = 2)", Not(And((Eq("a", 1), Eq("b", 2))))),
        ("(a = 1 and b = 2) and c = 3", And((And((Eq("a", 1), Eq("b", 2))), Eq("c", 3)))),
        ("a between 1 and 2 and b = 3", And((Between("a", 1, 2), Eq("b", 3)))),
        ("not a not in [1]", Not(Nin("a", (1,)))),
        ("((a=1))", Eq("a", 1)),
        ('a\n=\t"\\u00e9\\n\\ud83d\\ude00"', Eq("a", "é\n\U0001f600")),
        ("année = -0.5e1", Eq("année", -5)),
        ("a_1.b.2 = 1.0", Eq("a_1.b.2", 1)),
        ("in.x = 1", Eq("in.x", 1)),
        ("EXISTS ( `a b` )", Exists("a b")),
        ("x IS NOT NULL", IsNull("x", null=False)),
        ("x=-0.0", Eq("x", 0)),
    ],
)
def test_text_parses_to_the_tree(text, tree):
    if tree is None:  # a number runs up to the next blank or symbol
        with pytest.raises(BadRequest):
            parse(text)
    else:
        assert repr(parse(text)) == repr(tree)


@pytest.mark.parametrize(
    ("spec", "tree"),
    [
        ({"a": 1, "b": {"$gt": 1, "$lt": 3}}, And((Eq("a", 1), Gt("b", 1), Lt("b", 3)))),
        ({"$and": [{"a": 1}, {"b": 2}], "c": 3}, And((And((Eq("a", 1), Eq("b", 2))), Eq("c", 3)))),
        ({"$or": [{"a": 1}]}, Eq("a", 1)),
        ({"a": {"$eq": None}}, Eq("a", None)),
        ({"a": {"$in": (1, 2)}}, In("a", (1, 2))),
        ({"$$and": 1, "$$$x": 2}, And((Eq("$and", 1), Eq("$$x", 2)))),
        ({"a": {"$exists": False}}, Not(Exists("a"))),
    ],
)
def test_json_parses_to_the_tree(spec, tree):
    assert repr(parse(spec)) == repr(tree)


@pytest.mark.parametrize(
    ("tree", "spec"),
    [
        (And((Gte("a", 1), Lt("a", 3), Not(Exists("b")))), {"a": {"$gte": 1, "$lt": 3}, "b": {"$exists": False}}),
        (And((Eq("a", 1), Ne("a", 2))), {"a": {"$eq": 1, "$ne": 2}}),
        (And((Eq("a", 1), Eq("a", 2))), {"$and": [{"a": 1}, {"a": 2}]}),
        (And((Gt("a", 1), Eq("b", 1), Lt("a", 3))), {"$and": [{"a": {"$gt": 1}}, {"b": 1}, {"a": {"$lt": 3}}]}),
    ],
)
def test_json_is_written_short_where_it_reads_back_the_same(tree, spec):
    assert to_json(tree) == spec
    assert from_json(spec) == tree


def test_true_and_one_are_different_filters():
    trees = {Eq("a", True), Eq("a", 1), Eq("a", 1.0), In("a", (True,)), In("a", (1,)), Not(Eq("a", 1))}
    assert len(trees) == 5
    assert Eq("a", 1) != Eq("a", True)
    assert And((Eq("a", 1), Eq("a", 0))) != And((Eq("a", True), Eq("a", 0)))
    assert Eq("a", 1) != Ne("a", 1)


def test_filter_cannot_be_changed():
    with pytest.raises(AttributeError):
        Eq("a", 1).value = 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Eq("a", float("nan")),
        lambda: Eq("a", [1]),
        lambda: Eq(1, 1),
        lambda: Eq("\ud800", 1),
        lambda: Eq("a", 2**53 + 1),
        lambda: Eq("a", 10**400),
        lambda: Gt("a", True),
        lambda: Gt("a", None),
        lambda: In("a", "abc"),
        lambda: In("a", ("\udfff",)),
        lambda: StartsWith("a", 1),
        lambda: Match("a", " .,_ "),
        lambda: Between("a", "2020-13-01", None),
        lambda: Between("a", True, None),
        lambda: Between("a", None, None),
        lambda: IsNull("a", 1),
        lambda: And((Eq("a", 1),)),
        lambda: Or((Eq("a", 1), {})),
        lambda: Not({"a": 1}),
    ],
)
def test_no_invalid_filter_can_be_made(make):
    with pytest.raises(BadRequest) as caught:
        make()
    assert caught.value.field == "filter"


# --- limits ---


def nested(levels):
    tree = Eq("a", 1)
    for _ in range(levels - 1):
        tree = Not(tree)
    return tree


def test_depth_is_limited_in_the_tree_and_both_spellings():
    deepest = nested(LIMITS.filter_depth)
    assert from_text(to_text(deepest)) == from_json(to_json(deepest)) == deepest
    with pytest.raises(TooLarge, match="at most 16 levels"):
        Not(deepest)
    with pytest.raises(TooLarge, match="at most 16 levels"):
        from_json({"$not": to_json(deepest)})
    with pytest.raises(TooLarge, match="at most 16 levels"):
        from_text("not " + to_text(deepest))


def test_brackets_side_by_side_are_not_deep():
    parts = ["(not a = 1)"] * 50
    assert from_text(" or ".join(parts)) == Or((Not(Eq("a", 1)),) * 50)


def test_deepest_alternation_survives_both_spellings():
    tree = Eq("a", 1)
    for level in range(LIMITS.filter_depth - 1):
        tree = (And if level % 2 else Or)((tree, Eq("b", level)))
    assert from_text(to_text(tree)) == from_json(to_json(tree)) == parse(json.dumps(to_json(tree))) == tree


def test_nodes_are_limited_in_the_tree_and_both_spellings():
    parts = tuple(Eq("a", n) for n in range(LIMITS.filter_nodes - 1))
    largest = Or(parts)
    assert from_text(to_text(largest)) == from_json(to_json(largest)) == largest
    with pytest.raises(TooLarge, match="at most 256 nodes"):
        Or((*parts, Exists("a")))
    text = to_text(largest)
    with pytest.raises(TooLarge, match=rf"column {len(text) + 5}: a filter has at most 256 nodes"):
        from_text(text + " or exists(a) or b =")
    with pytest.raises(TooLarge, match=r"^filter.\$or\[255\].a: a filter has at most 256 nodes"):
        from_json({"$or": [*to_json(largest)["$or"], {"a": 1}]})


def test_list_values_are_limited_together():
    largest = In("a", tuple(range(MAX_LIST_VALUES)))
    assert from_text(to_text(largest)) == from_json(to_json(largest)) == largest
    for make in (
        lambda: In("a", (*range(MAX_LIST_VALUES), "x")),
        lambda: And((largest, In("b", (1,)))),
        lambda: from_text(f"{to_text(largest)} or b in [1]"),
        lambda: from_text(to_text(largest)[:-1] + ", 1]"),
        lambda: from_json({"a": {"$in": [0] * 10**6}}),
        lambda: from_json({**to_json(largest), "b": {"$any": [1]}}),
    ):
        with pytest.raises(TooLarge, match="1000"):
            make()


def test_text_is_limited():
    body = "x" * (MAX_TEXT_BYTES - len('a = ""'))
    assert from_text(f'a = "{body}"') == Eq("a", body)
    for make in (
        lambda: from_text(f'a = "{body}x"'),
        lambda: from_text('a = "' + "é" * (MAX_TEXT_BYTES // 2) + '"'),
        lambda: from_text(" " * 10**6),
        lambda: parse('{"a": "' + body + '"}'),
        lambda: Eq("a", "x" * MAX_TEXT_BYTES),
        lambda: from_json({"a": {"$in": ["é" * 1000] * 40}}),
        lambda: to_text(Eq("a", '"' * 40_000)),
        lambda: Exists("." * 33),
    ):
        with pytest.raises(TooLarge) as caught:
            make()
        assert caught.value.field == "filter"


@pytest.mark.parametrize(
    "opening", ["(", "not ", "not(", "[", "{", '{"$or":[', '{"$not":', '{"a":', '"', '\\"', "`", "a=["]
)
@pytest.mark.parametrize("times", [1, 17, 5_000, 100_000])
def test_open_brackets_are_a_clean_error(opening, times):
    with pytest.raises((BadRequest, TooLarge)):
        parse(opening * times)


def test_deep_and_endless_objects_are_a_clean_error():
    deep, endless, listed = {"a": 1}, {}, []
    for _ in range(100_000):
        deep = {"$and": [deep]}
    endless["$not"] = endless
    listed.append({"$or": listed})
    for spec in (deep, endless, {"$and": listed}):
        with pytest.raises(TooLarge, match="at most 16 levels"):
            parse(spec)
    while deep:  # taken apart level by level: Python frees it by recursion
        deep = deep["$and"][0] if "$and" in deep else None


# --- whatever comes ---

TOKENS = st.sampled_from(
    ["a", "b.c", "`x y`", "``", "`", "(", ")", "[", "]", ",", "=", "==", "!=", "<>", ">", ">=", "<", "and", "or", "not",
     "in", "is", "null", "true", "exists", "between", "contains", "any", "all", "starts_with", "match", '"s"', '"',
     '"2020-01-01"', "'", "1", "-1.5e3", "01", "1e999", "NaN", "\\", "\ud800", '"\\ud800"', "{", "}", "$or", "\n", "é"]
)  # fmt: skip
SIGNS = ["$and", "$or", "$not", "$eq", "$ne", "$gt", "$in", "$nin", "$exists", "$is_null", "$any", "$match", "$between"]
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*SIGNS, "$$a", "$x", "a", "a.b", 1, "\ud800"]), inner, max_size=3)
    ),
    max_leaves=12,
)


TEXTS = st.one_of(
    st.text(st.characters()), st.lists(TOKENS, max_size=12).map(" ".join), st.lists(TOKENS, max_size=12).map("".join)
)


def parses_or_is_refused(spec):
    refused = None
    try:
        tree = parse(spec)
    except (BadRequest, TooLarge) as error:
        refused = error
    if refused is not None:
        assert refused.field == "filter"
        assert refused.message.startswith("filter")
        assert refused.message.encode()
        return
    assert tree is None or isinstance(tree, Filter)
    assert parse(to_text(tree)) == parse(to_json(tree)) == tree
    assert compile(tree)({}) in (True, False)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_any_text_parses_or_is_refused(text):
    parses_or_is_refused(text)


@settings(max_examples=400, deadline=None)
@given(JSONS)
def test_any_object_parses_or_is_refused(spec):
    parses_or_is_refused(spec)


@settings(max_examples=500, deadline=None)
@given(JSONS.map(lambda spec: json.dumps(spec, default=str)) | st.text('{}[]":,\\ $aor1eN', max_size=20))
def test_any_json_text_parses_or_is_refused(text):
    parses_or_is_refused("{" + text)
    parses_or_is_refused(text)


@settings(max_examples=300, deadline=None)
@given(TREES, st.dictionaries(st.text(max_size=2), st.none() | st.text(max_size=3) | st.lists(SCALARS)))
def test_compiled_filter_never_raises(tree, metadata):
    names = {part.field for part in (tree, *getattr(tree, "parts", ())) if hasattr(part, "field")}
    assert compile(tree)(dict.fromkeys(names, "2020-01-01") | metadata) in (True, False)
