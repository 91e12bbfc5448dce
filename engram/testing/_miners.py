"""Miners on virtual time: the real store, prover and key behind them, honest or each with its own way not to be.

A `Miner` answers a challenger's requests as its node would, and says how long that took: what it reads, fetches or
computes is charged to its clock, `Costs` says how much. No network is here: who drives it (`_duels`) loses and delays.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from engram import cid as cids
from engram import events, record
from engram.errors import Forbidden, NotFound, Unavailable
from engram.identity import NodeKey, fast_message, namespace_id, slow_message, tombstone_message
from engram.native import _core
from engram.proofs import ANY_NETWORK, BY_RANK, Prover, challenge_id
from engram.runtime import MemoryDisk, MemoryTables
from engram.store import CreateOperation, DeleteOperation, PutOperation, Store
from engram.testing._rng import SimRng, stream
from engram.wire import Challenge, ChallengeAnswer, ChallengePayloads, Fast, Payloads, Slow

if TYPE_CHECKING:
    from collections.abc import Collection

    from engram.store import Commitment, Done

FOLDER = Path("/miner")
BEGAN_MS = 1_700_000_000_000
_NAME, _MODEL, _DIM = "memories", "sim/1", 8


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What things take on virtual time, in milliseconds. `fetch_ms`: a record from a replica, there and back."""

    read_ms: float = 0.05
    fetch_ms: float = 40.0
    embed_ms: float = 8.0
    late_ms: float = 5_000.0


def payload_of(number: int, label: str = "record") -> tuple[bytes, bytes]:
    """Give (digest, payload) of a text's record."""
    embedding = record.stored_vector([float(number % 97 + 1), *[float(len(label))] * (_DIM - 1)])
    return record.encode_text(f"{label} {number}", embedding, record.EMPTY_METADATA, _MODEL)


class Miner:
    """An honest one. `now_ms` is its wall clock, which moves on as it works."""

    def __init__(
        self, seed: int, challengers: Collection[bytes], records: int = 200, costs: Costs | None = None
    ) -> None:
        """One seed, one key: two of a seed are one node's two lives."""
        self.costs = costs or Costs()
        self.now_ms: float = BEGAN_MS
        self._challengers = challengers
        self._seed = seed
        self.disk, self._tables = MemoryDisk(), MemoryTables()
        self.open()
        self.store.commit([CreateOperation(self.store.key.public, _NAME, _MODEL, _DIM)], self.now_ns)
        self.put(range(records))
        self.store.commitment(self.now_ns)

    def open(self) -> None:
        """Start the node: challenges that were open are not any more."""
        rng = SimRng(stream(self._seed, "miner"))  # the key's bytes are the first that are drawn
        self.store = Store.open(self.disk, self._tables, FOLDER, rng, self.now_ns, "the simulation")
        self.prover = Prover(self.store.key, self, self._challengers)

    def restart(self) -> None:
        """End and start again; it commits anew when it is asked for a commitment."""
        self.store.close(self.now_ns)
        self.open()

    @property
    def now_ns(self) -> int:
        """The time as the store takes it."""
        return int(self.now_ms * 1e6)

    @property
    def ns(self) -> bytes:
        """The namespace that all of it is in."""
        return namespace_id(self.store.key.public, _NAME)

    def spend(self, ms: float) -> None:
        """Let so much time pass at this node."""
        self.now_ms += ms

    # -- its users ----------------------------------------------------------------------------------------------------

    def put(self, numbers: Collection[int] | range, label: str = "record") -> list[Done]:
        """Have records put."""
        operations = [PutOperation(self.ns, *payload_of(number, label), self.store.key.public) for number in numbers]
        return [done for done in self.store.commit(operations, self.now_ns) if not isinstance(done, Exception)]

    def delete(self, number: int, *, erase: bool = False) -> None:
        """Have a record deleted, if it is there."""
        digest, _ = payload_of(number)
        self.store.commit([DeleteOperation(self.ns, digest, self.store.key.public, erase)], self.now_ns)

    # -- its validators -----------------------------------------------------------------------------------------------

    def commitment(self) -> Commitment:
        """Give the commitment that can be challenged, made anew where there is none."""
        if not self.store.proofs.challengeable(self.now_ns):
            self.store.commitment(self.now_ns)
        return self.store.proofs.challengeable(self.now_ns)[0]

    def answer(self, request: Challenge | ChallengeAnswer | ChallengePayloads) -> Fast | Slow | Payloads:
        """Answer as the node does, or raise what it says."""
        match request:
            case Challenge():
                states = self.store.proofs.challengeable(self.now_ns)
                return self.prover.admit(request, states, int(self.now_ms)).fast()
            case ChallengeAnswer():
                return self.prover.find(request.chal_id, int(self.now_ms)).slow()
            case ChallengePayloads():
                return self.prover.find(request.chal_id, int(self.now_ms)).payloads(request.start)

    def payload(self, location: int) -> bytes | None:
        """Read a body, as the prover asks for it."""
        self.spend(self.costs.read_ms)
        return self.store.body(location)

    def tombstone(self, location: int) -> bytes | None:
        """Give what a body was erased for, as the prover asks for it."""
        digest = self.store.body_at(location)
        return None if digest is None else self.store.tombstone_of(digest)


# -- each its own way --------------------------------------------------------------------------------------------------


class HashOnly(Miner):
    """It kept the trie, 32 bytes a record, and none of the records; it says so, as the prover does."""

    def payload(self, location: int) -> bytes | None:
        """Give nothing."""
        del location
        return None


