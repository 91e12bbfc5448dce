"""Random filters on random metadata, against an interpreter of the JSON spelling that shares no code with ours.

It is slow and literal on purpose: it walks the object that a user would write, tries every way to cut a name with
dots, compares numbers as fractions of their doubles, and reads instants with the standard library.
"""

import datetime as dt
import unicodedata
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engram.filter import compile, parse, to_text  # noqa: A004

# --- the oracle ---


def ways(node, name):
    """List every reading of a name as (lengths of the keys taken, value)."""
    found = [((len(name),), node[name])] if name in node else []
    for index, character in enumerate(name):
        head, rest = name[:index], name[index + 1 :]
        if character == "." and isinstance(node.get(head), dict):
            found += [((len(head), *lengths), value) for lengths, value in ways(node[head], rest)]
    return found


def look_up(metadata, name):
    found = sorted(ways(metadata, name), key=lambda way: way[0])
    return [found[-1][1]] if found else []


def is_number(value):
    return isinstance(value, (int, float)) and value is not True and value is not False


def equal(one, other):
    if is_number(one) and is_number(other):
        return Fraction(float(one)) == Fraction(float(other))
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    return one is other and (one is None or isinstance(one, bool))


def equal_or_element(held, wanted):
    return any(equal(item, wanted) for item in (held if isinstance(held, list) else [held]))


def order(held, wanted):
    """Give -1, 0 or 1, or None where the two have no order."""
    if is_number(held) and is_number(wanted):
        held, wanted = Fraction(float(held)), Fraction(float(wanted))
    elif not (isinstance(held, str) and isinstance(wanted, str)):
        return None
    else:
        held, wanted = [ord(c) for c in held], [ord(c) for c in wanted]
    return (held > wanted) - (held < wanted)


def word_list(text):
    result, word = [], ""
    for character in [*text.casefold(), " "]:
        if unicodedata.category(character)[0] in ("L", "M", "N"):
            word += character
        elif word:
            result.append(word)
            word = ""
    return result


def seconds(value):
    if is_number(value):
        return float(value)
    try:
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    if len(value) < 10:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(seconds=1)


def in_range(held, low, high):
    at = seconds(held)
    if at is None:
        return False
    if high is not None:
        whole_day = isinstance(high, str) and "T" not in high
        if whole_day and at >= seconds(high) + 24 * 60 * 60:
            return False
        if not whole_day and at > seconds(high):
            return False
    return low is None or at >= seconds(low)


def condition(found, sign, wanted):
    if sign == "$exists":
        return bool(found) == wanted
    if not found:
        return False
    (held,) = found
    listed = held if isinstance(held, list) else []
    match sign:
        case "$eq":
            return equal_or_element(held, wanted)
        case "$ne":
            return not equal_or_element(held, wanted)
        case "$in":
            return any(equal_or_element(held, one) for one in wanted)
        case "$nin":
            return not any(equal_or_element(held, one) for one in wanted)
        case "$gt" | "$gte" | "$lt" | "$lte":
            allowed = {"$gt": [1], "$gte": [0, 1], "$lt": [-1], "$lte": [-1, 0]}[sign]
            return order(held, wanted) in allowed
        case "$is_null":
            return wanted == (held is None)
        case "$contains":
            within = isinstance(held, str) and isinstance(wanted, str) and held.find(wanted) >= 0
            return within or any(equal(item, wanted) for item in listed)
        case "$any":
            return any(equal(item, one) for item in listed for one in wanted)
        case "$all":
            return isinstance(held, list) and all(any(equal(item, one) for item in listed) for one in wanted)
        case "$starts_with":
            return isinstance(held, str) and held[: len(wanted)] == wanted
        case "$ends_with":
            return isinstance(held, str) and held[len(held) - len(wanted) :] == wanted and len(held) >= len(wanted)
        case "$match":
            return isinstance(held, str) and all(word in word_list(held) for word in word_list(wanted))
        case "$between":
            return in_range(held, *wanted)
    raise AssertionError(sign)


def oracle(spec, metadata):
    for key, value in spec.items():
        match key:
            case "$and":
                good = all(oracle(part, metadata) for part in value)
            case "$or":
                good = any(oracle(part, metadata) for part in value)
            case "$not":
                good = not oracle(value, metadata)
            case _:
                conditions = value if isinstance(value, dict) else {"$eq": value}
                found = look_up(metadata, key.removeprefix("$"))
                good = all(condition(found, sign, wanted) for sign, wanted in conditions.items())
        if not good:
            return False
    return True


# --- the random filters and records: few names and values, so that they meet ---

NUMBERS = st.sampled_from(
    [0, 1, 1.0, -0.0, 2, 2.5, -1, 2**53, 2**53 + 2, 2**60, 1152921504606847000, 1e300, 86399.5, 86400]
)
DATES = st.sampled_from(
    ["1970-01-01", "1970-01-02", "1970-01-01T23:59:59.500000Z", "1970-01-02T01:00:00+01:00", "2020-02-29T12:30:00"]
)
STRINGS = st.sampled_from(["", "a", "A b", "ab", "b-a", "1", "true", "ß", "SS", "é", "e\u0301", "\U0001f600", "\uffff"])
SCALARS = st.one_of(STRINGS, NUMBERS, DATES, st.booleans(), st.none())
NAMES = st.sampled_from(["a", "b", "a.b", "a.b.c", "b.c", ".", "", "not"])
METADATA = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=6,
    ),
    max_size=5,
)
LISTS = st.lists(SCALARS, max_size=3)
BOUNDS = st.tuples(NUMBERS | DATES | st.none(), NUMBERS | DATES | st.none()).filter(lambda pair: pair != (None, None))
OPERANDS = {
    **dict.fromkeys(("$eq", "$ne", "$contains"), SCALARS),
    **dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), NUMBERS | STRINGS | DATES),
    **dict.fromkeys(("$in", "$nin", "$any", "$all"), LISTS),
    **dict.fromkeys(("$exists", "$is_null"), st.booleans()),
    **dict.fromkeys(("$starts_with", "$ends_with"), STRINGS),
    "$match": st.sampled_from(["a", "B a", "ss", "é", "e\u0301", "1!"]),
    "$between": BOUNDS.map(list),
}
CONDITIONS = st.sampled_from(sorted(OPERANDS)).flatmap(lambda sign: st.tuples(st.just(sign), OPERANDS[sign]))
FIELDS = st.dictionaries(
    NAMES, SCALARS | st.lists(CONDITIONS, min_size=1, max_size=2).map(dict), min_size=1, max_size=2
)
FILTERS = st.recursive(
    FIELDS,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$not": inner}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.builds(lambda fields, part: {**fields, "$or": [part, part]}, FIELDS, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(FILTERS, st.lists(METADATA, min_size=1, max_size=5))
@example({"a": {"$ne": 1}}, [{}, {"a": True}, {"a": [2, 1.0]}])
@example({"a.b.c": 1}, [{"a.b": {"c": 1}, "a": {"b.c": 2}}])
def test_filter_matches_what_the_oracle_matches(spec, records):
    tree = parse(spec)
    matched, matched_as_text = compile(tree), compile(parse(to_text(tree)))
    for metadata in records:
        assert matched(metadata) is matched_as_text(metadata) is oracle(spec, metadata)


@settings(max_examples=500, deadline=None)
@given(CONDITIONS, st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=3))
def test_single_condition_matches_what_the_oracle_matches(one, held):
    spec = {"x": dict([one])}
    assert compile(parse(spec))({"x": held}) is oracle(spec, {"x": held})
