"""The miner's side of a challenge, sans-IO: who may ask, what is answered, and what is kept in between. Formats §5.

Theory of operation. `Prover.admit` decides whether a challenge is answered at all, and is quick. The `Answering` that
it gives walks the chain, proves, and reads payloads: synchronous calls that may take long, for a thread. Between phases
it keeps where payloads lie, never the payloads. An open challenge holds the tries that it is about; so there are few,
and each ends by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from engram import cid as cids
from engram import events
from engram.errors import Busy, Conflict, Forbidden, NotFound, Unauthenticated, Unprocessable
from engram.identity import ask_message, fast_message, slow_message, ss58, tombstone_message, verify
from engram.limits import LIMITS
from engram.native import _core
from engram.proofs._chal_id import BY_RANK, challenge_id, why_refused
from engram.proofs._documents import ANY_NETWORK
from engram.wire import Fast, Payloads, Slow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from engram.identity import NodeKey
    from engram.proofs._committed import Committed
    from engram.wire import Challenge

WINDOW_MS = 60_000
"""How far a challenge's time may be from the node's."""

_HASH = 32

_Place = tuple[int, bytes, bytes, int]
"""Where a leaf stands, and its payload lies: rank, K, H(payload), location. The native core gives many at once."""

_KEY: Final = 1
_VALUE: Final = 2
_LOCATION: Final = 3


class Bodies(Protocol):
    """Where a prover finds payloads; called on whatever thread answers."""

    def payload(self, location: int) -> bytes | None:
        """Give the payload there, proved by its checksum; None where there is none that is whole."""
        ...

    def tombstone(self, location: int) -> bytes | None:
        """Give the `record_deleted.1` event for which the payload there was erased; None where it was not."""
        ...


class ProverLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a prover takes on. Times in milliseconds."""

    open_challenges: int = 64
    of_one_validator: int = 16
    remembered: int = 4096
    t1_ms: int = 60_000
    t2_ms: int = 600_000
    grace_ms: int = 10_000


