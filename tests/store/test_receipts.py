"""Receipts: one for each event that stands for an operation, checked by the simulation's own code."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import msgspec
import pytest
from golden import FORMATS

from engram import record, wire
from engram.identity import NodeKey, receipt_message
from engram.native import _core
from engram.node._checks import receipt_of
from engram.runtime import RealRng
from engram.store import PUBLIC, DeleteOperation, KeyOperation, PutOperation, Store
from engram.store._receipts import RECENT_EVENTS, RECENT_FRAMES
from engram.testing import SimDisk, SimTables
from engram.testing._losses import LoseNothing
from engram.testing._oracle import Violation
from engram.testing._receipts import Receipts

NOW = 1_700_000_000_000_000_000
DATA = Path("/data")


@pytest.fixture
def disk():
    return SimDisk()


@pytest.fixture
def store(disk):
    store = Store.open(disk, SimTables(disk, random.Random(1)), DATA, RealRng(), NOW, "test")
    yield store
    store.close(NOW)


@functools.cache
def payload(number: int) -> tuple[bytes, bytes]:
    return record.encode_vector(record.stored_vector([1.0 + number, *[0.0] * 383]), b"{}", "v1")


def put(store: Store, number: int, chunks=(), key=None) -> PutOperation:
    me = store.key.public
    named = None if key is None else KeyOperation(PUBLIC.ns, key, payload(number)[0], me)
    return PutOperation(PUBLIC.ns, *payload(number), me, chunks, named)


def delete(store: Store, number: int) -> DeleteOperation:
    return DeleteOperation(PUBLIC.ns, payload(number)[0], store.key.public)


def judge(disk: SimDisk) -> Receipts:
    return Receipts(disk.image(LoseNothing()).files(), str(DATA))


def test_every_event_that_answers_an_operation_has_a_receipt(store, disk):
    given = []
    for at, size in enumerate((1, 2, 3, 7, 64, 300)):
        numbers = range(at * 1000, at * 1000 + size)
        given += store.commit([put(store, number) for number in numbers], NOW + at)
        given += store.commit([delete(store, numbers[0]), put(store, numbers[0])], NOW + at)
    receipts = judge(disk)
    for done in given:
        assert done.receipt.position == done.position
        receipts.check(receipt_of(done), "test")


def test_one_signature_serves_a_frame(store):
    given = store.commit([put(store, number) for number in range(50)], NOW)
    assert len({done.receipt.signature for done in given}) == 1
    assert len({done.receipt.event for done in given}) == 50


def test_a_long_text_and_a_named_put_have_that_of_the_event_they_answer_with(store, disk):
    [long] = store.commit([put(store, 1, tuple(payload(number) for number in range(10, 40)))], NOW)
    [named] = store.commit([put(store, 2, key="doc")], NOW)
    [renamed] = store.commit([put(store, 1, key="doc")], NOW)
    receipts = judge(disk)
    assert receipts.check(receipt_of(long), "test")["type"] == "record_stored.1"
    for done in (named, renamed):
        assert done.receipt.position == done.position
        assert receipts.check(receipt_of(done), "test")["type"] == "key_set.1"


def test_what_stands_already_is_answered_with_its_first_receipt(store, disk):
    first, again = store.commit([put(store, 1), put(store, 1)], NOW)
    assert (first.created, again.created) == (True, False)
    assert again.receipt == first.receipt
    store.commit([put(store, 2, key="doc")], NOW)
    [later] = store.commit([put(store, 1)], NOW)
    assert (later.position, later.created, later.receipt) == (first.position, False, first.receipt)
    [named] = store.commit([KeyOperation(PUBLIC.ns, "doc", payload(2)[0], store.key.public)], NOW)
    assert judge(disk).check(receipt_of(named), "test")["type"] == "key_set.1"


def test_only_the_receipts_of_late_are_remembered(store):
    [first] = store.commit([put(store, 0)], NOW)
    half = RECENT_EVENTS // 2
    second = store.commit([put(store, number) for number in range(1, half)], NOW)
    assert store.commit([put(store, 0)], NOW)[0].receipt == first.receipt
    store.commit([put(store, number) for number in range(half, 2 * half)], NOW)
    assert [done.receipt for done in store.commit([put(store, n) for n in (5, 1)], NOW)] == [
        second[4].receipt,
        second[0].receipt,
    ]
    store.commit([put(store, 2 * half)], NOW)
    old, late = store.commit([put(store, 0), put(store, 2 * half - 1)], NOW)
    assert (old.position, old.created, old.receipt) == (first.position, False, None)
    assert late.receipt.position == late.position


def test_so_many_frames_are_remembered_at_most(store):
    [first] = store.commit([put(store, 0)], NOW)
    for number in range(1, RECENT_FRAMES):
        store.commit([put(store, number)], NOW)
    assert store.commit([put(store, 0)], NOW)[0].receipt == first.receipt
    store.commit([put(store, RECENT_FRAMES)], NOW)
    assert store.commit([put(store, 0)], NOW)[0].receipt is None


def test_what_was_refused_beside_it_does_not_matter(store, disk):
    refused, done = store.commit([delete(store, 9), put(store, 1)], NOW)
    assert refused.code == "not_found"
    judge(disk).check(receipt_of(done), "test")


@pytest.mark.parametrize("field", ["event", "position", "size", "root", "time_unix_ns", "path", "signature"])
def test_its_judge_sees_what_was_changed(store, disk, field):
    store.commit([put(store, number) for number in range(5)], NOW)
    receipt = receipt_of(store.commit([put(store, 7)], NOW)[0])
    other = receipt_of(store.commit([put(store, number) for number in (8, 9)], NOW)[1])
    changed = msgspec.structs.replace(receipt, **{field: getattr(other, field)})
    with pytest.raises(Violation):
        judge(disk).check(changed, "test")


def test_the_golden_receipt():
    golden = FORMATS["checkpoint"]["receipt"]
    root, time_unix_ns = bytes.fromhex(golden["root_hex"]), golden["time_unix_ns"]
    signature = NodeKey(bytes(range(32))).sign(receipt_message(golden["size"], root, time_unix_ns))
    assert signature.hex() == golden["signature_hex"]


def test_the_golden_path():
    golden = FORMATS
    segment = bytes.fromhex(golden["log"]["segment_hex"])
    before = _core.LogState()
    frames, _ = _core.LogState().scan(segment, True, 0)
    (first, length, *_), (second, size, *_), *_ = frames
    before.scan(segment[:length], True, 0)
    events = _core.frame_events(segment[second : second + size])
    wanted = golden["checkpoint"]["receipt"]
    [path] = _core.frame_paths(before, events, [wanted["position"] - before.size])
    assert [node.hex() for node in path] == wanted["path_hex"]
    assert first == 0


def test_it_travels_as_the_wire_has_it(store):
    receipt = receipt_of(store.commit([put(store, 1)], NOW)[0])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(receipt), type=wire.Receipt) == receipt
