"""Inclusion and consistency, against an RFC 6962 tree that is not ours, and against forgers."""

from __future__ import annotations

import hashlib
import random
from functools import cache

import golden
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from engram import events
from engram.events import verify_consistency, verify_inclusion
from engram.events._log_proof import consistency_ranges, inclusion_ranges, subtrees
from engram.native import _core

EMPTY = hashlib.sha256().digest()
SIZES = 130
EVENTS = [b"event %d" % number for number in range(SIZES)]


@cache
def plain(start: int, end: int) -> bytes:
    """The tree hash as RFC 6962 §2.1 writes it down."""
    if end - start == 0:
        return EMPTY
    if end - start == 1:
        return hashlib.sha256(b"\0" + EVENTS[start]).digest()
    middle = start + (1 << ((end - start - 1).bit_length() - 1))
    return hashlib.sha256(b"\1" + plain(start, middle) + plain(middle, end)).digest()


def plain_path(position: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 §2.1.1."""
    if end - start == 1:
        return []
    middle = start + (1 << ((end - start - 1).bit_length() - 1))
    if position < middle:
        return [*plain_path(position, start, middle), plain(middle, end)]
    return [*plain_path(position, middle, end), plain(start, middle)]


def plain_subproof(first: int, start: int, end: int, *, known: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 §2.1.2."""
    if first == end:
        return [] if known else [plain(start, end)]
    middle = start + (1 << ((end - start - 1).bit_length() - 1))
    if first <= middle:
        return [*plain_subproof(first, start, middle, known=known), plain(middle, end)]
    return [*plain_subproof(first, middle, end, known=False), plain(start, middle)]


@pytest.fixture(scope="module")
def other():
    tree = InmemoryTree(algorithm="sha256")
    tree.append_entries(EVENTS)
    return tree


def test_every_event_of_every_size_is_proved_as_the_other_implementation_proves_it(other):
    for size in range(1, SIZES + 1):
        root = other.get_root(size)
        assert root == plain(0, size)
        for position in range(size):
            path = [plain(*each) for each in inclusion_ranges(position, size)]
            assert path == other.prove_inclusion(position + 1, size).path[1:] == plain_path(position, 0, size)
            assert verify_inclusion(EVENTS[position], position, size, path, root)


def test_every_two_sizes_are_proved_consistent():
    for second in range(SIZES + 1):
        for first in range(second + 1):
            path = [plain(*each) for each in consistency_ranges(first, second)]
            assert path == ([] if first == 0 else plain_subproof(first, 0, second, known=True))
            assert verify_consistency(first, plain(0, first), second, plain(0, second), path)
            if second:
                assert not verify_consistency(first, plain(0, first), second, bytes(32), path) or first == 0


@settings(deadline=None)
@given(st.integers(1, 2**64 - 1), st.data())
def test_paths_of_huge_logs_are_of_complete_subtrees_and_no_longer_than_allowed(size, data):
    position, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    for ranges in (inclusion_ranges(position, size), consistency_ranges(first, size)):
        assert len(ranges) <= _core.LONGEST_LOG_PATH
        for start, end in ranges:
            pieces = subtrees(start, end)
            assert [number << height for height, number in pieces] == [
                start + sum(1 << height for height, _ in pieces[:at]) for at in range(len(pieces))
            ]
            assert sum(1 << height for height, _ in pieces) == end - start
            assert [height for height, _ in pieces] == sorted({height for height, _ in pieces}, reverse=True)


def mutants(path: list[bytes], rng: random.Random):
    """Paths that are not this one: every byte, cut, lengthened, repeated, out of order."""
    for at, each in enumerate(path):
        for byte in range(32):
            changed = bytearray(each)
            changed[byte] ^= 1 << rng.randrange(8)
            yield [*path[:at], bytes(changed), *path[at + 1 :]]
        yield [*path[:at], *path[at + 1 :]]
        yield [*path[:at], each[:31], *path[at + 1 :]]
        yield [*path[:at], each + b"\0", *path[at + 1 :]]
        yield [*path[:at], b"", *path[at + 1 :]]
        yield [*path[:at], each, *path[at:]]
    for extra in (bytes(32), EMPTY, plain(0, 1), plain(0, 2)):
        yield [*path, extra]
        yield [extra, *path]
    yield path + [bytes(32)] * 1000
    if len(set(path)) > 1:
        yield path[::-1]
        yield [path[1], path[0], *path[2:]]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64, 100, 129])
