from __future__ import annotations

import hashlib
import importlib
import itertools
import random
import sys
import threading
from pathlib import Path

import pytest
from disks import FaultyDisk
from rich_folder import look

from engram import cid, documents, events, record
from engram import filter as filters
from engram.errors import BodiesCorrupt, Forbidden, NotFound, StorageFailed
from engram.events import SEGMENT_BYTES
from engram.identity import namespace_id
from engram.native import _core
from engram.runtime import MemoryDisk, MemoryTables, RealDisk, RealRng, RealTables
from engram.store import PUBLIC, CreateOperation, DeleteOperation, PutOperation, Store
from engram.store import _tables as tables
from engram.store._frames import RECORD, Body, segment_name
from engram.store._overwriting import erase

sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # where a script finds what it imports when it is run
independent = importlib.import_module("audit")

NOW = 1_700_000_000_000_000_000
SECRET = "the vault opens with 4711 " * 40


def open_store(path, disk=None, tables_port=None, **options) -> Store:
    return Store.open(disk or RealDisk(), tables_port or RealTables(), path, RealRng(), NOW, "test", **options)


def put(store, text, ns=PUBLIC.ns, signer=None, metadata=None):
    vector = record.stored_vector([byte - 127.5 for byte in hashlib.sha256(text.encode()).digest() * 12])
    encoded = record.encode_text(text, vector, record.canonical_metadata(metadata or {}), PUBLIC.model_version)
    return PutOperation(ns, *encoded, signer or store.key.public)


def ended(operation, *, erase=True):
    return DeleteOperation(operation.ns, operation.digest, operation.signer, erase)


def kept(path: Path, what: str | bytes = SECRET[:26]) -> list[str]:
    """Give the files of a folder that hold some bytes."""
    wanted = what.encode() if isinstance(what, str) else what
    return sorted(file.name for file in path.rglob("*") if file.is_file() and wanted in file.read_bytes())


def rows(store) -> dict[str, list]:
    return {table: sorted(store._writer.execute(f"SELECT * FROM {table}").fetchall()) for table in tables.FOLDED}


def texts(store, ns=PUBLIC.ns):
    return [view.text for _, view in store.browse(ns, None, 0, 100)[0]]


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "data")
    yield store
    if not store._failed:
        store.close(NOW)


def test_an_erased_text_is_in_no_file_of_the_folder(store, tmp_path):
    secret, other = put(store, SECRET, metadata={"pin": "4711"}), put(store, "something else")
    store.commit([secret, other], NOW)
    assert kept(tmp_path) == [segment_name(0)]
    [done] = store.commit([ended(secret)], NOW)
    assert (done.created, done.erased) == (True, True)
    assert not kept(tmp_path)
    assert not kept(tmp_path, b"4711")
    assert store.get(PUBLIC.ns, secret.digest) is None
    assert texts(store) == ["something else"]
    store.close(NOW)
    again = open_store(tmp_path / "data")
    assert again.get(PUBLIC.ns, secret.digest) is None
    assert texts(again) == ["something else"]
    again.close(NOW)
    assert not kept(tmp_path)


def test_its_vector_is_in_no_file_either(store, tmp_path):
    secret = put(store, SECRET)
    store.commit([secret], NOW)
    vector = secret.payload[64 : 64 + 4 * 384]
    assert kept(tmp_path, vector)
    store.commit([ended(secret)], NOW)
    assert not kept(tmp_path, vector)
    assert not kept(tmp_path, vector[100:140])


def test_a_deletion_without_it_keeps_the_body(store, tmp_path):
    secret = put(store, SECRET)
    store.commit([secret], NOW)
    [done] = store.commit([ended(secret, erase=False)], NOW)
    assert not done.erased
    assert kept(tmp_path) == [segment_name(0)]
    assert store.tombstone_of(secret.digest) is None


def test_what_was_deleted_before_is_erased_when_asked_for(store, tmp_path):
    secret = put(store, SECRET)
    store.commit([secret], NOW)
    [first] = store.commit([ended(secret, erase=False)], NOW)
    [second] = store.commit([ended(secret)], NOW)
    assert second.position == first.position + 1
    assert second.erased
    assert not kept(tmp_path)
    event = events.decode(store.tombstone_of(secret.digest))
    assert isinstance(event, events.RecordDeleted)
    assert event.erase
    assert event.cid == cid.from_digest(secret.digest)


