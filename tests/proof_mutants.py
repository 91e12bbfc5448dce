"""Mutants of proofs and answers: what somebody might try, and what only who holds the node's key can sign."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import proof_oracle
from proof_world import NODE, NOW_MS, USER, VALIDATOR, leaf_of, payload, sha, state_of, tombstone_of, world
from trie_reference import varint

from engram import cid as cids
from engram import proofs, record
from engram.identity import NodeKey, fast_message, slow_message
from engram.proofs import Outcome
from engram.wire import Commitment, Proof, Receipt, Slow

if TYPE_CHECKING:
    from collections.abc import Callable

replaced = msgspec.structs.replace
Transcript = proofs.Transcript


def honest(rng: random.Random) -> tuple[Transcript, Any]:
    """Give a transcript that passes, and the world that it is of."""
    of = world(rng.choice([1, 2, 3, 5, 8, 13, 40]))
    keys: tuple[bytes, ...] = ()
    if rng.random() < 0.4:
        held = [leaf_of(each)[0] for each in rng.sample(of.payloads, min(3, len(of.payloads)))]
        keys = tuple(sorted([*held, *(rng.randbytes(32) for _ in range(rng.randint(0, 2)))]))
    return of.run(of.challenger(m=rng.choice([1, 2, 4, 9]), keys=keys, number=rng.getrandbits(60))), of


# -- bytes, numbers, lists: what anybody can change -------------------------------------------------------------------


def changed_bytes(rng: random.Random, data: bytes) -> bytes:
    match rng.randrange(6):
        case 0 if data:
            at = rng.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 1 if data:
            return data[: rng.randrange(len(data))]
        case 2:
            return data + rng.randbytes(rng.choice([1, 2, 32, 64]))
        case 3 if data:
            at = rng.randrange(len(data))
            return data[:at] + data[at + 1 :]
        case 4:
            return rng.randbytes(len(data))
        case _:
            at = rng.randint(0, len(data))
            return data[:at] + rng.randbytes(1) + data[at:]


def changed_list(rng: random.Random, items: list[bytes]) -> list[bytes]:
    items = list(items)
    match rng.randrange(6):
        case 0 if items:
            del items[rng.randrange(len(items))]
        case 1 if items:
            items.append(rng.choice(items))
        case 2 if len(items) > 1:
            at = rng.randrange(len(items) - 1)
            items[at], items[at + 1] = items[at + 1], items[at]
        case 3 if items:
            at = rng.randrange(len(items))
            items[at] = changed_bytes(rng, items[at])
        case 4:
            items.insert(
                rng.randint(0, len(items)), rng.choice([b"", bytes(32), bytes(64), payload(rng.randrange(60))])
            )
        case _:
            items = items[::-1]
    return items


def changed(rng: random.Random, value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return max(0, rng.choice([value + 1, value - 1, 0, value * 2 + 1, value ^ 1 << rng.randrange(8)]))
        case bytes():
            return changed_bytes(rng, value)
        case list():
            return changed_list(rng, value)
        case _:
            return value


def change_field(rng: random.Random, struct: Any, names: list[str]) -> Any:
    name = rng.choice(names)
    return replaced(struct, **{name: changed(rng, getattr(struct, name))})


# -- multiproofs: what is proved another way --------------------------------------------------------------------------


def items_of(multiproof: bytes) -> list[bytes]:
    """Cut a multiproof into its items, in order."""
    items, at = [], 0
    while at < len(multiproof):
        end = at + 1
        if multiproof[at] == 0:
            end += 1
            while multiproof[end - 1] > 127:
                end += 1
            end += 32 if multiproof[at + 1 : end] != b"\0" else 0
        items.append(multiproof[at:end])
        at = end
    return items


def count_of(item: bytes) -> int:
    """Give the count of a closed item."""
    value = place = 0
    for byte in item[1:]:
        value |= (byte & 127) << place
        place += 7
        if byte < 128:
            return value
    return value


def reencoded_varint(rng: random.Random, items: list[bytes], _of: Any) -> list[bytes] | None:
    """Write a count in one byte more than it needs."""
    at = pick(rng, items, lambda item: item[:1] == b"\0")
    if at is None:
        return None
    count = varint(count_of(items[at]))
    longer = count[:-1] + bytes([count[-1] | 128, 0])
    return [*items[:at], b"\0" + longer + items[at][1 + len(count) :], *items[at + 1 :]]


def swapped_subtrees(rng: random.Random, items: list[bytes], _of: Any) -> list[bytes] | None:
    if len(items) < 2:
        return None
    items = list(items)
    one, other = rng.sample(range(len(items)), 2)
    items[one], items[other] = items[other], items[one]
    return items


def split_count(rng: random.Random, items: list[bytes], _of: Any) -> list[bytes] | None:
    """Take from one count what is given to another: the sum stays."""
    closed = [at for at, item in enumerate(items) if item[:1] == b"\0" and count_of(item) > 0]
    if len(closed) < 2:
        return None
    items = list(items)
    one, other = rng.sample(closed, 2)
    for at, more in ((one, 1), (other, -1)):
        count = count_of(items[at])
        items[at] = b"\0" + varint(count + more) + items[at][1 + len(varint(count)) :]
    return items


def wrapped_count(rng: random.Random, items: list[bytes], _of: Any) -> list[bytes] | None:
    """Have two counts come to the same modulo 2^64."""
    at = pick(rng, items, lambda item: item[:1] == b"\0" and count_of(item) > 0)
    if at is None:
        return None
    count = count_of(items[at])
    return [*items[:at], b"\0" + varint(2**64 - count) + items[at][1 + len(varint(count)) :], *items[at + 1 :]]


def needless_opening(rng: random.Random, items: list[bytes], of: Any) -> list[bytes] | None:
    """Open a closed node into the two that it is made of: the hash stays."""
    at = pick(rng, items, lambda item: item[:1] == b"\0" and count_of(item) > 1)
    if at is None:
        return None
    halves = children(of, items[at])
    return None if halves is None else [*items[:at], b"\1", *halves, *items[at + 1 :]]


def closed_opening(rng: random.Random, items: list[bytes], _of: Any) -> list[bytes] | None:
    """Open the empty child as a node of two empty ones."""
    at = pick(rng, items, lambda item: item == b"\0\0")
    return None if at is None else [*items[:at], b"\1", b"\0\0", b"\0\0", *items[at + 1 :]]


def pick(rng: random.Random, items: list[bytes], fits: Callable[[bytes], bool]) -> int | None:
    found = [at for at, item in enumerate(items) if fits(item)]
    return rng.choice(found) if found else None


def children(of: Any, item: bytes) -> tuple[bytes, bytes] | None:
    """Give the two closed halves of a closed node of this world's trie."""
    from trie_reference import bits_of, subtree_hash

    held = {bits_of(k): (k, value) for k, value in map(leaf_of, of.payloads)}
    wanted, count = item[-32:], count_of(item)
    for prefix in {bits[:depth] for bits in held for depth in range(12)}:
        under = {bits: leaf for bits, leaf in held.items() if bits.startswith(prefix)}
        if len(under) == count and subtree_hash(under, prefix) == wanted:
            sides = [{bits: leaf for bits, leaf in under.items() if bits.startswith(prefix + bit)} for bit in "01"]
            both = zip(sides, "01", strict=True)
            left, right = (
                b"\0" + varint(len(side)) + (subtree_hash(side, prefix + bit) if side else b"") for side, bit in both
            )
            return left, right
    return None


