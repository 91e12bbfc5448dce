from __future__ import annotations

import hashlib

import golden
import pytest

from engram import cid, record
from engram.native import _core


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def plain_root(leaves: dict[bytes, bytes], depth: int = 0) -> bytes:
    """The trie's definition, spelled out: an oracle."""
    if not leaves:
        return bytes(32)
    if len(leaves) == 1:
        [(key, value)] = leaves.items()
        return sha(b"\x02" + key + value)
    bit = {key: key[depth // 8] >> (7 - depth % 8) & 1 for key in leaves}
    sides = [{key: value for key, value in leaves.items() if bit[key] == side} for side in (0, 1)]
    counts = b"".join(len(side).to_bytes(8, "big") for side in sides)
    return sha(b"\x03" + counts + plain_root(sides[0], depth + 1) + plain_root(sides[1], depth + 1))


@pytest.mark.parametrize("case", golden.load("trie")["trie"], ids=lambda case: str(case["n"]))
def test_golden_roots(case):
    payloads = [b"record-%d" % i for i in range(case["n"])]
    leaves = {sha(payload): sha(payload) for payload in payloads}
    assert plain_root(leaves).hex() == case["root"]
    packed = b"".join(key + value for key, value in leaves.items())
    assert _core.trie_root(packed) == (bytes.fromhex(case["root"]), case["n"])


@pytest.mark.parametrize("case", golden.FORMATS["challenge_cases_roots"], ids=lambda case: str(case["n"]))
def test_golden_roots_of_real_records(case):
    packed = b""
    for i in range(case["n"]):
        vector = record.stored_vector([float(i), 1.0])
        digest, payload = record.encode_text(f"record-{i}", vector, record.canonical_metadata({"i": i}), "test/1")
        packed += cid.key_of(digest) + sha(payload)
    assert _core.trie_root(packed)[0].hex() == case["state_root_hex"]


def test_no_leaf_and_a_leaf_twice():
    assert _core.trie_root(b"") == (bytes(32), 0)
    with pytest.raises(ValueError, match="twice"):
        _core.trie_root(bytes(128))