def test_erasing_twice_says_the_same_and_appends_nothing(store):
    secret = put(store, SECRET)
    store.commit([secret], NOW)
    [done] = store.commit([ended(secret)], NOW)
    size = store.published.position
    again = store.commit([ended(secret), DeleteOperation(PUBLIC.ns, secret.digest, None, True)], NOW)
    assert [(one.position, one.created, one.erased) for one in again] == [(done.position, False, True)] * 2
    assert store.published.position == size
    with pytest.raises(NotFound):
        raise store.commit([ended(secret, erase=False)], NOW)[0]


def test_what_was_never_there_is_not_erased(store):
    secret, stranger = put(store, SECRET), b"\7" * 32
    unknown, of_nobody = store.commit([ended(secret), DeleteOperation(PUBLIC.ns, secret.digest, None, True)], NOW)
    assert isinstance(unknown, NotFound)
    assert isinstance(of_nobody, NotFound)
    store.commit([secret], NOW)
    [refused] = store.commit([DeleteOperation(PUBLIC.ns, secret.digest, stranger, True)], NOW)
    assert isinstance(refused, Forbidden)
    store.commit([ended(secret, erase=False)], NOW)
    [refused] = store.commit([DeleteOperation(PUBLIC.ns, secret.digest, stranger, True)], NOW)
    assert isinstance(refused, NotFound)
    assert store.tombstone_of(secret.digest) is None


def test_what_lives_elsewhere_is_kept_until_nobody_holds_it(store, tmp_path):
    notes = namespace_id(store.key.public, "notes")
    store.commit([CreateOperation(store.key.public, "notes", PUBLIC.model_version, PUBLIC.dim)], NOW)
    here, there = put(store, SECRET), put(store, SECRET, notes)
    store.commit([here, there], NOW)
    [done] = store.commit([ended(here)], NOW)
    assert not done.erased
    assert store.get(PUBLIC.ns, here.digest) is None
    assert store.get(notes, there.digest).text == SECRET
    store.commit([ended(there, erase=False)], NOW)
    assert not kept(tmp_path)


def test_a_put_after_it_takes_the_wish_back(store, tmp_path):
    notes = namespace_id(store.key.public, "notes")
    store.commit([CreateOperation(store.key.public, "notes", PUBLIC.model_version, PUBLIC.dim)], NOW)
    here, there = put(store, SECRET), put(store, SECRET, notes)
    store.commit([here, there, ended(here), here, ended(here, erase=False), ended(there, erase=False)], NOW)
    assert kept(tmp_path) == [segment_name(0)]


def test_the_operator_erases_what_several_keys_hold(store, tmp_path):
    some = [put(store, SECRET, signer=bytes([signer]) * 32) for signer in range(3)]
    store.commit([*some, ended(some[0], erase=False)], NOW)
    [done] = store.commit([DeleteOperation(PUBLIC.ns, some[0].digest, None, True)], NOW)
    assert done.erased
    assert not kept(tmp_path)


def test_the_chunks_of_a_long_text_are_erased_with_it(store, tmp_path):
    document, chunks = long_text(store)
    store.commit([document], NOW)
    store.commit([ended(document)], NOW)
    assert not kept(tmp_path)
    assert not any(kept(tmp_path, record_text) for record_text in chunks)


def test_the_chunks_of_one_that_was_deleted_before_are_too(store, tmp_path):
    document, chunks = long_text(store)
    store.commit([document, ended(document, erase=False)], NOW)
    assert kept(tmp_path, chunks[0])
    store.commit([ended(document)], NOW)
    assert not kept(tmp_path)
    assert not any(kept(tmp_path, record_text) for record_text in chunks)


def long_text(store):
    words = [f"nobody-is-to-know-{n}" for n in range(3)]
    text = " ".join(words)
    spans = [(text.index(word), text.index(word) + len(word)) for word in words]
    own = documents.document_metadata(b"{}", "split/1")
    heads = [record.stored_vector([1.0, n, *[0.0] * 382]) for n in range(3)]
    digest, payload = record.encode_text(text, heads[0], own, PUBLIC.model_version)
    places = documents.chunk_metadata(own, cid.from_digest(digest), spans)
    chunks = tuple(
        record.encode_text(word, head, place, PUBLIC.model_version)
        for word, head, place in zip(words, heads, places, strict=True)
    )
    return PutOperation(PUBLIC.ns, digest, payload, store.key.public, chunks), words