class Prover:
    """Answers challenges; its methods are called by one thread at a time, those of what they give by any.

    `challengers`: the keys that may challenge, beside the node's own.
    """

    def __init__(
        self,
        key: NodeKey,
        bodies: Bodies,
        challengers: Collection[bytes] = (),
        *,
        limits: ProverLimits = ProverLimits(),  # noqa: B008 - frozen
        network: bytes = ANY_NETWORK,
    ) -> None:
        self._key = key
        self._bodies = bodies
        self._challengers = frozenset(challengers) | {key.public}
        self._limits = limits
        self._network = network
        self._open: dict[bytes, tuple[Answering, int]] = {}
        self._seen: dict[bytes, int] = {}

    def admit(self, challenge: Challenge, states: Iterable[Committed], now_unix_ms: int) -> Answering:
        """Take a challenge on; what it gives answers it. `states`: those that may be challenged now.

        Raises `Forbidden`, `Unauthenticated`, `Unprocessable`, `Conflict` (it was asked before), or `Busy`.
        """
        self._check_parties(challenge)  # first: whoever may not ask costs next to nothing
        self._forget(now_unix_ms)
        self._check_terms(challenge, now_unix_ms)
        state = _state_of(challenge, states)
        if (refused := why_refused(challenge, len(state.records))) is not None:
            raise Unprocessable(refused)
        chal_id = challenge_id(challenge, state.root, state.records.root, len(state.records))
        if not verify(challenge.validator, ask_message(chal_id), challenge.signature):
            raise Unauthenticated("signature: it is not the validator's, over this challenge", field="signature")
        if chal_id in self._seen:
            raise Conflict("this challenge was asked before; draw another nonce")
        self._check_room(challenge.validator, now_unix_ms)
        answering = Answering(challenge, chal_id, state, self._key, self._bodies, self._network)
        ends = now_unix_ms + challenge.t1_ms + challenge.t2_ms + self._limits.grace_ms
        self._seen[chal_id] = max(challenge.issued_unix_ms + WINDOW_MS, ends)
        self._open[chal_id] = (answering, ends)
        return answering

    def find(self, chal_id: bytes, now_unix_ms: int) -> Answering:
        """Give a challenge that is open, for its phase B; `Unprocessable` where there is none of this id."""
        self._forget(now_unix_ms)
        if chal_id not in self._open:
            raise Unprocessable("chal_id: no challenge of this id is open: none was asked, or its time is over")
        return self._open[chal_id][0]

    def drop(self, answering: Answering) -> None:
        """Let a challenge go whose phase A has failed: its place is free, and it is not answered again."""
        self._open.pop(answering.chal_id, None)

    def __len__(self) -> int:
        return len(self._open)

    def _check_parties(self, challenge: Challenge) -> None:
        if challenge.validator not in self._challengers:
            raise Forbidden(
                f"{ss58(challenge.validator)} may not challenge this node: a challenge shows payloads of every "
                "namespace; its operator names who may under `challengers` in node.toml",
                field="validator",
            )
        if challenge.miner != self._key.public:
            raise Unprocessable(f"miner: it is {ss58(challenge.miner)}, and this is {self._key.address}", field="miner")

    def _check_terms(self, challenge: Challenge, now_unix_ms: int) -> None:
        if abs(challenge.issued_unix_ms - now_unix_ms) > WINDOW_MS:
            raise Unprocessable(
                f"issued_unix_ms: {challenge.issued_unix_ms}, and it is {now_unix_ms} here; they may be "
                f"{WINDOW_MS // 1000} s apart: see to the clocks",
                field="issued_unix_ms",
            )
        for field, most in (("t1_ms", self._limits.t1_ms), ("t2_ms", self._limits.t2_ms)):
            given = getattr(challenge, field)
            if not 1 <= given <= most:
                raise Unprocessable(f"{field}: {given}, and it must be 1 to {most}", field=field)

    def _check_room(self, validator: bytes, now_unix_ms: int) -> None:
        own = [ends for answering, ends in self._open.values() if answering.validator == validator]
        if len(self._open) >= self._limits.open_challenges or len(own) >= self._limits.of_one_validator:
            soonest = min(ends for _, ends in self._open.values())
            raise Busy("as many challenges are open as this node keeps", retry_after_s=(soonest - now_unix_ms) / 1000)
        if len(self._seen) >= self._limits.remembered:
            soonest = min(self._seen.values())
            raise Busy("as many challenges came as this node remembers", retry_after_s=(soonest - now_unix_ms) / 1000)

    def _forget(self, now_unix_ms: int) -> None:
        for chal_id in [each for each, (_, ends) in self._open.items() if ends < now_unix_ms]:
            del self._open[chal_id]
        for chal_id in [each for each, ends in self._seen.items() if ends < now_unix_ms]:
            del self._seen[chal_id]


def _state_of(challenge: Challenge, states: Iterable[Committed]) -> Committed:
    for state in states:
        if state.size == challenge.log_size:
            return state
    raise Unprocessable(
        f"log_size: no commitment of size {challenge.log_size} can be challenged now; ask for the `commitment`",
        field="log_size",
    )


