"""The native scanner and checks, against plain-Python oracles."""

import json
import struct
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engram.native._core import MessageScanner, check_event, check_message

REFUSED_EVENTS = json.loads((Path(__file__).parents[1] / "data" / "refused_events.json").read_text())


class Flaw(Exception):
    pass


class Short(Exception):
    pass


def oracle_value(data, at, depth, max_depth):
    """Read one value; give (value, end). Maps are lists of pairs in `Map`. Written from the msgpack specification."""

    def take(count):
        nonlocal at
        if at + count > len(data):
            raise Short
        at += count
        return data[at - count : at]

    def number(count):
        return int.from_bytes(take(count), "big")

    def nested(kind, count):
        nonlocal at
        if depth == max_depth:
            raise Flaw("too_deep")
        values = []
        for _ in range(count):
            value, at = oracle_value(data, at, depth + 1, max_depth)
            values.append(value)
        return (kind, values), at

    tag = take(1)[0]
    if tag == 0xC1:
        raise Flaw("reserved")
    if tag <= 0x7F or tag >= 0xE0 or tag in (0xC0, 0xC2, 0xC3):
        return ("scalar", tag), at
    if tag <= 0x8F:
        return nested("map", 2 * (tag - 0x80))
    if tag <= 0x9F:
        return nested("array", tag - 0x90)
    if tag <= 0xBF:
        return ("str", take(tag - 0xA0)), at
    if tag in (0xC4, 0xC5, 0xC6):
        return ("bin", take(number(1 << (tag - 0xC4)))), at
    if tag in (0xC7, 0xC8, 0xC9):
        return ("ext", take(number(1 << (tag - 0xC7)) + 1)), at
    if 0xD4 <= tag <= 0xD8:
        return ("ext", take(1 + (1 << (tag - 0xD4)))), at
    if tag in (0xD9, 0xDA, 0xDB):
        return ("str", take(number(1 << (tag - 0xD9)))), at
    if tag in (0xDC, 0xDD):
        return nested("array", number(2 if tag == 0xDC else 4))
    if tag in (0xDE, 0xDF):
        return nested("map", 2 * number(2 if tag == 0xDE else 4))
    sizes = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
    return ("scalar", take(sizes[tag])), at


def oracle_scan(data, max_depth, max_bytes):
    """Give (messages, fault) as a scanner would that is fed all at once."""
    messages, at = [], 0
    while at < len(data):
        try:
            _, end = oracle_value(data[: at + max_bytes], at, 0, max_depth)
        except Short:
            whole = len(data) - at <= max_bytes
            return messages, None if whole else "too_large"
        except Flaw as flaw:
            return messages, str(flaw)
        messages.append(data[at:end])
        at = end
    return messages, None


def oracle_flaws(value):
    """Give every flaw that a well-formed value has."""
    kind, inner = value
    found = {"ext"} if kind == "ext" else set()
    if kind == "str":
        try:
            inner.decode()
        except UnicodeDecodeError:
            found.add("not_utf8")
    if kind == "map":
        keys = inner[::2]
        if any(key[0] != "str" for key in keys):
            found.add("key_not_string")
        texts = [key[1] for key in keys if key[0] == "str"]
        if len(set(texts)) < len(texts):
            found.add("key_twice")
    if kind in ("map", "array"):
        found = found.union(*map(oracle_flaws, inner)) if inner else found
    return found


def packed(kind, payload, width):
    """Encode a length in `width` bytes, which need not be the shortest."""
    tag = {"str": 0xD9, "bin": 0xC4, "ext": 0xC7}[kind] + {1: 0, 2: 1, 4: 2}[width]
    return bytes([tag]) + len(payload).to_bytes(width, "big") + (b"\x05" if kind == "ext" else b"") + payload


def container(kind, parts, wide):
    count = len(parts) if kind == "array" else len(parts) // 2
    tag = {"array": 0xDC, "map": 0xDE}[kind] + wide
    return bytes([tag]) + count.to_bytes(4 if wide else 2, "big") + b"".join(parts)


scalars = st.one_of(
    st.integers(-(2**63), 2**64 - 1).map(msgspec.msgpack.encode),
    st.floats(width=32).map(lambda value: b"\xca" + struct.pack(">f", value)),
    st.floats().map(msgspec.msgpack.encode),
    st.sampled_from([b"\xc0", b"\xc2", b"\xc3"]),
)
texts = st.one_of(
    st.sampled_from(["", "a", "b", "type"]).map(msgspec.msgpack.encode),
    st.builds(packed, st.just("str"), st.sampled_from([b"", b"a", b"\xff", "ä".encode()]), st.sampled_from([1, 2, 4])),
    st.text(max_size=40).map(msgspec.msgpack.encode),
)
leaves = st.one_of(
    scalars,
    texts,
    st.builds(packed, st.sampled_from(["bin", "ext"]), st.binary(max_size=20), st.sampled_from([1, 2, 4])),
    st.integers(0, 4).flatmap(
        lambda power: st.binary(min_size=1 + 2**power, max_size=1 + 2**power).map(bytes([0xD4 + power]).__add__)
    ),
)


def grown(inner):
    pairs = st.lists(st.tuples(st.one_of(texts, texts, texts, inner), inner), max_size=12)
    flat = pairs.map(lambda found: [part for pair in found for part in pair])
    return st.one_of(
        st.builds(container, st.just("array"), st.lists(inner, max_size=5), st.booleans()),
        st.builds(container, st.just("map"), flat, st.booleans()),
    )