@pytest.mark.parametrize("together", [True, False])
def test_a_put_after_it_writes_the_body_anew(store, tmp_path, together):
    secret, other = put(store, SECRET), put(store, "something else")
    operations = [secret, other, ended(secret), secret]
    for some in [operations] if together else [[one] for one in operations]:
        for done in store.commit(some, NOW):
            assert not isinstance(done, Exception), done
    assert store.get(PUBLIC.ns, secret.digest).text == SECRET
    assert sorted(texts(store)) == sorted([SECRET, "something else"])
    query = secret.payload[64 : 64 + 4 * 384]
    assert store.search(PUBLIC.ns, query, 1, filters.parse(None)).found[0].view.text == SECRET
    before, digest = rows(store), store.state_digest
    store.refold()
    assert (rows(store), store.state_digest) == (before, digest)
    assert store.get(PUBLIC.ns, secret.digest).text == SECRET
    store.close(NOW)
    (tmp_path / "data" / "state.db").unlink()
    again = open_store(tmp_path / "data")
    assert again.refolded
    assert rows(again) == before
    assert again.get(PUBLIC.ns, secret.digest).text == SECRET
    again.commit([ended(secret)], NOW)
    again.close(NOW)
    assert not kept(tmp_path)


def test_any_history_of_puts_and_deletions_folds_to_the_same_rows(tmp_path):
    rng = random.Random(8)
    for round_ in range(6):
        folder = tmp_path / str(round_)
        store = open_store(folder, segment_bytes=rng.choice([8 * 1024, SEGMENT_BYTES]))
        notes = namespace_id(store.key.public, "notes")
        store.commit([CreateOperation(store.key.public, "notes", PUBLIC.model_version, PUBLIC.dim)], NOW)
        puts = [
            put(store, f"{SECRET}{n}", ns, bytes([signer]) * 32)
            for n, ns, signer in itertools.product(range(3), (PUBLIC.ns, notes), (1, 2))
        ]
        for _ in range(40):
            some = [rng.choice(puts) for _ in range(rng.randint(1, 4))]
            store.commit([one if rng.random() < 0.5 else ended(one, erase=rng.random() < 0.6) for one in some], NOW)
        before = rows(store)
        assert store.verify_state()
        store.refold()
        assert rows(store) == before
        living = {one.digest for one in puts if store.get(one.ns, one.digest) is not None}
        erased = {one.digest for one in puts if store.tombstone_of(one.digest)} - living
        for n in range(3):
            digest = puts[4 * n].digest
            whole = f"{SECRET}{n}"
            if digest in living:
                assert kept(folder, whole), n
            elif digest in erased:
                assert not kept(folder, whole), n
        store.close(NOW)
        again = open_store(folder)
        assert rows(again) == before
        again.close(NOW)


def test_what_was_kept_of_a_torn_tail_goes_too(tmp_path):
    folder = tmp_path / "data"
    store = open_store(folder)
    secret = put(store, SECRET)
    store.commit([secret], NOW)
    copy = folder / "bodies" / f"{segment_name(0)}.torn-4096"
    copy.write_bytes(b"half a frame " + secret.payload)
    store.commit([ended(secret)], NOW)
    assert not copy.exists()
    assert not kept(tmp_path)
    store.close(NOW)


def test_in_memory_too():
    disk = MemoryDisk()
    store = open_store(Path("/memory"), disk, MemoryTables())
    secret = put(store, SECRET)
    store.commit([secret, ended(secret)], NOW)
    segment = disk.open(Path("/memory/bodies") / segment_name(0))
    assert SECRET[:26].encode() not in segment.read(0, segment.size())
    [done] = store.commit([secret], NOW)
    assert done.created
    assert store.get(PUBLIC.ns, secret.digest).text == SECRET
    store.close(NOW)


def test_an_event_that_names_an_erased_body_without_an_erasure_is_damage(store, tmp_path):
    secret = put(store, SECRET)
    store.commit([secret], NOW)
    location = store._fold.location_of(secret.digest)
    erase(RealDisk(), tmp_path / "data" / "bodies", [Body(secret.digest, RECORD, location)], store._bodies.tail)
    store.close(NOW)
    (tmp_path / "data" / "state.db").unlink()
    with pytest.raises(BodiesCorrupt, match="which no segment holds"):
        open_store(tmp_path / "data")


