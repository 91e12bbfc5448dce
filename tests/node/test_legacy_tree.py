"""The first Engram's Merkle tree, held to roots that it made itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from engram.node._legacy_tree import legacy_leaf, legacy_tree

MERKLE = json.loads((Path(__file__).parents[1] / "data" / "legacy_engram.json").read_text())["merkle"]


def leaves(count):
    pairs = zip(MERKLE["cids"][:count], MERKLE["embedding_hashes"][:count], strict=True)
    return [legacy_leaf(cid, found) for cid, found in pairs]


@pytest.mark.parametrize(("count", "root"), MERKLE["roots_first_n"].items())
def test_the_roots_are_the_first_engrams(count, root):
    given = leaves(int(count))
    assert legacy_tree(given).root.hex() == root
    assert legacy_tree(given[::-1]).root.hex() == root


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 33, 64, 100])
def test_every_leaf_leads_to_the_root_and_no_other_does(count):
    given = [hashlib.sha256(bytes([n])).digest() for n in range(count)]
    tree = legacy_tree(given)
    assert tree.count == count
    for leaf in given:
        found = leaf
        for step in tree.steps(leaf):
            beside = bytes.fromhex(step.sibling)
            found = hashlib.sha256(b"node:" + (beside + found if step.side == "left" else found + beside)).digest()
        assert found == tree.root
    for other in (bytes(32), b"\xff" * 32, hashlib.sha256(b"other").digest()):
        assert tree.steps(other) is None


def test_over_nothing_the_root_is_zeros():
    assert (legacy_tree([]).root, legacy_tree([]).count, legacy_tree([]).steps(bytes(32))) == (bytes(32), 0, None)
