"""The native check of JSON, against Python's own parser made strict, and what msgspec makes of what passes."""

import contextlib
import json
import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engram.errors import BadRequest, TooLarge
from engram.limits import Limits
from engram.native._core import check_json
from engram.wire import check_body

DEPTH = 4


class Refused(Exception):
    pass


def strict(pairs):
    if len({key for key, _ in pairs}) < len(pairs):
        raise Refused("key_twice")
    return dict(pairs)


def refuse_constant(name):
    raise Refused(name)


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


def oracle(data):
    """Say whether a text is fit to be decoded, by Python's parser: lenient where it is known to be, in no other way."""
    try:
        text = data.decode()
        if text.startswith("\ufeff") or re.search(
            r"[^\S \t\r\n]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL)
        ):
            return False
        value = json.loads(text, object_pairs_hook=strict, parse_constant=refuse_constant)
    except (ValueError, Refused, RecursionError):
        return False
    if depth_of(value) > DEPTH:
        return False
    return all(not re.search("[\ud800-\udfff]", found) for found in texts_of(value))


def spelt(value):
    """Write JSON as strangers do: keys may come twice, characters be escaped, space be anywhere."""
    return st.sampled_from([" ", "", "\n\t"]).flatmap(
        lambda space: st.sampled_from([True, False]).map(
            lambda escaped: json.dumps(value, ensure_ascii=escaped, separators=(f"{space},", f":{space}"))
        )
    )


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["a", "\ud800", "é", "\x7f"]),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from("ab"), st.text(max_size=3)), inner, max_size=12),
    ),
    max_leaves=25,
)
whole = trees.flatmap(spelt).map(lambda text: text.encode("utf-8", "surrogatepass"))
twice = st.lists(st.tuples(st.sampled_from(['"a"', '"\\u0061"', '"b"', '"c"']), whole), max_size=12).map(
    lambda pairs: b"{" + b",".join(key.encode() + b":" + value for key, value in pairs) + b"}"
)


@st.composite
def broken(draw):
    data = bytearray(draw(whole))
    at = draw(st.integers(0, len(data)))
    data[at : at + draw(st.integers(0, 2))] = draw(
        st.sampled_from(
            [b"", b"\xff", b",", b"}", b"]", b'"', b"\\", b"0", b"-", b".", b"e", b"\x00", b"\\ud800", b"{"]
        )
    )
    return bytes(data)


@given(st.one_of(whole, twice, broken(), st.binary(max_size=30)))
@example(b"")
@example(b"\xef\xbb\xbf1")
@example(b'{"a":1,"\\u0061":2}')
@example(b"[1,2,]")
@example(b"01")
@example(b"-")
@example(b"1e")
@example(b'"\\ud83d\\ude00"')
@example(b'"\\ude00\\ud83d"')
@example(b"[[[[[]]]]]")
def test_check_refuses_what_the_oracle_refuses(data):
    assert (check_json(data, DEPTH) is None) == oracle(data), check_json(data, DEPTH)


@given(st.one_of(whole, twice))
def test_what_passes_is_decoded_by_msgspec_as_python_does(data):
    if check_json(data) is None:
        with contextlib.suppress(msgspec.ValidationError):  # a number that no double is
            assert msgspec.json.decode(data) == json.loads(data)


def test_what_is_not_json_is_told_by_its_byte():
    with pytest.raises(BadRequest, match="the body is not JSON: a value was expected at byte 6"):
        check_body(b'{"a": }')
    with pytest.raises(BadRequest, match="a value, and JSON has no NaN or Infinity, was expected at byte 5"):
        check_body(b'{"a":NaN}')
    with pytest.raises(BadRequest, match="something follows it at byte 3"):
        check_body(b"{} {}")
    with pytest.raises(BadRequest, match=r"`a\.b` holds a lone surrogate") as refused:
        check_body(b'{"a":{"b":"\\ud800"}}')
    assert refused.value.field == "a.b"


def test_a_body_over_the_limit_is_refused():
    limits = Limits(http_body_bytes=10)
    check_body(b'"12345678"', limits)
    with pytest.raises(TooLarge, match="larger than 10 bytes"):
        check_body(b'"123456789"', limits)


def test_a_hundred_thousand_brackets_are_refused():
    with pytest.raises(BadRequest, match="nested more than 32 deep"):
        check_body(b"[" * 100_000)
