"""The challenger beside a real store: whom it challenges when, what it appends, what it keeps. Time is virtual."""

from __future__ import annotations

import contextlib

import msgspec
import structlog.testing
import trio
from actors.test_scrubber import Inline
from kernel_actors import FixedRng, TrioClock
from proof_world import NODE, NOW_MS, VALIDATOR, Shelf, World, payload, state_of

from engram import events
from engram.actors import ChallengeOnce, ChallengerActor, StoreActor, keep_asking
from engram.errors import Unavailable
from engram.events import Checkpoint
from engram.node._challenging import Challenged
from engram.node._evidence import EvidenceFolder
from engram.proofs import Outcome, Prover, check_commitment, commitment_of
from engram.runtime import RealDisk, RealRng, RealTables, Supervisor, Tail
from engram.store import Store

PAYLOADS = [payload(number) for number in range(20)]


class Miners:
    """Nodes by their addresses, each a prover over its records: what a challenge over a wire would come to."""

    def __init__(self):
        self.asked = []
        self.worlds = {}
        self.spoil = {}
        self.earlier = None

    def add(self, address, payloads, before=None):
        shelf, state = Shelf(list(payloads)), state_of(payloads, before=before)
        self.worlds[address] = World(payloads, state, shelf, Prover(NODE, shelf, [VALIDATOR.public]))

    async def challenge(self, address):
        self.asked.append((trio.current_time(), address))
        if address not in self.worlds:
            raise Unavailable(f"no node answers at {address}")
        world = self.worlds[address]
        challenger = world.challenger(number=len(self.asked))
        while (request := challenger.request) is not None:
            answer = world.answer(request)
            challenger.take(self.spoil.get(type(answer), lambda same: same)(answer), 1)
        commitment = commitment_of(world.state)
        committed = check_commitment(commitment)
        return Challenged(
            commitment=commitment,
            committed=committed,
            challenger=challenger,
            judged=challenger.judged,
            earlier=self.earlier,
        )


@contextlib.asynccontextmanager
async def challenging(tmp_path, miners, nodes, every_s=60):
    offload, clock = Inline(), TrioClock()
    store = Store.open(RealDisk(), RealTables(), tmp_path / "data", RealRng(), NOW_MS * 10**6, "test")
    try:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, clock, FixedRng(0), offload=offload)
            await supervisor.start("store", lambda: StoreActor(store, offload, clock, Tail(store.log, offload)))
            keeper = EvidenceFolder(RealDisk(), tmp_path / "evidence")
            make = lambda: ChallengerActor(nodes, every_s, miners.challenge, keeper)  # noqa: E731
            ref = await supervisor.start("challenger", make, essential=False)
            nursery.start_soon(keep_asking, ref, ChallengeOnce, clock)
            yield store
            await supervisor.stop()
            nursery.cancel_scope.cancel()
    finally:
        store.close(NOW_MS * 10**6)


def judged(store):
    found = [events.decode(data) for _, _, data in store.log.reader(0).read(1000)]
    return [event for event in found if isinstance(event, events.ChallengeJudged)]


def kept(tmp_path):
    return sorted(path.name.partition("-")[0] for path in (tmp_path / "evidence").rglob("*.json"))


async def test_each_node_is_challenged_in_its_turn_and_the_verdicts_are_in_the_log(tmp_path, autojump_clock):
    miners = Miners()
    for address in ("a", "b"):
        miners.add(address, PAYLOADS)
    async with challenging(tmp_path, miners, ["a", "b", "nobody"]) as store:
        await trio.sleep(119)
        assert [address for _, address in miners.asked] == ["a", "b", "nobody"] * 2
        assert [round(at - miners.asked[0][0]) for at, _ in miners.asked] == [0, 20, 40, 60, 80, 100]
        found = judged(store)
    assert [(event.verdict, event.m, event.miner) for event in found] == [(Outcome.PASS, 8, NODE.public)] * 4
    assert len({event.chal_id for event in found}) == 4
    assert {event.evidence for event in found} == {bytes(32)}
    assert kept(tmp_path) == ["checkpoints.json"]


async def test_an_answer_that_no_honest_node_gives_is_kept_as_evidence(tmp_path, autojump_clock):
    from engram.identity import slow_message
    from engram.wire import Slow

    miners = Miners()
    miners.add("liar", PAYLOADS)

    def swapped(slow):
        payloads = [*slow.payloads[1:], slow.payloads[0]]
        import hashlib

        hashes = [hashlib.sha256(each).digest() for each in payloads]
        message = slow_message(slow.chal_id, slow.multiproof, slow.leaves, hashes)
        return msgspec.structs.replace(slow, payloads=payloads, signature=NODE.sign(message))

    miners.spoil[Slow] = swapped
    async with challenging(tmp_path, miners, ["liar"]) as store:
        await trio.sleep(1)
        [event] = judged(store)
    assert event.verdict == Outcome.INVALID
    assert event.evidence != bytes(32)
    assert kept(tmp_path) == ["checkpoints.json", "invalid"]


async def test_a_second_history_of_one_size_is_kept_as_evidence(tmp_path, autojump_clock):
    miners = Miners()
    miners.add("forked", PAYLOADS)
    async with challenging(tmp_path, miners, ["forked"]):
        await trio.sleep(1)
        miners.add("forked", PAYLOADS[::-1][:10])
        await trio.sleep(60)
    assert kept(tmp_path) == ["checkpoints.json", "equivocation"]


async def test_a_log_that_does_not_prove_that_it_goes_on_is_told_of(tmp_path, autojump_clock):
    miners = Miners()
    miners.add("forked", PAYLOADS)
    miners.earlier = Checkpoint(1, bytes(32))
    with structlog.testing.capture_logs() as said:
        async with challenging(tmp_path, miners, ["forked"]):
            await trio.sleep(1)
    [told] = [entry for entry in said if entry["event"] == "history_not_proved"]
    assert told["signed_before"] == 1
