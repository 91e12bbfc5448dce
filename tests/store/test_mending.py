"""A rotten body is never given, and is mended where it stands when the same is put again."""

from __future__ import annotations

import random

import pytest
from store.test_scrub import NOW, fill, flip, located, one_pass, open_small

from engram import cid, record
from engram.errors import BodiesCorrupt, EngramError
from engram.events import SEGMENT_BYTES
from engram.native import _core
from engram.store import DeleteOperation, Scrub
from engram.store._frames import segment_name


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def rotten(folder, store, operation, *offsets):
    """Turn a bit of a record's body at each of these offsets in its frame."""
    number, at = divmod(located(store, operation.digest), SEGMENT_BYTES)
    for offset in offsets or (64 + 70,):
        flip(folder / "bodies" / segment_name(number), at + offset)
    return number * SEGMENT_BYTES + at


def found(store, operation):
    vector = operation.payload[64 : 64 + 16]
    return operation.digest in {item.digest for item in store.search(operation.ns, vector, 1000, None).found}


@pytest.mark.parametrize("offset", [0, 5, 9, 12, 20, 50, 64, 64 + 30, 64 + 70])
@pytest.mark.parametrize("scrubbed", [True, False])
def test_a_put_of_what_rots_writes_it_again(folder, offset, scrubbed):
    store = open_small(folder)
    puts = fill(store)
    hurt, other = puts[3], puts[4]
    rotten(folder, store, hurt, offset)
    scrub = Scrub(store)
    if scrubbed:
        one_pass(scrub)
        assert len(scrub.place.findings) == 1
    if scrubbed or offset:  # of the magic nothing is given
        with pytest.raises(BodiesCorrupt):
            store.get(hurt.ns, hurt.digest)
    size = store.published.position
    [done] = store.commit([hurt], NOW)
    assert not done.created
    assert store.published.position == size
    assert store.get(hurt.ns, hurt.digest).size == len(hurt.payload)
    assert found(store, hurt)
    assert store.get(other.ns, other.digest).size == len(other.payload)
    assert scrub.due_s(NOW) == 0
    scrub.step(NOW)
    assert scrub.place.findings == []
    if scrubbed or offset:
        one_pass(scrub)
        assert scrub.place.findings == []
    scrub.close()
    store.close(NOW)
    again = open_small(folder)
    assert again.get(hurt.ns, hurt.digest).size == len(hurt.payload)
    assert found(again, hurt)
    again.close(NOW)


def test_a_return_of_what_was_deleted_and_rots_unseen_writes_it_again(folder):
    store = open_small(folder)
    hurt = fill(store)[3]
    store.commit([DeleteOperation(hurt.ns, hurt.digest, hurt.signer)], NOW)
    rotten(folder, store, hurt)
    [done] = store.commit([hurt], NOW)
    assert done.created
    assert store.get(hurt.ns, hurt.digest).size == len(hurt.payload)
    assert found(store, hurt)
    store.refold()
    assert store.get(hurt.ns, hurt.digest).size == len(hurt.payload)
    store.close(NOW)


def test_of_two_rotten_neighbours_the_one_that_is_put_is_mended(folder):
    store = open_small(folder)
    puts = fill(store)
    for mended, still in ((puts[3], puts[4]), (puts[10], puts[9])):
        rotten(folder, store, mended)
        rotten(folder, store, still)
        scrub = Scrub(store)
        one_pass(scrub)
        assert len(scrub.place.findings) == 1
        store.commit([mended], NOW)
        for _ in range(3):
            assert store.get(mended.ns, mended.digest) is not None
            with pytest.raises(BodiesCorrupt):
                store.get(still.ns, still.digest)
            scrub.step(NOW)
        one_pass(scrub)
        assert len(scrub.place.findings) == 1
        store.commit([still], NOW)
        scrub.step(NOW)
        assert scrub.place.findings == []
        scrub.close()
    store.close(NOW)


def test_a_record_in_a_place_that_another_has_taken_is_not_mended_over_it(folder):
    store = open_small(folder)
    puts = fill(store)
    hurt, other = puts[3], puts[4]
    number, at = divmod(located(store, hurt.digest), SEGMENT_BYTES)
    frame = _core.encode_body(0, other.digest, other.payload)
    path = folder / "bodies" / segment_name(number)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(frame)
    with pytest.raises(BodiesCorrupt):
        store.get(hurt.ns, hurt.digest)
    store.commit([hurt], NOW)
    with path.open("rb") as file:
        file.seek(at)
        assert file.read(len(frame)) == frame
    store.commit([DeleteOperation(hurt.ns, hurt.digest, hurt.signer)], NOW)
    store.commit([hurt], NOW)  # a new life, in a new place
    assert store.get(hurt.ns, hurt.digest).size == len(hurt.payload)
    store.close(NOW)


@pytest.mark.parametrize("offset", [0, 5, 9, 20, 64 + 70])
def test_what_rots_can_be_erased_and_its_neighbours_stand(folder, offset):
    store = open_small(folder)
    puts = fill(store)
    hurt = puts[3]
    location = rotten(folder, store, hurt, offset)
    scrub = Scrub(store)
    one_pass(scrub)
    [done] = store.commit([DeleteOperation(hurt.ns, hurt.digest, hurt.signer, erase=True)], NOW)
    assert done.erased
    path = folder / "bodies" / segment_name(location // SEGMENT_BYTES)
    with path.open("rb") as file:
        file.seek(location % SEGMENT_BYTES + 64)
        assert not any(file.read(len(hurt.payload)))
    scrub.step(NOW)
    one_pass(scrub)
    assert scrub.place.findings == []
    for put in puts[1:]:  # the first is deleted
        assert (store.get(put.ns, put.digest) is None) == (put is hurt)
    store.refold()
    scrub.close()
    store.close(NOW)
    again = open_small(folder)
    assert again.count(hurt.ns) == len(puts) - 2
    again.close(NOW)


def test_no_other_bytes_than_a_payload_have_its_cid():
    """So a body that stands under its id is what the event hashed: no byte, reserved or not, can be another."""
    rng = random.Random(8)
    digest, payload = record.encode_text("a text", record.stored_vector([1.0, -2.0, 0.5]), b'{"a":1}', "m/1")
    for at in range(len(payload)):
        for _ in range(8):
            other = bytearray(payload)
            other[at] ^= rng.randrange(1, 256)
            try:
                found = _core.decode_record(bytes(other))[0]
            except ValueError:
                continue
            assert found != digest, at
    for other in (payload + b"\0", payload[:-1], b"\0" + payload, payload + payload):
        try:
            assert _core.decode_record(other)[0] != digest
        except (ValueError, EngramError):
            continue
    assert _core.decode_record(payload)[0] == digest
    assert cid.from_digest(digest).startswith("v1::")
