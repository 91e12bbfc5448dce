from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import golden
import pytest
import trie_reference as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from trie_reference import sha

from engram import cid, record
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHALLENGE = golden.FORMATS["challenge"]
VERIFIED = CHALLENGE["multiproofs"]


def row(key: bytes, value: bytes, location: int = 0) -> bytes:
    return key + value + location.to_bytes(8, "little")


def packed(leaves: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(row(key, value) for key, value in leaves)


def built(held: reference.Trie) -> _core.TrieView:
    return _core.Trie(packed(held.held.items())).commit()


def hexes(items: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(item) for item in items]


def spelled(number: int) -> bytes:
    """A key of a few: some are near each other, for long paths, some are far apart."""
    if number % 3:
        return sha(number.to_bytes(4, "big"))
    return bytes([number % 2 * 255]) * 31 + bytes([number % 256])


numbers = st.integers(0, 60)
keys = numbers.map(spelled)
values = st.integers(0, 3).map(lambda number: sha(bytes([number])))
leaves = st.dictionaries(keys, values, max_size=40)


# -- golden -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", golden.load("trie")["trie"], ids=lambda case: str(case["n"]))
def test_golden_roots(case):
    payloads = [b"record-%d" % i for i in range(case["n"])]
    held = reference.Trie({sha(payload): sha(payload) for payload in payloads})
    assert held.root().hex() == case["root"]
    view = built(held)
    assert (view.root.hex(), len(view)) == (case["root"], case["n"])


def challenged(count: int) -> reference.Trie:
    held = reference.Trie()
    for i in range(count):
        vector = record.stored_vector([float(i), 1.0])
        digest, payload = record.encode_text(f"record-{i}", vector, record.canonical_metadata({"i": i}), "test/1")
        held.insert(cid.key_of(digest), sha(payload))
    return held


@pytest.mark.parametrize("case", CHALLENGE["cases"], ids=lambda case: str(case["n"]))
def test_golden_challenges(case):
    held = challenged(case["n"])
    view = built(held)
    assert view.root.hex() == case["state_root_hex"]
    asked = hexes(case["keys_hex"]) if case["mode"] == 3 else None
    opened, multiproof = view.prove(case["ranks"]) if asked is None else view.prove_keys(asked)
    assert ([leaf.hex() for leaf in opened], multiproof.hex()) == (case["leaves_hex"], case["multiproof_hex"])
    ranks = _core.verify_multiproof(view.root, case["n"], opened, multiproof, asked)
    assert ranks == reference.verify(view.root, case["n"], opened, multiproof, asked)
    if asked is None:
        assert ranks == sorted(set(case["ranks"]))
    else:
        assert [any(leaf[:32] == key for leaf in opened) for key in asked] == case["held"]


def test_golden_multiproof():
    opened, multiproof = hexes(VERIFIED["leaves_hex"]), bytes.fromhex(VERIFIED["multiproof_hex"])
    root = bytes.fromhex(VERIFIED["root_hex"])
    assert _core.verify_multiproof(root, VERIFIED["count"], opened, multiproof, None) == [0]


@pytest.mark.parametrize("case", VERIFIED["refused"], ids=lambda case: case["why"])
def test_golden_refused_multiproofs(case):
    multiproof = bytes.fromhex(VERIFIED["multiproof_hex"])
    if "splice" in case:
        offset, taken, put = case["splice"]
        multiproof = multiproof[:offset] + bytes.fromhex(put) + multiproof[offset + taken :]
    given_leaves = case.get("leaves_hex", VERIFIED["leaves_hex"])
    opened = [] if given_leaves == "none" else hexes(given_leaves or [])
    with pytest.raises(ValueError, match=r"^[a-z0-9^\-,' ]+$"):
        _core.verify_multiproof(bytes.fromhex(VERIFIED["root_hex"]), VERIFIED["count"], opened, multiproof, None)
    with pytest.raises(reference.Invalid):
        reference.verify(bytes.fromhex(VERIFIED["root_hex"]), VERIFIED["count"], opened, multiproof, None)


def two_leaves_closed(count: bytes) -> tuple[bytes, int, list[bytes], bytes]:
    """A root over an opened leaf and a closed subtree, whose count is written as given."""
    leaf, other = bytes(64), sha(b"other")
    value = sum((byte & 127) << 7 * place for place, byte in enumerate(count))
    root = reference.node_hash((1, sha(b"\x02" + leaf)), (value % 2**64, other))
    return root, value + 1, [leaf], b"\x02\x00" + count + other


@pytest.mark.parametrize("number", [1, 127, 128, 2**64 - 2])
def test_a_count_is_read_in_its_one_form(number):
    root, count, opened, multiproof = two_leaves_closed(reference.varint(number))
    if count <= 2**64 - 1:
        assert _core.verify_multiproof(root, count, opened, multiproof, None) == [0]


@pytest.mark.parametrize("form", CHALLENGE["refused_varints"])
def test_golden_refused_varints(form):
    root, count, opened, multiproof = two_leaves_closed(bytes.fromhex(form))
    with pytest.raises(ValueError, match=r"count|early"):
        _core.verify_multiproof(root, min(max(count, 2), 2**64 - 1), opened, multiproof, None)


# -- building and changing --------------------------------------------------------------------------------------------


def test_no_leaf_a_leaf_twice_and_bytes_that_are_no_leaves():
    empty = _core.Trie().commit()
    assert (empty.root, len(empty), empty.find(bytes(32))) == (bytes(32), 0, None)
    with pytest.raises(ValueError, match="twice"):
        _core.Trie(bytes(144))
    with pytest.raises(ValueError, match="72 bytes"):
        _core.Trie(bytes(71))
    with pytest.raises(ValueError, match="32 bytes"):
        _core.Trie().insert(b"short", bytes(32))
    with pytest.raises(IndexError):
        empty.leaf(0)
    with pytest.raises(ValueError, match="rank 0"):
        empty.prove([0])
    with pytest.raises(ValueError, match="nothing"):
        empty.prove([])


@given(leaves)
@settings(deadline=None)
def test_a_built_trie_is_the_references(held):
    view = _core.Trie(packed(held.items())).commit()
    expected = reference.Trie(held)
    assert (view.root, len(view)) == (expected.root(), len(held))
    for rank, (key, value) in enumerate(expected.leaves()):
        assert view.leaf(rank) == (key, value, 0)
        assert view.find(key) == (rank, value, 0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), keys, values),
        st.tuples(st.just("remove"), keys),
        st.tuples(st.just("update"), st.lists(st.tuples(keys, values), max_size=30), st.lists(keys, max_size=30)),
        st.tuples(st.just("commit")),
    ),
    max_size=60,
)