CLEVER = {
    "re-encoded varint": reencoded_varint,
    "swapped subtrees": swapped_subtrees,
    "split count": split_count,
    "wrapped count": wrapped_count,
    "needless opening": needless_opening,
    "opened emptiness": closed_opening,
}


# -- a miner that lies ------------------------------------------------------------------------------------------------


def sign(transcript: Transcript, key: NodeKey = NODE) -> Transcript:
    """Have the miner sign what stands there."""
    fast, slow = transcript.fast, transcript.slow
    fast = replaced(fast, signature=key.sign(fast_message(fast.chal_id, fast.seed)))
    message = slow_message(slow.chal_id, slow.multiproof, slow.leaves, [sha(each) for each in slow.payloads])
    return replaced(transcript, fast=fast, slow=replaced(slow, signature=key.sign(message)))


def with_slow(transcript: Transcript, **fields: Any) -> Transcript:
    return replaced(transcript, slow=replaced(transcript.slow, **fields))


def mutate_any(rng: random.Random, transcript: Transcript, _of: Any) -> Transcript:
    """Change one thing that the miner or the way from it gave, or one term of the challenge."""
    match rng.randrange(4):
        case 0:
            fast = change_field(rng, transcript.fast, ["chal_id", "seed", "signature"])
            return replaced(transcript, fast=fast)
        case 1:
            names = ["chal_id", "leaves", "multiproof", "payloads", "total", "signature"]
            return replaced(transcript, slow=change_field(rng, transcript.slow, names))
        case 2:
            names = ["checkpoint", "event", "path"]
            return replaced(transcript, commitment=change_field(rng, transcript.commitment, names))
        case _:
            names = ["netuid", "epoch", "mode", "m", "validator", "miner", "log_size", "nonce", "keys"]
            names += ["issued_unix_ms", "t1_ms", "t2_ms"]
            return replaced(transcript, challenge=sized(change_field(rng, transcript.challenge, names)))


