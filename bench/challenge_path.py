"""Time a whole challenge in Python: what `engram.proofs` does for the miner and for the validator, signatures and all.

Usage: python bench/challenge_path.py [--leaves 1000000] [--rounds 30]

The records are those of `challenge.py`, which times the native parts alone; reading payloads is a dict's look-up. The
baseline is one pass of hashlib's SHA-256 over the payloads that were drawn. Times are of the thread's CPU, the best of
the rounds, a new challenge each.
"""

from __future__ import annotations

import argparse
import hashlib
import time

from challenge import Records

from engram import events
from engram.events import checkpoints
from engram.identity import NodeKey
from engram.native import _core
from engram.proofs import Challenger, Nonce, Outcome, Prover, check_transcript, commitment_of
from engram.store import Commitment

NOW_MS = 1_700_000_000_000
MINER, VALIDATOR = NodeKey(bytes(32)), NodeKey(b"\1" * 32)


def committed(view: _core.TrieView) -> Commitment:
    """Commit to a trie at position 1 of a log of two events."""
    empty = events.TrieRoot(bytes(32), 0)
    state = events.StateCommitted(records=events.TrieRoot(view.root, len(view)), edges=empty, heads=empty)
    created = events.encode(events.LogCreated(format=1, node_key=MINER.public))
    log, event = _core.LogState(), events.encode(state)
    [path] = _core.frame_paths(log, [created, event], [1])
    time_unix_ns = NOW_MS * 1_000_000
    log.encode(time_unix_ns, [created, event])
    note = checkpoints.sign(events.Checkpoint(log.size, log.root), MINER)
    return Commitment(note, event, path, log.size, log.root, time_unix_ns, view, view)


class Bodies:
    """Payloads in memory; `make` is off while it is timed."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._made: dict[int, bytes] = {}

    def make(self, location: int) -> bytes:
        if location not in self._made:
            self._made[location] = self._records.make(location)[1]
        return self._made[location]

    def payload(self, location: int) -> bytes:
        return self._made[location]

    def tombstone(self, location: int) -> None:
        del location


class Stopwatch:
    """Microseconds of CPU by name, a list each."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.start()

    def start(self) -> None:
        self._since = time.thread_time_ns()

    def lap(self, name: str) -> None:
        self.times.setdefault(name, []).append((time.thread_time_ns() - self._since) / 1000)
        self.start()


def challenge(state: Commitment, bodies: Bodies, m: int, rounds: int) -> None:
    watch, sizes = Stopwatch(), []
    for number in range(rounds):
        prover = Prover(MINER, bodies, [VALIDATOR.public])
        nonce = Nonce(hashlib.sha256(number.to_bytes(8)).digest())
        watch.start()
        challenger = Challenger(VALIDATOR, MINER.public, commitment_of(state), nonce, now_unix_ms=NOW_MS, m=m)
        watch.lap("verifier: commitment, draw, sign")
        _core.pos_collect(state.records, challenger.chal_id, m, bodies.make)
        watch.start()
        answering = prover.admit(challenger.request, [state], NOW_MS)
        watch.lap("miner: admit")
        fast = answering.fast()
        watch.lap("miner: phase A")
        challenger.take(fast, 1)
        watch.lap("verifier: phase A")
        slow = answering.slow()
        watch.lap("miner: phase B")
        challenger.take(slow, 1)
        watch.lap("verifier: phase B")
        challenger.conclude(keep=False)
        watch.lap("verifier: sign the verdict")
        transcript = challenger.conclude()
        watch.lap("(validator: transcript kept)")
        assert check_transcript(transcript).outcome == Outcome.PASS
        watch.lap("(anyone: transcript again)")
        for payload in slow.payloads:
            hashlib.sha256(payload).digest()
        watch.lap("hashlib over the payloads, once (baseline)")
        sizes.append(len(slow.multiproof) + sum(map(len, slow.leaves)))
    show(watch, m, max(sizes))


def show(watch: Stopwatch, m: int, size: int) -> None:
    taken = {name: min(times) for name, times in watch.times.items()}
    once = taken["hashlib over the payloads, once (baseline)"]
    for side in ("miner", "verifier"):
        taken[f"{side.upper()}, all"] = sum(each for name, each in taken.items() if name.startswith(f"{side}:"))
    print(f"m = {m}: multiproof and leaves {size:,} bytes at most")
    for name, each in taken.items():
        print(f"  {name:<46} {each:>9.1f} us {each / once:>7.2f} x the baseline")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    records = Records()
    view = _core.Trie(b"".join(records.leaf(number) for number in range(given.leaves))).commit()
    state, bodies = committed(view), Bodies(records)
    for m in (16, 64, 256):
        challenge(state, bodies, m, given.rounds)


if __name__ == "__main__":
    main()
