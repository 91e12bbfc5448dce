"""A node in a test's hands: records, the state that it has committed to, and a challenge of it from end to end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from engram import cid as cids
from engram import events, record
from engram.events import checkpoints
from engram.identity import NodeKey, head_key
from engram.native import _core
from engram.proofs import Challenger, Nonce, Prover, commitment_of
from engram.wire import Challenge, ChallengeAnswer

NODE = NodeKey(bytes(range(32)))
VALIDATOR = NodeKey(bytes(range(0x20, 0x40)))
USER = NodeKey(bytes(range(0x40, 0x60)))
NOW_MS = 1_700_000_000_000


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def payload(number: int, size: int = 0) -> bytes:
    """The golden vectors' record_i, longer where `size` says so."""
    metadata = record.canonical_metadata({"i": number})
    embedding = record.stored_vector([float(number), 1.0])
    return record.encode_text(f"record-{number}" + "x" * size, embedding, metadata, "test/1")[1]


def leaf_of(payload: bytes) -> tuple[bytes, bytes]:
    return cids.key_of(record.decode(payload).digest), sha(payload)


def log_of(written: list[bytes], key: NodeKey) -> tuple[bytes, bytes, list[list[bytes]]]:
    """Give the signed checkpoint of a log of these events, its root, and each one's inclusion path."""
    hashes = [sha(b"\0", event) for event in written]
    root = tree_root(hashes)
    note = checkpoints.sign(events.Checkpoint(len(written), root), key)
    return note, root, [tree_path(at, hashes) for at in range(len(hashes))]


def tree_root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return sha(b"\1", tree_root(hashes[:half]), tree_root(hashes[half:]))


def tree_path(at: int, hashes: list[bytes]) -> list[bytes]:
    if len(hashes) == 1:
        return []
    half = 1 << (len(hashes) - 1).bit_length() - 1
    if at < half:
        return [*tree_path(at, hashes[:half]), tree_root(hashes[half:])]
    return [*tree_path(at - half, hashes[half:]), tree_root(hashes[:half])]


@dataclass(frozen=True)
class State:
    """What a store keeps of a checkpoint."""

    note: bytes
    event: bytes
    path: list[bytes]
    size: int
    root: bytes
    records: _core.TrieView
    heads: _core.TrieView


def state_of(
    payloads: list[bytes],
    key: NodeKey = NODE,
    *,
    heads: dict[tuple[bytes, str], bytes] | None = None,
    before: list[bytes] | None = None,
) -> State:
    """Commit to records, by their places in the list, and to what keys name; `before`: the log's events until then."""
    rows = [b"".join(leaf_of(each)) + at.to_bytes(8, "little") for at, each in enumerate(payloads)]
    records = _core.Trie(b"".join(rows)).commit()
    named = [head_key(*name) + digest + bytes(8) for name, digest in (heads or {}).items()]
    tops = _core.Trie(b"".join(named)).commit()
    roots = (events.TrieRoot(view.root, len(view)) for view in (records, tops))
    records_root, heads_root = roots
    event = events.encode(
        events.StateCommitted(records=records_root, edges=events.TrieRoot(bytes(32), 0), heads=heads_root)
    )
    created = [events.encode(events.LogCreated(format=1, node_key=key.public))] if before is None else before
    note, root, paths = log_of([*created, event], key)
    return State(note, event, paths[-1], len(created) + 1, root, records, tops)


@dataclass
class Shelf:
    """Payloads by their places; some of them erased."""

    payloads: list[bytes | None]
    tombstones: dict[int, bytes] = field(default_factory=dict)

    def payload(self, location: int) -> bytes | None:
        return self.payloads[location]

    def tombstone(self, location: int) -> bytes | None:
        return self.tombstones.get(location)

    def erase(self, location: int, tombstone: bytes) -> None:
        self.payloads[location] = None
        self.tombstones[location] = tombstone


def tombstone_of(
    payload: bytes, signer: NodeKey = USER, *, issued_ms: int = NOW_MS - 1000, signed: bool = True
) -> bytes:
    from engram.identity import tombstone_message

    digest = record.decode(payload).digest
    signature = signer.sign(tombstone_message(bytes(32), bytes(32), digest, issued_ms)) if signed else None
    deleted = events.RecordDeleted(
        ns=bytes(32),
        cid=cids.from_digest(digest),
        signer=signer.public,
        issued_unix_ms=issued_ms,
        erase=True,
        signature=signature,
    )
    return events.encode(deleted)


@dataclass(frozen=True)
class World:
    """A node with these records, one state of them, and its prover."""

    payloads: list[bytes]
    state: State
    shelf: Shelf
    prover: Prover

    def challenger(self, *, m: int = 8, keys: tuple[bytes, ...] = (), number: int = 1, **terms) -> Challenger:
        nonce = Nonce(sha(b"nonce", number.to_bytes(8)))
        return Challenger(
            VALIDATOR, NODE.public, commitment_of(self.state), nonce, now_unix_ms=NOW_MS, m=m, keys=keys, **terms
        )

    def answer(self, request):
        """Answer one request, as a node does."""
        if isinstance(request, Challenge):
            return self.prover.admit(request, [self.state], NOW_MS).fast()
        answering = self.prover.find(request.chal_id, NOW_MS)
        return answering.slow() if isinstance(request, ChallengeAnswer) else answering.payloads(request.start)

    def run(self, challenger: Challenger, *, took_ms: float = 1):
        """Bring a challenge to its end, and give its transcript."""
        from engram.errors import EngramError

        while (request := challenger.request) is not None:
            try:
                answer = self.answer(request)
            except EngramError as error:
                challenger.fail(error, took_ms)
            else:
                challenger.take(answer, took_ms)
        return challenger.conclude()


def world(count: int = 12, *, size: int = 0, key: NodeKey = NODE) -> World:
    payloads = [payload(number, size) for number in range(count)]
    shelf = Shelf(list(payloads))
    return World(payloads, state_of(payloads, key), shelf, Prover(key, shelf, [VALIDATOR.public]))


__all__ = ["replace"]