values = st.recursive(leaves, grown, max_leaves=30)
streams = st.one_of(
    st.lists(values, max_size=4).map(b"".join),
    st.tuples(values, st.binary(max_size=12)).map(b"".join),
    st.binary(max_size=60),
)


@given(streams, st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6))
@example(b"\xdd\xff\xff\xff\xff", [1], 3)
def test_scanner_finds_what_the_oracle_finds_however_the_stream_is_cut(stream, steps, max_depth):
    scanner = MessageScanner(max_depth, 200)
    messages, fault, at, turn = [], None, 0, 0
    while at < len(stream) and fault is None:
        step = steps[turn % len(steps)]
        found, fault = scanner.feed(stream[at : at + step])
        messages += found
        at, turn = at + step, turn + 1
    expected, expected_fault = oracle_scan(stream, max_depth, 200)
    assert messages == expected
    if fault == "too_large" and expected_fault is None:  # announced, and refused before it came
        assert len(stream) - sum(map(len, messages)) <= 200
    else:
        assert fault == expected_fault
    if fault is None:
        assert scanner.pending == len(stream) - sum(map(len, messages))


@given(streams, st.integers(1, 6))
def test_check_refuses_what_the_oracle_refuses(message, max_depth):
    refused = check_message(message, max_depth)
    try:
        value, end = oracle_value(message, 0, 0, max_depth)
    except Short:
        assert refused is not None
        return
    except Flaw:
        assert refused is not None
        return
    flaws = oracle_flaws(value) | ({"trailing"} if end < len(message) else set())
    assert (refused is None) == (not flaws)
    if refused is not None:
        assert refused[0] in flaws


@given(values)
def test_what_passes_the_check_is_decoded_by_msgspec_and_keeps_every_key(message):
    if check_message(message) is None:
        value, _ = oracle_value(message, 0, 0, 32)
        decoded = msgspec.msgpack.decode(message)
        if value[0] == "map":
            assert len(decoded) == len(value[1]) // 2


def test_message_depth_is_32_containers():
    deepest = b"\x91" * 32 + b"\xc0"
    assert MessageScanner().feed(deepest) == ([deepest], None)
    assert MessageScanner().feed(b"\x91" + deepest) == ([], "too_deep")
    assert MessageScanner().feed(b"\x91" * 100_000) == ([], "too_deep")
    assert check_message(b"\x91" * 100_000) == ("too_deep", "[0]" * 32)


def test_what_is_announced_is_not_allocated():
    scanner = MessageScanner()
    assert scanner.feed(b"\xdd\xff\xff\xff\xff") == ([], None)
    assert scanner.pending == 5
    assert MessageScanner().feed(b"\xdb\xff\xff\xff\xff") == ([], "too_large")


def test_a_message_of_the_limit_passes_and_one_byte_more_does_not():
    def message(size):
        return b"\xc6" + (size - 5).to_bytes(4, "big") + bytes(size - 5)

    limit = 8 * 1024 * 1024
    assert MessageScanner().feed(message(limit)) == ([message(limit)], None)
    assert MessageScanner().feed(message(limit + 1)) == ([], "too_large")
    assert MessageScanner().feed(b"\xdd" + limit.to_bytes(4, "big") + bytes(limit)) == ([], "too_large")


def test_the_messages_before_a_fault_are_given_and_the_fault_stays():
    scanner = MessageScanner()
    assert scanner.feed(b"\x01\x02\xc1\x03") == ([b"\x01", b"\x02"], "reserved")
    assert scanner.feed(b"\x01") == ([], "reserved")


def test_a_message_that_comes_byte_by_byte_costs_linear_memory_and_time():
    message = b"\xc6" + (200_000).to_bytes(4, "big") + bytes(200_000)
    scanner = MessageScanner()
    for at in range(len(message) - 1):
        assert scanner.feed(message[at : at + 1]) == ([], None)
    assert scanner.feed(message[-1:]) == ([message], None)


@pytest.mark.parametrize("event", [b"\x81\xa4type\xa9example.1", b"\x82\xa4type\xa3a.1\xa1n\x81\xa1x\xc4\x02ab"])
def test_events_of_the_right_form_pass(event):
    assert check_event(event) is None


@pytest.mark.parametrize("case", REFUSED_EVENTS, ids=lambda case: case["why"])
def test_events_of_another_form_are_refused(case):
    assert check_event(bytes.fromhex(case["event_hex"])) is not None


events = st.lists(st.tuples(texts, values), max_size=4).map(
    lambda pairs: container("map", [b"\xa4type", b"\xa3a.1", *(part for pair in pairs for part in pair)], wide=False)
)


@given(st.one_of(values, events))
def test_event_form_is_what_the_oracle_says(event):
    (kind, inner), end = oracle_value(event, 0, 0, sys.maxsize)
    fine = (
        end == len(event)
        and kind == "map"
        and not oracle_flaws((kind, inner))
        and bool(inner)
        and inner[0] == ("str", b"type")
        and inner[1][0] == "str"
    )
    assert (check_event(event) is None) == fine


@pytest.mark.parametrize(("size", "fine"), [(65_535, True), (65_536, False)])
def test_event_size_limit(size, fine):
    event = b"\x82\xa4type\xa3a.1\xa1n\xc5" + (size - 15).to_bytes(2, "big") + bytes(size - 15)
    assert len(event) == size
    assert (check_event(event) is None) == fine
