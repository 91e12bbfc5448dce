from __future__ import annotations

import hashlib
import hmac

import golden
import pytest
import trie_reference
from hypothesis import given
from hypothesis import strategies as st
from trie_reference import sha

from engram import cid, record
from engram.native import _core

CASES = golden.FORMATS["challenge"]["cases"]
CHAIN = golden.load("trie")["chain"]
ID = sha(b"a challenge")
V1 = golden.FORMATS["challenge"]["v1_hmac_absent_validator"]


def payload_of(number: int) -> tuple[bytes, bytes]:
    """(K | H(payload), payload) of a record."""
    vector = record.stored_vector([float(number), 1.0])
    metadata = record.canonical_metadata({"i": number})
    digest, payload = record.encode_text(f"record-{number}", vector, metadata, "test/1")
    return cid.key_of(digest) + sha(payload), payload


def plain_walk(chal_id: bytes, count: int, m: int, records: list[tuple[bytes, bytes]]) -> tuple[bytes, list[int]]:
    """The chain over all records in trie order, from the text of the formats."""
    seed, ranks = sha(b"engram/pos/2/seed\n" + chal_id), []
    for _ in range(m):
        ranks.append(int.from_bytes(seed[:16], "big") * count >> 128)
        seed = sha(b"engram/pos/2/next\n" + seed + records[ranks[-1]][1])
    return seed, ranks


def test_golden_chain():
    payloads = sorted((b"record-%d" % i for i in range(CHAIN["n"])), key=sha)
    seed, ranks = _core.pos_seed(bytes.fromhex(CHAIN["chal_id_hex"])), []
    for _ in range(CHAIN["m"]):
        ranks.append(_core.pos_rank(seed, CHAIN["n"]))
        seed = _core.pos_next(seed, payloads[ranks[-1]])
    assert ranks[:4] == CHAIN["first_ranks"]
    assert seed.hex() == CHAIN["seed_16"]


def trie_of(records: list[tuple[bytes, bytes]]) -> trie_reference.Trie:
    return trie_reference.Trie({leaf[:32]: leaf[32:] for leaf, _ in records})


def shown(
    records: list[tuple[bytes, bytes]],
    chal_id: bytes,
    m: int,
    ranks: list[int],
    payloads: list[bytes],
    keys: list[bytes] | None = None,
) -> tuple[bytes, bytes, bytes | None, str | None]:
    """What a verifier makes of payloads, with an honest proof of leaves at ranks, or of keys."""
    trie = trie_of(records)
    leaves, multiproof = trie.prove(sorted(set(ranks))) if keys is None else trie.prove_keys(keys)
    return _core.pos_show(chal_id, trie.root(), len(records), m, keys, leaves, multiproof, payloads)


def hashes(payloads: list[bytes]) -> bytes:
    return b"".join(map(sha, payloads))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["n"]))
def test_golden_challenges(case):
    records = sorted(payload_of(i) for i in range(case["n"]))
    chal_id = bytes.fromhex(case["chal_id_hex"])
    ranks = case["payloads_by_rank"]
    payloads = [records[rank][1] for rank in ranks]
    keys = sorted(records[rank][0][:32] for rank in ranks) if case["mode"] == 3 else None
    seed = bytes.fromhex(case["seed_m_hex"])
    assert shown(records, chal_id, case["m"], ranks, payloads, keys) == (hashes(payloads), seed, None, None)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**64 - 1))
def test_a_rank_is_below_the_count(seed, count):
    assert _core.pos_rank(seed, count) == int.from_bytes(seed[:16], "big") * count >> 128 < count


@given(st.binary(min_size=32, max_size=32), st.integers(1, 30), st.integers(1, 60))
def test_a_walk_is_the_plain_one(chal_id, count, m):
    records = sorted(payload_of(i) for i in range(count))
    seed, ranks = plain_walk(chal_id, count, m, records)
    distinct = list(dict.fromkeys(ranks))
    payloads = [records[rank][1] for rank in distinct]
    assert shown(records, chal_id, m, ranks, payloads) == (hashes(payloads), seed, None, None)
    early = shown(records, chal_id, m, ranks, payloads[:-1])
    assert early[2:] == (records[distinct[-1]][0], None)