class Forger(HashOnly):
    """It kept the same, and signs for what it makes up: payloads of the right form, whose hashes nothing leads to."""

    _made: Slow | None = None

    def answer(self, request: Challenge | ChallengeAnswer | ChallengePayloads) -> Fast | Slow | Payloads:
        """Make both answers up, the leaves and their proof being right."""
        if isinstance(request, Challenge):
            return self._make_up(request)
        if self._made is None:
            raise NotFound("nothing was made up yet")
        return self._made

    def _make_up(self, challenge: Challenge) -> Fast:
        assert challenge.mode == BY_RANK
        state, trie = self.commitment(), self.commitment().records
        chal_id = challenge_id(challenge, state.root, trie.root, len(trie))
        seed, drawn = _core.pos_seed(chal_id), dict[int, bytes]()
        for _ in range(challenge.m):
            rank = _core.pos_rank(seed, len(trie))
            payload = drawn.setdefault(rank, payload_of(rank, "made up")[1])
            seed = _core.pos_next(seed, payload)
        leaves, multiproof = trie.prove(list(drawn))
        payloads = list(drawn.values())
        hashes = [hashlib.sha256(payload).digest() for payload in payloads]
        key = self.store.key
        self._made = Slow(
            chal_id=chal_id,
            leaves=leaves,
            multiproof=multiproof,
            payloads=payloads,
            total=len(payloads),
            signature=key.sign(slow_message(chal_id, multiproof, leaves, hashes)),
        )
        return Fast(chal_id=chal_id, seed=seed, signature=key.sign(fast_message(chal_id, seed)))


class Excusing(HashOnly):
    """It kept 32 bytes a record, and says of each that is asked for that its owner has just had it erased.

    Nobody who has no data can tell who the owner was: so it signs as one, with another key each time.
    """

    _keys = 0

    def tombstone(self, location: int) -> bytes | None:
        """Make one up, its signature being right."""
        digest = self.store.body_at(location)
        if digest is None:
            return None
        Excusing._keys += 1
        owner = NodeKey(hashlib.sha256(b"owner %d" % Excusing._keys).digest())
        issued_unix_ms = int(self.now_ms)
        event = events.RecordDeleted(
            ns=self.ns,
            cid=cids.from_digest(digest),
            signer=owner.public,
            issued_unix_ms=issued_unix_ms,
            erase=True,
            signature=owner.sign(tombstone_message(ANY_NETWORK, self.ns, digest, issued_unix_ms)),
        )
        return events.encode(event)


class OnDemand(Miner):
    """It keeps nothing, and fetches each record from a replica when the chain has drawn it.

    Not before, and not two at once: which record comes next follows from the one before.
    """

    def open(self) -> None:
        """Start with nothing fetched."""
        self._got: set[int] = set()
        super().open()

    def payload(self, location: int) -> bytes | None:
        """Get it; what was got for this challenge is there."""
        if location not in self._got:
            self._got.add(location)
            self.spend(self.takes_ms)
        return self.store.body(location)

    @property
    def takes_ms(self) -> float:
        """How long one takes."""
        return self.costs.fetch_ms


class ReEmbedding(OnDemand):
    """It kept texts and threw the vectors away; the model is deterministic, so the payload comes out byte for byte."""

    @property
    def takes_ms(self) -> float:
        """How long it takes to embed one again."""
        return self.costs.embed_ms


class Lossy(Miner):
    """It has lost a part of its records, told by `lost`, by chance."""

    lost: ClassVar[float] = 0.1

    def payload(self, location: int) -> bytes | None:
        """Read what it has kept."""
        return None if stream(self._seed, "lost", location).random() < self.lost else super().payload(location)


class Junk(Miner):
    """It holds records of its own making, as many as anybody's, and none that users gave it."""

    def put(self, numbers: Collection[int] | range, label: str = "record") -> list[Done]:
        """Put something else."""
        return super().put(numbers, f"junk for {label}")


class Late(Miner):
    """It takes its time over the first answer."""

    def answer(self, request: Challenge | ChallengeAnswer | ChallengePayloads) -> Fast | Slow | Payloads:
        """Answer, too late."""
        self.spend(self.costs.late_ms)
        return super().answer(request)


class LateAtLast(Miner):
    """It is quick with 32 bytes, and takes its time over the records."""

    def answer(self, request: Challenge | ChallengeAnswer | ChallengePayloads) -> Fast | Slow | Payloads:
        """Answer phase B too late."""
        if not isinstance(request, Challenge):
            self.spend(7 * self.costs.late_ms)
        return super().answer(request)


class Refusing(Miner):
    """It answers no challenge."""

    def answer(self, request: Challenge | ChallengeAnswer | ChallengePayloads) -> Fast | Slow | Payloads:
        """Refuse."""
        del request
        raise Forbidden("not you")


class Silent(Miner):
    """It is not there when it is challenged."""

    def answer(self, request: Challenge | ChallengeAnswer | ChallengePayloads) -> Fast | Slow | Payloads:
        """Say nothing."""
        del request
        raise Unavailable("no connection")


class SilentAtLast(Miner):
    """It answers phase A, and is gone."""

    def answer(self, request: Challenge | ChallengeAnswer | ChallengePayloads) -> Fast | Slow | Payloads:
        """Answer phase A alone."""
        if isinstance(request, Challenge):
            return super().answer(request)
        raise Unavailable("connection lost")
