"""The miner's native walk against a plain one."""

from __future__ import annotations

import hashlib
import random

import pytest

from engram.native import _core


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def shelf_of(count: int, rng: random.Random) -> tuple[_core.TrieView, list[bytes | None]]:
    payloads: list[bytes | None] = [rng.randbytes(rng.choice([1, 60, 64, 500, 40_000])) for _ in range(count)]
    rows = (
        sha(b"k", bytes([at % 256, at >> 8])) + sha(each) + at.to_bytes(8, "little") for at, each in enumerate(payloads)
    )
    return _core.Trie(b"".join(rows)).commit(), payloads


def plainly(view, chal_id: bytes, m: int, payloads) -> tuple[bytes, list, bool, int | None]:
    seed, places = sha(b"engram/pos/2/seed\n", chal_id), []
    for _ in range(m):
        rank = int.from_bytes(seed[:16], "big") * len(view) >> 128
        place = (rank, *view.leaf(rank))
        known = place in places
        places += [] if known else [place]
        payload = payloads[place[3]]
        if payload is None:
            return seed, places, not known, places.index(place) if known else None
        if sha(payload) != place[2]:
            return b"", places, False, places.index(place)
        seed = sha(b"engram/pos/2/next\n", seed, payload)
    return seed, places, False, None


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("m", [1, 15, 16, 17, 64, 1024])
def test_a_whole_walk(count, m):
    rng = random.Random(count * 10_000 + m)
    view, payloads = shelf_of(count, rng)
    for _ in range(5):
        chal_id = rng.randbytes(32)
        assert _core.pos_collect(view, chal_id, m, payloads.__getitem__) == plainly(view, chal_id, m, payloads)


def test_a_walk_that_lacks_a_payload_or_finds_another():
    rng = random.Random(5)
    for _ in range(200):
        view, payloads = shelf_of(rng.choice([1, 5, 40]), rng)
        whole = list(payloads)
        for at in rng.sample(range(len(payloads)), min(2, len(payloads))):
            payloads[at] = rng.choice([None, b"other", payloads[at]])
        chal_id, m = rng.randbytes(32), rng.choice([1, 8, 40])
        seed, places, lacking, rotten = _core.pos_collect(view, chal_id, m, payloads.__getitem__)
        if rotten is not None:
            assert payloads[places[rotten][3]] != whole[places[rotten][3]]
        else:
            assert (seed, places, lacking, None) == plainly(view, chal_id, m, payloads)


def test_a_payload_that_goes_while_it_walks():
    view, payloads = shelf_of(1, random.Random(1))
    reads = iter([payloads[0], None])
    assert _core.pos_collect(view, bytes(32), 8, lambda _: next(reads))[2:] == (False, 0)


def test_what_reading_raises_is_raised():
    view, _ = shelf_of(3, random.Random(1))
    with pytest.raises(ZeroDivisionError):
        _core.pos_collect(view, bytes(32), 3, lambda location: location // 0)
    with pytest.raises(TypeError):
        _core.pos_collect(view, bytes(32), 3, lambda _: "text")


def test_an_empty_trie_draws_nothing():
    view = _core.Trie(b"").commit()
    assert _core.pos_collect(view, bytes(32), 3, lambda _: None) == (
        sha(b"engram/pos/2/seed\n", bytes(32)),
        [],
        False,
        None,
    )


@pytest.mark.parametrize("count", [0, 1, 5, 6, 40])
def test_many_hashes_at_once(count):
    payloads = [bytes([at]) * (at * 37) for at in range(count)]
    assert _core.sha256_many(payloads) == b"".join(map(sha, payloads))