def test_by_key_the_payloads_are_those_that_are_held_in_order():
    records = sorted(payload_of(i) for i in range(9))
    keys = sorted([*(records[rank][0][:32] for rank in (1, 4, 7)), sha(b"not held")])
    payloads = [records[rank][1] for rank in (1, 4, 7)]
    seed = sha(b"engram/pos/2/seed\n" + ID)
    for at, payload in enumerate(payloads):
        early = shown(records, ID, 4, [], payloads[:at], keys)
        assert early == (hashes(payloads[:at]), seed, records[(1, 4, 7)[at]][0], None)
        seed = sha(b"engram/pos/2/next\n" + seed + payload)
    assert shown(records, ID, 4, [], payloads, keys) == (hashes(payloads), seed, None, None)
    for others in ([*payloads, payloads[0]], payloads[::-1], payloads[1:], [records[2][1]]):
        assert "those of the keys that are held" in str(shown(records, ID, 4, [], others, keys)[3])


def test_what_the_chain_did_not_draw_is_refused():
    records = sorted(payload_of(i) for i in range(5))
    ranks = list(dict.fromkeys(plain_walk(ID, 5, 3, records)[1]))
    payloads = [records[rank][1] for rank in ranks]
    other = next(rank for rank in range(5) if rank not in ranks)
    not_theirs = "the leaves that it opens are not those that the payloads draw, or not theirs"
    for opened, sent, wrong in (
        (ranks, [*payloads, payloads[0]], "and the chain drew"),
        (ranks, [records[other][1], *payloads[1:]], not_theirs),
        (ranks[:-1], payloads, not_theirs),
        ([*ranks, other], payloads, not_theirs),
        (ranks[1:], payloads[:0], not_theirs),
        ([*ranks, other], payloads[:-1], not_theirs),
        (ranks, [b""] * 1025, "at most 1024 links, not 1025"),
    ):
        found = shown(records, ID, 3, opened, sent)
        assert found[0] == hashes(sent)
        assert wrong in str(found[3])
    for changed in (b"", payloads[0][:-1], payloads[0] + b"x", b"EPR1" + bytes(60)):
        for keys in (None, sorted(records[rank][0][:32] for rank in set(ranks))):
            sent = [changed, *payloads[1:]]
            found = shown(records, ID, 3, ranks, sent, keys)
            assert found[:3] == (hashes(sent), b"", None)
            assert str(found[3]).startswith("payload 0: ")


def test_a_multiproof_that_does_not_hold_is_said_first():
    records = sorted(payload_of(i) for i in range(5))
    trie = trie_of(records)
    leaves, multiproof = trie.prove([0])
    found = _core.pos_show(ID, trie.root(), 5, 1, None, leaves, multiproof + b"x", [b"no record"])
    assert found == (sha(b"no record"), b"", None, "the multiproof does not hold: bytes are left over")


@pytest.mark.parametrize("m", [0, 1025])
def test_a_chain_that_no_challenge_has_is_refused(m):
    records = [payload_of(0)]
    assert "1 to 1024" in str(shown(records, ID, m, [0], [records[0][1]])[3])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_seeds_and_ids_have_32_bytes(length):
    for call in (
        lambda: _core.pos_seed(bytes(length)),
        lambda: _core.pos_rank(bytes(length), 1),
        lambda: _core.pos_next(bytes(length), b""),
        lambda: _core.pos_show(bytes(length), ID, 1, 1, None, [], b"", []),
        lambda: _core.pos_show(ID, bytes(length), 1, 1, None, [], b"", []),
        lambda: _core.pos_show(ID, ID, 1, 1, [bytes(length)], [], b"", []),
    ):
        with pytest.raises(ValueError, match="32 bytes"):
            call()


# -- version 1 --------------------------------------------------------------------------------------------------------


def test_golden_version_1():
    key = sha(bytes(32) + bytes.fromhex(V1["nonce_hex"]))
    assert key.hex() == V1["hmac_key_hex"]
    assert _core.hmac_v1(key, sha(bytes.fromhex(V1["f32le_hex"])).hex()) == V1["proof_hex"]


@given(st.binary(min_size=32, max_size=32), st.lists(st.none() | st.binary(max_size=8), max_size=20))
def test_version_1_is_the_standard_librarys_hmac(key, found):
    hashes = [None if data is None else sha(data).hex() for data in found]
    expected = [
        hashed and hmac.digest(key, at.to_bytes(4, "little") + hashed.encode(), hashlib.sha256).hex()
        for at, hashed in enumerate(hashes)
    ]
    assert _core.hmac_v1_batch(key, hashes) == expected
    for hashed in filter(None, hashes):
        assert _core.hmac_v1(key, hashed) == hmac.digest(key, hashed.encode(), "sha256").hex()


def test_version_1_takes_a_key_of_32_bytes_and_hashes_of_64_digits():
    for call in (_core.hmac_v1, lambda key, found: _core.hmac_v1_batch(key, [found])):
        with pytest.raises(ValueError, match="32 bytes"):
            call(bytes(31), "0" * 64)
        with pytest.raises(ValueError, match="64 digits"):
            call(bytes(32), "0" * 63)