def test_no_forged_inclusion_is_believed(size):
    rng = random.Random(size)
    root = plain(0, size)
    for position in {0, size // 3, size // 2, size - 1}:
        path = plain_path(position, 0, size)
        event = EVENTS[position]
        assert verify_inclusion(event, position, size, path, root)
        for forged in mutants(path, rng):
            assert not verify_inclusion(event, position, size, forged, root)
        for other in {*range(SIZES), -1, 2**63, 2**64, 2**64 + position} - {position}:
            assert not verify_inclusion(event, other, size, path, root)
        for other in (event + b"\0", event[:-1], b"", b"\0" + event, EVENTS[(position + 1) % SIZES]):
            assert not verify_inclusion(other, position, size, path, root)
        for other in (plain(0, size + 1), bytes(32), b"", root[:31], root + b"\0"):
            assert not verify_inclusion(event, position, size, path, other)


def test_a_size_under_which_the_path_has_another_shape_is_not_believed():
    """Sizes of one shape are told apart by their roots: a checkpoint signs a size and a root together."""
    path, root = plain_path(3, 0, 100), plain(0, 100)
    for other in (0, 1, 3, 4, 64, 129, 2**32, 2**64 - 1, 2**64, -1):
        assert not verify_inclusion(EVENTS[3], 3, other, path, root)
    for other in (65, 99, 101, 128):
        assert not verify_inclusion(EVENTS[3], 3, 100, path, plain(0, other))


def test_a_node_is_not_believed_to_be_an_event():
    """Leaves and nodes are hashed apart, so that the two halves of a node are no event."""
    node = plain(0, 1) + plain(1, 2)
    assert not verify_inclusion(node, 0, 1, [], plain(0, 2))
    assert not verify_inclusion(b"\1" + node, 0, 1, [], plain(0, 2))


@pytest.mark.parametrize(
    ("first", "second"), [(1, 2), (1, 100), (2, 3), (3, 4), (4, 7), (6, 8), (7, 100), (64, 100), (64, 128), (99, 100)]
)
def test_no_forged_consistency_is_believed(first, second):
    rng = random.Random(first)
    path = plain_subproof(first, 0, second, known=True)
    roots = plain(0, first), plain(0, second)
    assert verify_consistency(first, roots[0], second, roots[1], path)
    for forged in mutants(path, rng):
        assert not verify_consistency(first, roots[0], second, roots[1], forged)
    for other in (bytes(32), b"", roots[1], plain(0, first + 1), roots[0] + b"\0"):
        assert not verify_consistency(first, other, second, roots[1], path)
    for other in (bytes(32), b"", roots[0], plain(0, second + 1), roots[1][:31]):
        assert not verify_consistency(first, roots[0], second, other, path)
    assert not verify_consistency(second, roots[1], first, roots[0], path)
    for wrong in (-1, 0, second + 1, 2**64):
        assert not verify_consistency(wrong, roots[0], second, roots[1], path)
    for wrong in (-1, 0, first - 1, 2**64):
        assert not verify_consistency(first, roots[0], wrong, roots[1], path)


def test_another_history_is_not_consistent():
    """A fork: the same size, one event of the past another."""
    forked = [hashlib.sha256(b"\0" + event).digest() for event in [b"forged", *EVENTS[1:8]]]
    root = _core.subtree_roots(b"".join(forked), 8)
    for path in (plain_subproof(5, 0, 8, known=True), [], [root]):
        assert not verify_consistency(5, plain(0, 5), 8, root, path)
    assert not verify_consistency(8, plain(0, 8), 8, root, [])


def test_of_equal_sizes_and_the_empty_log_the_path_is_empty():
    assert verify_consistency(0, EMPTY, 0, EMPTY, [])
    assert verify_consistency(0, EMPTY, 7, plain(0, 7), [])
    assert verify_consistency(7, plain(0, 7), 7, plain(0, 7), [])
    assert not verify_consistency(7, plain(0, 7), 7, plain(0, 7), [plain(0, 7)])
    assert not verify_consistency(0, EMPTY, 7, plain(0, 7), [plain(0, 7)])
    assert not verify_consistency(0, bytes(32), 7, plain(0, 7), [])
    assert not verify_consistency(0, EMPTY, 0, bytes(32), [])
    assert not verify_inclusion(b"", 0, 0, [], EMPTY)


# -- frames -----------------------------------------------------------------------------------------------------------


def test_the_golden_logs_events_are_proved_at_their_frames_ends_and_at_the_logs():
    golden_log = golden.FORMATS["log"]
    segment = bytes.fromhex(golden_log["segment_hex"])
    state, held = _core.LogState(), []
    for frame in golden_log["frames"]:
        data = segment[frame["offset"] : frame["offset"] + frame["bytes"]]
        before = state.copy()
        state.scan(data, True, 0)
        new = _core.frame_events(data)
        held += new
        for number, path in enumerate(_core.frame_paths(before, new, range(len(new)))):
            assert verify_inclusion(new[number], before.size + number, state.size, path, state.root)
    for position, path in golden.FORMATS["checkpoint"]["inclusion_paths_of_all_events_hex"].items():
        wanted = [bytes.fromhex(each) for each in path]
        assert _core.frame_paths(_core.LogState(), held, [int(position)]) == [wanted]
        assert verify_inclusion(held[int(position)], int(position), len(held), wanted, state.root)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 90), st.integers(1, 40), st.data())
def test_a_frame_of_any_size_after_any_log_is_proved(before, count, data):
    state = _core.LogState(before, [plain(n << h, (n + 1) << h) for h, n in subtrees(0, before)])
    wanted = data.draw(st.lists(st.integers(0, count - 1), max_size=8))
    found = _core.frame_paths(state, EVENTS[before : before + count], wanted)
    assert found == [plain_path(before + number, 0, before + count) for number in wanted]


def test_an_event_that_a_frame_has_not_is_refused():
    for wanted in ([0], [1], [2**63]):
        with pytest.raises(IndexError):
            _core.frame_paths(_core.LogState(), [], wanted)
    with pytest.raises(OverflowError):
        _core.frame_paths(_core.LogState(), [b"x"], [-1])
    assert _core.frame_paths(_core.LogState(), [], []) == []


def test_subtrees_of_other_widths_are_refused():
    for data, width in ((bytes(31), 1), (bytes(64), 3), (bytes(96), 2), (bytes(32), 0)):
        with pytest.raises(ValueError, match="whole subtrees"):
            _core.subtree_roots(data, width)
    assert _core.subtree_roots(b"", 256) == b""


def test_leaves_are_hashed_as_the_log_hashes_them():
    assert _core.leaf_hashes(EVENTS) == b"".join(events.leaf_hash(event) for event in EVENTS)
