"""Time a challenge's two sides: the miner's walk and multiproof, the verifier's walk, multiproof and signatures.

Usage: python bench/challenge.py [--leaves 1000000] [--rounds 30]

Records have 384 dimensions and a text of 100 bytes. Reading payloads is not counted. The baseline is one pass of
hashlib's SHA-256 over the payloads that were drawn; by the formats the miner needs one (the chain) and the verifier
three (the chain, H(payload), the CID). Then version 1: batches of HMACs against a loop of `hmac.digest`. Times are of
the thread's CPU, the best of the rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

import numpy as np

from engram import cid, record
from engram.identity import NodeKey, verify
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Callable

DIM, TEXT, VECTORS = 384, 100, 997
BATCH = 1_000


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Records:
    """Records by number: made again when asked for, so that a million of them take no memory."""

    def __init__(self) -> None:
        rng = np.random.default_rng(20_261_130)
        self.vectors = [rng.standard_normal(DIM, dtype=np.float32).tobytes() for _ in range(VECTORS)]

    def make(self, number: int) -> tuple[bytes, bytes]:
        text = f"sentence {number} ".ljust(TEXT, ".")
        return record.encode_text(text, self.vectors[number % VECTORS], b"{}", "v1")

    def leaf(self, number: int) -> bytes:
        digest, payload = self.make(number)
        return cid.key_of(digest) + sha(payload) + number.to_bytes(8, "little")


def best(rounds: int, work: Callable[[], object]) -> float:
    """Microseconds."""
    taken = []
    for _ in range(rounds):
        started = time.thread_time_ns()
        work()
        taken.append(time.thread_time_ns() - started)
    return min(taken) / 1000


def challenge(view: _core.TrieView, records: Records, m: int, rounds: int) -> None:
    chal_id, payloads = secrets.token_bytes(32), {}
    count, key = len(view), NodeKey(bytes(32))

    def read(location: int) -> bytes:
        if location not in payloads:
            payloads[location] = records.make(location)[1]
        return payloads[location]

    def miner() -> tuple[bytes, list[bytes], bytes]:
        seed, ranks = _core.pos_seed(chal_id), set()
        for _ in range(m):
            rank = _core.pos_rank(seed, count)
            ranks.add(rank)
            seed = _core.pos_next(seed, read(view.leaf(rank)[2]))
        return seed, *view.prove(list(ranks))

    seed, leaves, multiproof = miner()
    shown = list(payloads.values())
    fast = b"engram/pos/2/fast\n" + chal_id + seed
    slow = b"engram/pos/2/slow\n" + chal_id + sha(multiproof) + sha(b"".join(leaves)) + sha(b"".join(map(sha, shown)))
    signed = [(message, key.sign(message)) for message in (fast, slow, b"a checkpoint")]

    def judge() -> None:
        _, last, lacks, wrong = _core.pos_show(chal_id, view.root, count, m, None, leaves, multiproof, shown)
        assert (last, lacks, wrong) == (seed, None, None)

    def fold() -> None:
        _core.verify_multiproof(view.root, count, leaves, multiproof, None)

    def signatures() -> None:
        assert all(verify(key.public, *one) for one in signed)

    once = best(rounds, lambda: [sha(payload) for payload in shown])
    mined, signing = best(rounds, miner), best(rounds, lambda: [key.sign(message) for message, _ in signed[:2]])
    judged, folded, verified = best(rounds, judge), best(rounds, fold), best(rounds, signatures)
    print(f"m = {m}: {len(shown)} payloads of {len(shown[0])} bytes, multiproof {len(multiproof):,} bytes")
    for name, taken in (
        ("hashlib over the payloads, once (baseline)", once),
        ("miner: chain and multiproof", mined),
        ("miner: two signatures", signing),
        ("verifier: chain, payloads, CIDs", judged - folded),
        ("verifier: multiproof", folded),
        ("verifier: chain, payloads, CIDs, multiproof", judged),
        ("verifier: three signatures (fast, slow, checkpoint)", verified),
    ):
        print(f"  {name:<46} {taken:>9.1f} us {taken / once:>7.2f} x the baseline")


def version_1(rounds: int) -> None:
    key, hashes = bytes(range(32)), [sha(number.to_bytes(4, "big")).hex() for number in range(BATCH)]

    def loop() -> list[str]:
        return [
            hmac.digest(key, at.to_bytes(4, "little") + found.encode(), "sha256").hex()
            for at, found in enumerate(hashes)
        ]

    assert _core.hmac_v1_batch(key, hashes) == loop()
    plain, native = best(rounds, loop), best(rounds, lambda: _core.hmac_v1_batch(key, hashes))
    print(f"version 1: {BATCH} proofs {native:.0f} us, a loop of hmac.digest {plain:.0f} us: {plain / native:.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    records = Records()
    view = _core.Trie(b"".join(records.leaf(number) for number in range(given.leaves))).commit()
    for m in (16, 64, 256):
        challenge(view, records, m, given.rounds)
    version_1(given.rounds)


if __name__ == "__main__":
    main()