def test_readers_get_the_record_or_none_but_never_half_of_it(store):
    """Each put and erasure under the eyes of a reader and a search: whole, or not there, and never damaged."""
    secret = put(store, SECRET)
    query, stop, wrong = secret.payload[64 : 64 + 4 * 384], threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                view = store.get(PUBLIC.ns, secret.digest)
                found = store.search(PUBLIC.ns, query, 3, None).found
                listed = texts(store)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                wrong.append(error)
                return
            given = [one.text for one in [view] if one is not None] + [one.view.text for one in found] + listed
            if set(given) - {SECRET}:
                wrong.append(given)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        store.commit([secret], NOW)
        store.commit([ended(secret)], NOW)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not store.damage.met


def test_a_disk_that_fails_in_the_middle_ends_the_store_and_the_next_start_goes_on(tmp_path):
    def run(folder, disk):
        store = open_store(folder, disk)
        secret = put(store, SECRET)
        store.commit([secret], NOW)
        at = len(disk.called)
        return store, secret, at

    disk = FaultyDisk()
    store, secret, at = run(tmp_path / "dry", disk)
    store.commit([ended(secret)], NOW)
    calls = disk.called[at:]
    store.close(NOW)
    assert sum(call.startswith("datasync bodies") for call in calls) == 2
    for number in range(len(calls)):
        folder = tmp_path / str(number)
        disk = FaultyDisk()
        store, secret, at = run(folder, disk)
        disk.at = at + number
        with pytest.raises(StorageFailed):
            store.commit([ended(secret)], NOW)
        with pytest.raises(StorageFailed):
            store.commit([put(store, "more")], NOW)
        store.close(NOW)
        again = open_store(folder)
        if again.get(PUBLIC.ns, secret.digest) is None:
            assert not kept(folder), (number, disk.failed)
        else:
            assert "events" in disk.failed
        again.close(NOW)


def test_a_prover_is_given_the_body_or_the_tombstone(store):
    secret, other = put(store, SECRET), put(store, "something else")
    store.commit([secret, other], NOW)
    location = store._fold.location_of(secret.digest)
    store.commit([ended(secret, erase=False)], NOW)
    assert store.body(location) == secret.payload  # deleted, and kept for who may have to prove it
    store.commit([ended(secret)], NOW)
    assert store.body(location) is None
    assert store.body_at(location) == secret.digest
    assert events.decode(store.tombstone_of(secret.digest)).erase
    store.commit([secret], NOW)
    assert store.body(location) == secret.payload  # of an older commitment, from where it is now
    assert store.tombstone_of(secret.digest) is None


def test_a_torn_tail_of_what_was_erased_before_is_not_kept(tmp_path):
    """It was put again, and the machine stopped in the middle: nobody was told that it is back."""
    folder = tmp_path / "data"
    store = open_store(folder)
    secret = put(store, SECRET)
    store.commit([secret, put(store, "something else")], NOW)
    store.commit([ended(secret)], NOW)
    tail = store._bodies.tail
    store.close(NOW)
    frame = bytearray(_core.encode_body(RECORD, secret.digest, secret.payload))
    lost = 512 - tail % 512 + 512  # a sector that was not written
    frame[lost : lost + 512] = bytes(512)
    for torn in (bytes(frame), _core.encode_body(RECORD, secret.digest, secret.payload)):
        with (folder / "bodies" / segment_name(0)).open("r+b") as file:
            file.seek(tail)
            file.write(torn)
        assert kept(folder)
        again = open_store(folder)
        assert again.get(PUBLIC.ns, secret.digest) is None
        assert not kept(folder)
        tail = again._bodies.tail
        again.close(NOW)


def test_both_auditors_tell_of_erased_bytes_that_came_back_from_a_backup(tmp_path):
    folder = tmp_path / "data"
    store = open_store(folder)
    secret = put(store, SECRET)
    store.commit([secret, put(store, "something else")], NOW)
    segment = folder / "bodies" / segment_name(0)
    backup = segment.read_bytes()
    store.commit([ended(secret)], NOW)
    store.close(NOW)
    assert look(folder).findings == []
    assert independent.audit(folder).findings == []
    segment.write_bytes(backup)
    for findings in (look(folder).findings, independent.audit(folder).findings):
        assert any("erased, and its bytes are here" in finding.reason for finding in findings)
    (folder / "state.db").unlink()
    store = open_store(folder)  # folded anew, it finds and overwrites them
    store.close(NOW)
    assert not kept(folder)