@given(leaves, steps)
@settings(deadline=None, max_examples=200)
def test_any_history_gives_the_references_root_and_snapshots_stay(held, steps):
    trie, expected = _core.Trie(packed(held.items())), reference.Trie(dict(held))
    kept = [(trie.commit(), expected.copy())]
    for step in steps:
        match step:
            case "insert", key, value:
                assert trie.insert(key, value) == expected.insert(key, value)
            case "remove", key:
                assert trie.remove(key) == expected.remove(key)
            case "update", inserted, removed:
                trie.update(packed(inserted), b"".join(removed))
                for key in removed:
                    expected.remove(key)
                for key, value in inserted:
                    expected.insert(key, value)
            case _:
                kept.append((trie.commit(), expected.copy()))
        assert len(trie) == len(expected.held)
    kept.append((trie.commit(), expected.copy()))
    for view, then in kept:
        assert (view.root, len(view)) == (then.root(), len(then.held))
        assert [view.leaf(rank)[:2] for rank in range(len(view))] == then.leaves()


@given(leaves)
@settings(deadline=None)
def test_a_saved_trie_comes_back(held):
    view = _core.Trie(packed(held.items())).commit()
    saved = view.save()
    again = _core.Trie.load(saved)
    assert again.commit().save() == saved
    again.insert(bytes(32), bytes(32))
    held = reference.Trie(held)
    held.insert(bytes(32), bytes(32))
    assert again.commit().root == held.root()


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_no_saved_trie(data, marked):
    with pytest.raises(ValueError, match=r"its? "):
        _core.Trie.load(b"ETR1" + data if marked else data)