class Answering:
    """A challenge that is being answered. `fast` first; its calls may be made on any thread, one at a time."""

    def __init__(
        self,
        challenge: Challenge,
        chal_id: bytes,
        state: Committed,
        key: NodeKey,
        bodies: Bodies,
        network: bytes,
    ) -> None:
        self.chal_id = chal_id
        self.validator = challenge.validator
        self._challenge = challenge
        self._trie = state.records
        self._key = key
        self._bodies = bodies
        self._network = network
        self._walked: _Walked | None = None

    def fast(self) -> Fast:
        """Walk the chain and sign its last seed; `NotFound` where a record's bytes are not here, or not whole."""
        walked = self._walk_ranks() if self._challenge.mode == BY_RANK else self._walk_keys()
        self._walked = walked
        signature = self._key.sign(fast_message(self.chal_id, walked.seed))
        return Fast(chal_id=self.chal_id, seed=walked.seed, signature=signature)

    def slow(self) -> Slow:
        """Prove the leaves of the records that the chain went over, and give the first of their payloads."""
        walked = self._answered()
        if self._challenge.mode == BY_RANK:
            leaves, multiproof = self._trie.prove(walked.ranks)
        else:
            leaves, multiproof = self._trie.prove_keys(self._challenge.keys)
        message = slow_message(self.chal_id, multiproof, leaves, [value for _, _, value, _ in walked.places])
        return Slow(
            chal_id=self.chal_id,
            leaves=leaves,
            multiproof=multiproof,
            payloads=self._part(walked.places),
            total=len(walked.places),
            tombstone=walked.tombstone,
            signature=self._key.sign(message),
        )

    def payloads(self, start: int) -> Payloads:
        """Give the payloads from this number on, as many as a message takes."""
        places = self._answered().places
        if not 0 <= start < len(places):
            raise Unprocessable(f"from: {start}, and there are {len(places)} payloads", field="from")
        return Payloads(chal_id=self.chal_id, payloads=self._part(places[start:]))

    def _answered(self) -> _Walked:
        if self._walked is None:
            raise Unprocessable("phase A of this challenge has not been answered yet")
        return self._walked

    def _part(self, places: Sequence[_Place]) -> list[bytes]:
        room = LIMITS.challenge_part_bytes
        part: list[bytes] = []
        for place in places:
            payload = self._bodies.payload(place[_LOCATION])
            if payload is None:
                self._erased(place)
                raise Conflict("a record was erased while this challenge was answered")
            room -= len(payload)
            if part and room < 0:
                break
            part.append(payload)
        _check(places[: len(part)], part)
        return part

    def _walk_ranks(self) -> _Walked:
        seed, places, lacking, rotten = _core.pos_collect(
            self._trie, self.chal_id, self._challenge.m, self._bodies.payload
        )
        if rotten is not None:
            raise _absent(places[rotten])
        return self._ended(seed, places) if lacking else _Walked(seed, places)

    def _walk_keys(self) -> _Walked:
        seed = _core.pos_seed(self.chal_id)
        places: list[_Place] = []
        for k in self._challenge.keys:
            if (found := self._trie.find(k)) is None:
                continue
            rank, value, location = found
            places.append((rank, k, value, location))
            if (payload := self._bodies.payload(location)) is None:
                return self._ended(seed, places)
            _check(places[-1:], [payload])
            seed = _core.pos_next(seed, payload)
        return _Walked(seed, places)

    def _ended(self, seed: bytes, places: list[_Place]) -> _Walked:
        """End a walk at the last of its places, which was erased."""
        event = self._erased(places[-1])
        if event.signature is None:
            event = self._signed(event)
        return _Walked(seed, places[:-1], places[-1], events.encode(event))

    def _signed(self, event: events.RecordDeleted) -> events.RecordDeleted:
        """Say as the node, now, what an event says that nobody has signed: who called, called over a connection.

        The event may be older than the state that is challenged: what one had erased goes when the last one deletes it.
        """
        now_ms = self._challenge.issued_unix_ms
        message = tombstone_message(self._network, event.ns, cids.digest_of(event.cid), now_ms)
        return msgspec.structs.replace(
            event, signer=self._key.public, issued_unix_ms=now_ms, signature=self._key.sign(message)
        )

    def _erased(self, place: _Place) -> events.RecordDeleted:
        """Give the event for which a payload was erased; `NotFound` where it should be here."""
        tombstone = self._bodies.tombstone(place[_LOCATION])
        event = None if tombstone is None else events.decode(tombstone)
        if not isinstance(event, events.RecordDeleted):
            raise _absent(place)
        return event


def _check(places: Sequence[_Place], payloads: list[bytes]) -> None:
    """Refuse to go on with bytes that are not a leaf's own."""
    hashes = _core.sha256_many(payloads)
    if hashes != b"".join([value for _, _, value, _ in places]):
        wrong = (place for at, place in enumerate(places) if hashes[at * _HASH : (at + 1) * _HASH] != place[_VALUE])
        raise _absent(next(wrong))


def _absent(place: _Place) -> NotFound:
    return NotFound(f"the bytes of the record at K {place[_KEY].hex()} are not here, or not whole")


class _Walked(msgspec.Struct, frozen=True):
    """A chain that was walked: its last seed, and where the payloads lie that it went over.

    `erased`: the place at which it ends too early, and `tombstone` the excuse.
    """

    seed: bytes
    places: list[_Place]
    erased: _Place | None = None
    tombstone: bytes | None = None

    @property
    def ranks(self) -> list[int]:
        """Those of the leaves to open."""
        return [place[0] for place in self.places] + ([self.erased[0]] if self.erased else [])