def sized(challenge: Any) -> Any:
    """Keep what a challenge's own fields have to be: who reads one has seen to it."""
    cut = {name: getattr(challenge, name)[:32].ljust(32, b"\0") for name in ("validator", "miner", "nonce")}
    keys = [key[:32].ljust(32, b"\0") for key in challenge.keys]
    return replaced(
        challenge,
        mode=challenge.mode % 256,
        netuid=challenge.netuid % 2**16,
        m=max(1, min(challenge.m, 1024)),
        keys=keys,
        **cut,
    )


def mutate_and_sign(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
    """Change what the miner gave, and have it sign that."""
    if rng.random() < 0.2:
        return sign(replaced(transcript, fast=change_field(rng, transcript.fast, ["seed"])))
    slow = change_field(rng, transcript.slow, ["leaves", "multiproof", "payloads"])
    return sign(replaced(transcript, slow=replaced(slow, total=len(slow.payloads))))


def mutate_multiproof(name: str) -> Callable[[random.Random, Transcript, Any], Transcript]:
    def mutate(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
        items = CLEVER[name](rng, items_of(transcript.slow.multiproof), of)
        return transcript if items is None else sign(with_slow(transcript, multiproof=b"".join(items)))

    return mutate


def of_another_challenge(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
    """Replay what was answered before, as it was or signed anew for this challenge."""
    before, _ = replayed(rng, transcript, of)
    kept = rng.choice([("fast",), ("slow",), ("fast", "slow")])
    mixed = replaced(transcript, **{name: getattr(before, name) for name in kept})
    if rng.random() < 0.5:
        return mixed
    chal_id = transcript.fast.chal_id
    return sign(replaced(mixed, fast=replaced(mixed.fast, chal_id=chal_id), slow=replaced(mixed.slow, chal_id=chal_id)))


def replayed(rng: random.Random, transcript: Transcript, of: Any) -> tuple[Transcript, Any]:
    challenge = transcript.challenge
    terms: dict[str, Any] = {"epoch": challenge.epoch + rng.choice([-1, 0, 1])}
    return of.run(of.challenger(m=challenge.m, keys=tuple(challenge.keys), number=rng.getrandbits(60), **terms)), of


def of_another_miner(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
    """Show another node's answers to the same question, signed by either."""
    other = NodeKey(sha(b"another miner"))
    signed = sign(transcript, other)
    if rng.random() < 0.5:
        return signed
    state = state_of(of.payloads, other)
    return replaced(transcript, commitment=proofs.commitment_of(state))


def under_another_checkpoint(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
    """Put right answers under another state that the miner has signed."""
    payloads = [*of.payloads, payload(1000 + rng.randrange(9))]
    before = [of.state.event] * rng.randint(1, 4)
    state = state_of(payloads, before=before)
    challenge = transcript.challenge
    if rng.random() < 0.5:
        challenge = replaced(challenge, log_size=state.size)
    moved = replaced(transcript, commitment=proofs.commitment_of(state), challenge=challenge)
    return sign(moved) if rng.random() < 0.5 else moved


def record_in_place_of_another(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
    """Give a record that another one of the trie is, or one that nobody has, with its own right leaf."""
    payloads, leaves = list(transcript.slow.payloads), list(transcript.slow.leaves)
    if not payloads:
        return transcript
    there = rng.choice([*of.payloads, payload(rng.randrange(2000, 3000))])
    payloads[rng.randrange(len(payloads))] = there
    if rng.random() < 0.5:
        leaves[rng.randrange(len(leaves))] = b"".join(leaf_of(there))
        leaves.sort()
    return sign(with_slow(transcript, payloads=payloads, leaves=leaves, total=len(payloads)))


def other_bytes_all_along(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
    """Walk with other records in place of some that are lost, and prove the right leaves: who kept hashes alone can."""
    lost = set(rng.sample(range(len(of.payloads)), rng.randint(1, len(of.payloads))))
    stand_in = payload(rng.randrange(2000, 3000)) if rng.random() < 0.7 else rng.choice(of.payloads)
    bytes_of = [stand_in if at in lost else each for at, each in enumerate(of.payloads)]
    challenge, trie = transcript.challenge, of.state.records
    seed, drawn = sha(b"engram/pos/2/seed\n", transcript.fast.chal_id), {}
    if challenge.keys:
        ranks = [found[0] for found in map(trie.find, challenge.keys) if found is not None]
        leaves, multiproof = trie.prove_keys(challenge.keys)
    else:
        ranks = (int.from_bytes(seed[:16], "big") * len(trie) >> 128 for _ in range(challenge.m))
    for rank in ranks:
        drawn[rank] = bytes_of[trie.leaf(rank)[2]]
        seed = sha(b"engram/pos/2/next\n", seed, drawn[rank])
    if not challenge.keys:
        leaves, multiproof = trie.prove(list(drawn))
    payloads = list(drawn.values())
    if payloads == transcript.slow.payloads:
        return transcript
    slow = replaced(transcript.slow, leaves=leaves, multiproof=multiproof, payloads=payloads, total=len(payloads))
    return sign(replaced(transcript, slow=slow, fast=replaced(transcript.fast, seed=seed)))


def excuse(rng: random.Random, transcript: Transcript, of: Any) -> Transcript:
    """Leave records out, with a tombstone that may or may not be good."""
    keep = rng.randint(0, len(transcript.slow.payloads))
    payloads = transcript.slow.payloads[:keep]
    there = rng.choice(of.payloads)
    signer, issued = rng.choice([USER, NODE]), NOW_MS - rng.choice([0, 1000, 3_000_000])
    tombstone = tombstone_of(there, signer, issued_ms=issued, signed=rng.random() < 0.8)
    if rng.random() < 0.3:
        tombstone = changed_bytes(rng, tombstone)
    slow = replaced(transcript.slow, payloads=payloads, total=keep, tombstone=tombstone)
    seed = reached(transcript, payloads) if rng.random() < 0.7 else transcript.fast.seed
    return sign(replaced(transcript, slow=slow, fast=replaced(transcript.fast, seed=seed)))


def reached(transcript: Transcript, payloads: list[bytes]) -> bytes:
    seed = sha(b"engram/pos/2/seed\n", transcript.fast.chal_id)
    for each in payloads:
        seed = sha(b"engram/pos/2/next\n", seed, each)
    return seed


UNSIGNED = "any field, unsigned"

TRANSCRIPTS: dict[str, Callable[[random.Random, Transcript, Any], Transcript]] = {
    UNSIGNED: mutate_any,
    "answers, signed again": mutate_and_sign,
    **{f"{name}, signed again": mutate_multiproof(name) for name in CLEVER},
    "another record": record_in_place_of_another,
    "other bytes all along": other_bytes_all_along,
    "replay, another epoch": of_another_challenge,
    "another miner": of_another_miner,
    "another checkpoint": under_another_checkpoint,
    "excuses": excuse,
}


def product_verdict(transcript: Transcript) -> str:
    try:
        committed = proofs.check_commitment(transcript.commitment, transcript.challenge.miner)
    except proofs.DoesNotHold:
        return "refused"
    if committed.size != transcript.challenge.log_size:
        return "refused"
    return proofs.judge(transcript, committed).outcome.name


def oracle_verdict(transcript: Transcript) -> str:
    try:
        return proof_oracle.judge(plain(transcript))
    except proof_oracle.Refused:
        return "refused"


def plain(struct: Any) -> Any:
    """Give a Struct as the oracle has it: dicts, lists, bytes, numbers."""
    if isinstance(struct, msgspec.Struct):
        return {name: plain(getattr(struct, name)) for name in struct.__struct_fields__}
    return [plain(each) for each in struct] if isinstance(struct, list) else struct


# -- documents as files -----------------------------------------------------------------------------------------------


class Held(msgspec.Struct):
    """What is true of the state that a document is of."""

    cids: set[str]
    keys: set[str]

    def agrees(self, data: bytes) -> bool:
        """Say whether a document claims what is true, be it of something else than before."""
        match proofs.read(data):
            case Proof(cid=str(cid), present=present):
                return present == (cid in self.cids)
            case Proof(key=str(key), present=present, ns=ns):
                return present == (key in self.keys and ns == bytes(32))
            case _:
                return False


def documents(rng: random.Random) -> tuple[bytes, Held]:
    """Give a proof or a receipt that holds, and what else would."""
    payloads = [payload(number) for number in range(rng.choice([0, 1, 2, 7, 30]))]
    heads = {(bytes(32), f"key-{at}"): sha(bytes([at])) for at in range(rng.choice([0, 1, 5]))}
    state = state_of(payloads, heads=heads)
    held = Held({cid_of(each) for each in payloads}, {key for _, key in heads})
    match rng.randrange(3):
        case 0:
            there = rng.choice(payloads) if payloads and rng.random() < 0.7 else payload(999)
            return proofs.write(proofs.prove_record(state, cid_of(there))), held
        case 1:
            return proofs.write(proofs.prove_key(state, bytes(32), f"key-{rng.randrange(6)}")), held
        case _:
            return proofs.write(receipt_of(state)), held


def cid_of(payload: bytes) -> str:
    return cids.from_digest(record.decode(payload).digest)


def receipt_of(state: Any) -> Receipt:
    from engram.identity import receipt_message

    signature = NODE.sign(receipt_message(state.size, state.root, 77))
    return Receipt(
        event=state.event,
        position=state.size - 1,
        size=state.size,
        root=state.root,
        time_unix_ns=77,
        path=state.path,
        signature=signature,
    )


def change_text(rng: random.Random, data: bytes) -> bytes:
    """Change a file as text, or one field of what it holds."""
    if rng.random() < 0.4:
        return changed_bytes(rng, data)
    whole = proofs.read(data)
    if isinstance(whole, Proof) and rng.random() < 0.2:  # what is proved of another, and the opposite of this one
        subject = {"key": f"key-{rng.randrange(6)}"} if whole.key else {"cid": cid_of(payload(rng.randrange(30)))}
        return proofs.write(replaced(whole, present=rng.random() < 0.3, **subject))
    names = [name for name in whole.__struct_fields__ if getattr(whole, name) is not None]
    name = rng.choice(names)
    value = getattr(whole, name)
    if isinstance(value, Commitment):
        value = change_field(rng, value, ["checkpoint", "event", "path"])
    elif isinstance(value, str):
        value = rng.choice([value + "a", value[:-1], value.replace("0", "1"), "heads", "records"])
    else:
        value = changed(rng, value)
    return proofs.write(replaced(whole, **{name: value}))


def product_accepts(data: bytes) -> bool:
    try:
        proofs.verify(proofs.read(data), NODE.public)
    except (proofs.DoesNotHold, proofs.Unreadable):
        return False
    return True


def oracle_accepts(data: bytes) -> bool:
    try:
        document = proof_oracle.read(data)
        if document["format"] == "engram/proof/1":
            proof_oracle.proof(document, NODE.public)
        else:
            proof_oracle.receipt(document, NODE.public)
    except proof_oracle.Refused:
        return False
    return True


def same(data: bytes, other: bytes) -> bool:
    """Say whether two files say the same: blanks, and the order of fields, are nobody's."""
    try:
        return proofs.read(data) == proofs.read(other)
    except proofs.Unreadable:
        return False


# -- counting ---------------------------------------------------------------------------------------------------------


class Tally(msgspec.Struct):
    """What became of the mutants of one kind. `wrong`: accepted, or not judged as the oracle does."""

    mutants: int = 0
    same: int = 0
    verdicts: dict[str, int] = {}
    wrong: list[str] = []


def run(mutants: int, seed: int) -> dict[str, Tally]:
    """Make so many mutants of every kind in turn, and hold product and oracle to each other."""
    rng = random.Random(seed)
    tallies: dict[str, Tally] = {}
    kinds = [*TRANSCRIPTS, "documents as files"]
    base = honest(rng)
    for number in range(mutants):
        kind = kinds[number % len(kinds)]
        tally = tallies.setdefault(kind, Tally())
        if number % (4 * len(kinds)) == 0:
            base = honest(rng)
        if kind in TRANSCRIPTS:
            judge_one(rng, kind, base, tally)
        else:
            read_one(rng, tally)
    return tallies


def judge_one(rng: random.Random, kind: str, base: tuple[Transcript, Any], tally: Tally) -> None:
    transcript, of = base
    mutant = TRANSCRIPTS[kind](rng, transcript, of)
    if mutant == transcript:
        tally.same += 1
        return
    tally.mutants += 1
    verdict = product_verdict(mutant)
    tally.verdicts[verdict] = tally.verdicts.get(verdict, 0) + 1
    framed = kind == UNSIGNED and verdict == Outcome.INVALID.name
    if verdict == Outcome.PASS.name or framed or verdict != oracle_verdict(mutant):
        tally.wrong.append(f"{verdict}, the oracle says {oracle_verdict(mutant)}: {mutant!r}")


def read_one(rng: random.Random, tally: Tally) -> None:
    data, held = documents(rng)
    mutant = change_text(rng, data)
    accepted = product_accepts(mutant)
    if same(data, mutant) or (accepted and held.agrees(mutant)):
        tally.same += 1
        return
    tally.mutants += 1
    verdict = "accepted" if accepted else "refused"
    tally.verdicts[verdict] = tally.verdicts.get(verdict, 0) + 1
    if accepted or accepted != oracle_accepts(mutant):
        tally.wrong.append(f"{verdict}, the oracle says {oracle_accepts(mutant)}: {mutant!r}")


def table(tallies: dict[str, Tally]) -> str:
    lines = [f"{'kind':<32} {'mutants':>8} {'accepted':>8}  verdicts"]
    for kind, tally in tallies.items():
        verdicts = ", ".join(f"{name} {count}" for name, count in sorted(tally.verdicts.items()))
        accepted = tally.verdicts.get("PASS", 0) + tally.verdicts.get("accepted", 0)
        lines.append(f"{kind:<32} {tally.mutants:>8,} {accepted:>8}  {verdicts}")
    total = sum(tally.mutants for tally in tallies.values())
    wrong = sum(len(tally.wrong) for tally in tallies.values())
    return "\n".join([*lines, f"{total:,} mutants, {wrong} accepted or judged otherwise than by the oracle"])


__all__ = ["VALIDATOR", "Proof", "Slow"]