@given(leaves, st.data())
def test_a_damaged_saved_trie_is_refused(held, data):
    saved = _core.Trie(packed(held.items())).commit().save()
    at, change = data.draw(st.integers(0, len(saved) - 1)), data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"its? "):
        _core.Trie.load(saved[:at] + bytes([saved[at] ^ change]) + saved[at + 1 :])


def test_readers_prove_while_the_writer_goes_on():
    trie = _core.Trie(packed((spelled(n), sha(b"%d" % n)) for n in range(1, 3000, 3)))
    view = trie.commit()
    root, wrong, stop = view.root, [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            opened, multiproof = view.prove(range(0, len(view), 7))
            if _core.verify_multiproof(root, len(view), opened, multiproof, None) != list(range(0, len(view), 7)):
                wrong.append(opened)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(2000):
        trie.insert(sha(b"more %d" % n), bytes(32))
        if n % 50 == 0:
            trie.commit()
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert (len(trie), len(view)) == (3000, 1000)


# -- proofs -----------------------------------------------------------------------------------------------------------


@given(leaves.filter(len), st.data())
@settings(deadline=None)
def test_leaves_by_rank_are_proved_as_the_reference_does(held, data):
    expected = reference.Trie(held)
    view = built(expected)
    ranks = data.draw(st.lists(st.integers(0, len(held) - 1), min_size=1, max_size=12))
    opened, multiproof = view.prove(ranks)
    assert (opened, multiproof) == expected.prove(ranks)
    assert _core.verify_multiproof(view.root, len(held), opened, multiproof, None) == sorted(set(ranks))


@given(leaves, st.lists(keys, min_size=1, max_size=12))
@settings(deadline=None)
def test_keys_held_or_not_are_proved_as_the_reference_does(held, asked):
    expected = reference.Trie(held)
    view = built(expected)
    opened, multiproof = view.prove_keys(asked)
    assert (opened, multiproof) == expected.prove_keys(asked)
    ascending = sorted(set(asked))
    ranks = _core.verify_multiproof(view.root, len(held), opened, multiproof, ascending)
    assert ranks == reference.verify(view.root, len(held), opened, multiproof, ascending)
    assert [view.leaf(rank)[0] for rank in ranks] == [leaf[:32] for leaf in opened]
    assert {key for key in asked if key in held} == {leaf[:32] for leaf in opened} & set(asked)


@pytest.mark.parametrize("asked", [[], [bytes(32)] * 2, [b"\xff" * 32, bytes(32)]])
def test_keys_to_verify_ascend_and_are_distinct(asked):
    with pytest.raises(ValueError, match="ascending"):
        _core.verify_multiproof(bytes(32), 0, [], b"", asked)


def verdict(verify, *proof):
    try:
        return verify(*proof)
    except (ValueError, reference.Invalid):
        return None


mutations = st.one_of(
    st.tuples(st.just("flip"), st.integers(0), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0), st.integers(1, 40)),
    st.tuples(st.just("put"), st.integers(0), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("swap"), st.integers(0), st.integers(0)),
)


def mutated(multiproof: bytes, mutation: tuple[str, int, object]) -> bytes:
    kind, at, change = mutation
    at %= len(multiproof) + 1
    match kind, change:
        case "flip", int(mask):
            return multiproof[:at] + bytes([byte ^ mask for byte in multiproof[at : at + 1]]) + multiproof[at + 1 :]
        case "cut", int(size):
            return multiproof[:at] + multiproof[at + size :]
        case "put", bytes(data):
            return multiproof[:at] + data + multiproof[at:]
        case _, int(other):
            low, high = sorted((at, other % (len(multiproof) + 1)))
            return multiproof[high:] + multiproof[low:high] + multiproof[:low]
    raise AssertionError(kind)


@given(leaves.filter(lambda held: len(held) > 1), st.data(), st.lists(mutations, min_size=1, max_size=3))
@settings(deadline=None, max_examples=400)
def test_no_mutant_of_a_multiproof_is_accepted(held, data, mutations):
    expected = reference.Trie(held)
    view = built(expected)
    asked = sorted(data.draw(st.sets(keys, min_size=1, max_size=5))) if data.draw(st.booleans()) else None
    ranks = data.draw(st.lists(st.integers(0, len(held) - 1), min_size=1, max_size=5))
    opened, multiproof = view.prove(ranks) if asked is None else view.prove_keys(asked)
    mutant = multiproof
    for mutation in mutations:
        mutant = mutated(mutant, mutation)
    proof = view.root, len(held), opened, mutant, asked
    assert verdict(_core.verify_multiproof, *proof) == verdict(reference.verify, *proof)
    assert mutant == multiproof or verdict(_core.verify_multiproof, *proof) is None


