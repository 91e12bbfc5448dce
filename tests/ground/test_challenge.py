from __future__ import annotations

import hashlib
import hmac

import golden
import pytest
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["n"]))
def test_golden_challenges(case):
    records = sorted(payload_of(i) for i in range(case["n"]))
    chal_id = bytes.fromhex(case["chal_id_hex"])
    payloads = [records[rank][1] for rank in case["payloads_by_rank"]]
    if case["mode"] == 3:
        seed, leaves = _core.pos_chain(chal_id, payloads)
    else:
        seed, ranks, leaves = _core.pos_walk(chal_id, case["n"], case["m"], payloads)
        assert ranks == case["payloads_by_rank"] == list(dict.fromkeys(case["ranks"]))
    assert seed.hex() == case["seed_m_hex"]
    assert leaves == [records[rank][0] for rank in case["payloads_by_rank"]]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**64 - 1))
def test_a_rank_is_below_the_count(seed, count):
    assert _core.pos_rank(seed, count) == int.from_bytes(seed[:16], "big") * count >> 128 < count


@given(st.binary(min_size=32, max_size=32), st.integers(1, 30), st.integers(1, 60))
def test_a_walk_is_the_plain_one(chal_id, count, m):
    records = sorted(payload_of(i) for i in range(count))
    seed, ranks = plain_walk(chal_id, count, m, records)
    distinct = list(dict.fromkeys(ranks))
    payloads = [records[rank][1] for rank in distinct]
    walked = _core.pos_walk(chal_id, count, m, payloads)
    assert walked == (seed, distinct, [records[rank][0] for rank in distinct])


def test_payloads_that_the_chain_did_not_draw_are_refused():
    records = sorted(payload_of(i) for i in range(5))
    _, ranks = plain_walk(ID, 5, 3, records)
    payloads = [records[rank][1] for rank in dict.fromkeys(ranks)]
    with pytest.raises(ValueError, match="missing"):
        _core.pos_walk(ID, 5, 3, payloads[:-1])
    with pytest.raises(ValueError, match="drew"):
        _core.pos_walk(ID, 5, 3, [*payloads, payloads[0]])
    for changed in (b"", payloads[0][:-1], payloads[0] + b"x", b"EPR1" + bytes(60)):
        with pytest.raises(ValueError, match="payload 0: "):
            _core.pos_walk(ID, 5, 3, [changed, *payloads[1:]])
        with pytest.raises(ValueError, match="payload 0: "):
            _core.pos_chain(ID, [changed, *payloads[1:]])


@pytest.mark.parametrize(("count", "m"), [(0, 1), (1, 0), (1, 1025)])
def test_a_chain_that_no_challenge_has_is_refused(count, m):
    with pytest.raises(ValueError, match="1 to 1024"):
        _core.pos_walk(ID, count, m, [])
    with pytest.raises(ValueError, match="at most 1024"):
        _core.pos_chain(ID, [b""] * 1025)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_seeds_and_ids_have_32_bytes(length):
    for call in (
        lambda: _core.pos_seed(bytes(length)),
        lambda: _core.pos_rank(bytes(length), 1),
        lambda: _core.pos_next(bytes(length), b""),
        lambda: _core.pos_walk(bytes(length), 1, 1, []),
        lambda: _core.pos_chain(bytes(length), []),
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
