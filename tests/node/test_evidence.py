"""What a challenging node keeps of others: checkpoints that exclude each other are found, and written down."""

from __future__ import annotations

import msgspec
from proof_world import NODE, NOW_MS, VALIDATOR, log_of, payload, state_of

from engram import events
from engram.node._evidence import EvidenceFolder
from engram.proofs import Challenger, Nonce, Outcome, check_commitment, check_evidence, commitment_of, read
from engram.runtime import RealDisk
from engram.wire import Commitment


def committed(payloads, before=None):
    commitment = commitment_of(state_of(payloads, before=before))
    return commitment, check_commitment(commitment)


def created(number):
    return events.encode(events.LogCreated(format=number, node_key=NODE.public))


def kept(folder):
    return sorted(path.name for path in folder.rglob("*.json"))


def test_two_roots_of_one_size_are_evidence_that_anyone_can_verify(tmp_path):
    folder = EvidenceFolder(RealDisk(), tmp_path)
    first, forked = committed([payload(1)]), committed([payload(2)])
    assert folder.meet(*first) is None
    assert folder.meet(*first) is None
    found = EvidenceFolder(RealDisk(), tmp_path).meet(*forked)  # another run of the node remembers
    assert "two roots" in check_evidence(found, NODE.public)
    [name, _] = kept(tmp_path)
    assert name == "checkpoints.json" or name.startswith("equivocation-")
    [path] = tmp_path.rglob("equivocation-*.json")
    assert path.parent.name == NODE.address
    assert check_evidence(read(path.read_bytes()), NODE.public)


def test_a_log_that_grows_is_no_evidence_and_its_largest_size_is_known(tmp_path):
    folder = EvidenceFolder(RealDisk(), tmp_path)
    assert folder.largest(NODE.public) is None
    for size in (1, 3, 2):
        assert folder.meet(*committed([payload(1)], [created(n) for n in range(size)])) is None
    assert folder.largest(NODE.public).size == 4
    assert kept(tmp_path) == ["checkpoints.json"]


def test_no_more_is_kept_than_makes_a_difference(tmp_path):
    folder = EvidenceFolder(RealDisk(), tmp_path)
    folder.meet(*committed([payload(0)]))
    for number in range(1, 40):
        assert folder.meet(*committed([payload(number)])) is not None
    assert len(kept(tmp_path)) == 17
    for size in range(2, 300):
        folder.meet(*committed([payload(0)], [created(n) for n in range(size)]))
    [path] = tmp_path.rglob("checkpoints.json")
    assert len(msgspec.json.decode(path.read_bytes())) == 256


def test_a_node_makes_nobody_forget_by_large_commitments(tmp_path):
    folder = EvidenceFolder(RealDisk(), tmp_path)
    for size in range(2, 70):
        before = [created(number) for number in range(size)]
        event = msgspec.msgpack.encode(msgspec.msgpack.decode(state_of([]).event) | {"more": "x" * 60_000})
        note, _, paths = log_of([*before, event], NODE)
        large = Commitment(checkpoint=note, event=event, path=paths[-1])
        assert folder.meet(large, check_commitment(large)) is None
        assert folder.largest(NODE.public).size == size + 1


def test_damaged_memory_is_begun_anew(tmp_path):
    folder = EvidenceFolder(RealDisk(), tmp_path)
    folder.meet(*committed([payload(1)]))
    [path] = tmp_path.rglob("checkpoints.json")
    for damage in (b"", b"{", b"[1]", b"\xff" * 100):
        path.write_bytes(damage)
        assert folder.largest(NODE.public) is None
        assert folder.meet(*committed([payload(1)])) is None


def test_only_an_invalid_answer_is_kept(tmp_path):
    folder = EvidenceFolder(RealDisk(), tmp_path)
    commitment, _ = committed([])
    challenger = Challenger(VALIDATOR, NODE.public, commitment, Nonce(bytes(32)), now_unix_ms=NOW_MS, m=1)
    assert challenger.judged.outcome == Outcome.REFUSED
    folder.keep(challenger.conclude())
    assert kept(tmp_path) == []