@given(leaves.filter(lambda held: len(held) > 1), st.data())
@settings(deadline=None, max_examples=300)
def test_a_proof_by_key_is_of_those_keys_alone(held, data):
    view = built(reference.Trie(held))
    proved = sorted(data.draw(st.sets(keys, min_size=1, max_size=5)))
    asked = sorted(data.draw(st.sets(keys, min_size=1, max_size=5)))
    proof = view.root, len(held), *view.prove_keys(proved), asked
    found = verdict(_core.verify_multiproof, *proof)
    assert found == verdict(reference.verify, *proof)
    by_rank = view.root, len(held), *view.prove_keys(proved), None
    assert verdict(_core.verify_multiproof, *by_rank) == verdict(reference.verify, *by_rank)


def test_a_node_over_one_leaf_is_refused_though_it_hashes_to_the_root():
    leaf = bytes(64)
    hashed = sha(b"\x02" + leaf)
    inner = reference.node_hash((1, hashed), (0, bytes(32)))
    root = reference.node_hash((1, inner), (1, sha(b"other")))
    proof = root, 2, [leaf], b"\x01\x02\x00\x00\x00\x01" + sha(b"other"), None
    with pytest.raises(ValueError, match="fewer than two"):
        _core.verify_multiproof(*proof)
    assert verdict(reference.verify, *proof) is None


def test_a_subtree_deeper_than_its_keys_is_refused():
    last = bytes(64), bytes(31) + b"\x01" + bytes(32)
    view = _core.Trie(packed((leaf[:32], leaf[32:]) for leaf in last)).commit()
    opened, multiproof = view.prove([0, 1])
    assert _core.verify_multiproof(view.root, 2, opened, multiproof, None) == [0, 1]
    with pytest.raises(ValueError, match="deeper"):
        _core.verify_multiproof(view.root, 2, opened, b"\x01" * (1 << 22), None)


def test_a_subtree_with_more_leaves_than_keys_is_refused_though_it_hashes_to_the_root():
    leaf, two = bytes(64), sha(b"two leaves where one key is")
    root = reference.node_hash((1, sha(b"\x02" + leaf)), (2, two))
    for _ in range(255):
        root = reference.node_hash((3, root), (0, bytes(32)))
    proof = root, 3, [leaf], b"\x01" * 255 + b"\x02\x00\x02" + two + b"\x00\x00" * 255, None
    with pytest.raises(ValueError, match="more leaves than"):
        _core.verify_multiproof(*proof)
    assert verdict(reference.verify, *proof) is None


# -- groups -----------------------------------------------------------------------------------------------------------


@given(leaves, st.sampled_from([0, 1, 2, 2**14 - 1]) | st.integers(0, 2**14 - 1) | numbers.map(spelled))
@settings(deadline=None)
def test_a_group_is_proved_whole(held, group):
    group = group if isinstance(group, int) else int.from_bytes(group[:2], "big") >> 2
    view = built(reference.Trie(held))
    of_group = [rank for rank, key in enumerate(sorted(held)) if int.from_bytes(key[:2], "big") >> 2 == group]
    first, count = view.group(group)
    assert list(range(first, first + count)) == of_group
    opened, multiproof = view.prove_group(group)
    proof = view.root, len(held), opened, multiproof, group
    assert _core.verify_group(*proof) == ((first, count) if count else (0, 0))
    for rank in of_group:
        fewer = view.prove([other for other in range(len(held)) if other != rank] or [0])
        if len(held) > 1:
            assert verdict(_core.verify_group, view.root, len(held), *fewer, group) is None


def test_a_group_is_one_of_16384():
    with pytest.raises(ValueError, match="16384"):
        _core.Trie().commit().group(2**14)
    with pytest.raises(OverflowError):
        _core.Trie().commit().group(-1)
