"""Long texts in the store: a document and its chunks come, go and come back as one, and are found as one."""

from __future__ import annotations

import random
import shutil
import sqlite3
from itertools import pairwise

import pytest
from store.test_store import NOW, dump, open_store, put, vector

from engram import cid as cids
from engram import documents, events, record
from engram import filter as filters
from engram.errors import NotFound, TooLarge, Unprocessable
from engram.limits import LIMITS
from engram.native import _core
from engram.store import PUBLIC, CreateOperation, DeleteOperation, PutOperation
from engram.store import _tables as tables
from engram.store._group import FRAME_EVENTS


def document(store, name, *vectors, ns=PUBLIC, metadata=None, signer=None) -> PutOperation:
    """A text of one word a chunk, each with the vector given for it."""
    words = [f"{name}{number}" for number in range(len(vectors))]
    text = " ".join(words)
    spans = [(text.index(word), text.index(word) + len(word)) for word in words]
    own = documents.document_metadata(record.canonical_metadata(metadata), "split/1")
    digest, payload = record.encode_text(text, vectors[0], own, ns.model_version)
    places = documents.chunk_metadata(own, cids.from_digest(digest), spans)
    chunks = tuple(
        record.encode_text(word, head, place, ns.model_version)
        for word, head, place in zip(words, vectors, places, strict=True)
    )
    return PutOperation(ns.ns, digest, payload, signer or store.key.public, chunks)


def delete(store, operation) -> DeleteOperation:
    return DeleteOperation(operation.ns, operation.digest, operation.signer)


def frames(store):
    """The number of events of each frame of the log."""
    data = b"".join(path.read_bytes() for path in sorted((store.folder.path / "events").glob("*.log")))
    counts = []
    while data[:4] == b"EGL1":
        size = int.from_bytes(data[8:12], "little")
        counts.append(int.from_bytes(data[12:16], "little"))
        data = data[(64 + size + 7) // 8 * 8 :]
    return counts


def names(store, query, k=10, ns=PUBLIC, where=None):
    return [(item.view.text, item.parent) for item in store.search(ns.ns, query, k, filters.parse(where)).found]


def logged(store):
    return {k: v for k, v in dump(store).items() if k != "projection"}


def forget_tables(path):
    for suffix in ("", "-wal", "-shm"):
        (path / f"state.db{suffix}").unlink(missing_ok=True)


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "data")
    yield store
    if not store._failed:
        store.close(NOW)


@pytest.fixture
def three(store):
    return document(store, "three", vector(1.0), vector(0.0, 1.0), vector(0.0, 0.0, 1.0), metadata={"n": 1})


def test_a_document_is_one_operation_one_frame_and_one_hit(store, three):
    before = frames(store)
    [done] = store.commit([three], NOW)
    assert (done.position, done.created, frames(store)) == (1, True, [*before, 4])
    assert names(store, vector(0.1, 1.0)) == [("three1", three.digest)]
    assert store.get(PUBLIC.ns, three.digest).text == "three0 three1 three2"
    assert [store.get(PUBLIC.ns, digest).text for digest, _ in three.chunks] == ["three0", "three1", "three2"]
    assert store.commit([three], NOW)[0].created is False
    assert frames(store) == [*before, 4]


def test_lists_and_counts_tell_chunks_from_memories(store, three):
    store.commit([put(store, "east", 1.0), three, put(store, "north", 0.0, 1.0)], NOW)
    listed, more = store.browse(PUBLIC.ns, None, 0, 9)
    assert ([view.text for _, view in listed], more) == (["east", "three0 three1 three2", "north"], None)
    assert len(store.browse(PUBLIC.ns, None, 0, 9, chunks=True)[0]) == 6
    assert (store.tally().records, store.tally().chunks) == (6, 3)
    assert store.tally(PUBLIC.ns) == store.tally()
    assert [store.chunks(PUBLIC.ns, digest) for digest in (three.digest, three.chunks[0][0])] == [3, 0]


def test_deleting_a_document_ends_its_chunks_in_one_frame(store, three, tmp_path):
    store.commit([three, put(store, "east", 0.9)], NOW)
    before = frames(store)
    [done] = store.commit([delete(store, three)], NOW)
    assert (done.position, frames(store)) == (6, [*before, 4])
    assert names(store, vector(1.0)) == [("east", None)]
    assert not any(store.get(PUBLIC.ns, digest) for digest in [three.digest, *(digest for digest, _ in three.chunks)])
    assert (store.tally().records, store.tally().chunks) == (1, 0)
    [refused] = store.commit([delete(store, three)], NOW)
    assert isinstance(refused, NotFound)
    store.close(NOW)
    again = open_store(tmp_path / "data")
    assert names(again, vector(1.0)) == [("east", None)]
    again.close(NOW)


def test_a_chunk_is_not_deleted_by_itself(store, three):
    store.commit([three], NOW)
    size = store.published.position
    [refused] = store.commit([DeleteOperation(PUBLIC.ns, three.chunks[1][0], store.key.public)], NOW)
    assert isinstance(refused, Unprocessable)
    assert cids.from_digest(three.digest) in refused.message
    assert store.published.position == size
    store.commit([delete(store, three)], NOW)
    [gone] = store.commit([DeleteOperation(PUBLIC.ns, three.chunks[1][0], store.key.public)], NOW)
    assert isinstance(gone, NotFound)


def test_a_deleted_document_comes_back_whole(store, three):
    outcomes = store.commit([three, delete(store, three), three], NOW)
    assert [done.created for done in outcomes] == [True] * 3
    assert names(store, vector(0.0, 0.0, 1.0)) == [("three2", three.digest)]
    assert (store.tally().records, store.tally().chunks) == (4, 3)
    assert len(dump(store)["bodies"]) == 4


def test_a_document_has_the_chunks_of_its_last_put_where_a_models_bits_vary(store):
    """Another model may give the first chunk the same vector twice, and so the document its CID, and another chunk not."""
    store.commit([CreateOperation(store.key.public, "other", "m/1", 2)], NOW)
    other = next(ns for ns in store.published.namespaces.values() if ns.name == "other")
    heads = [[record.stored_vector(vector) for vector in ([1.0, 0.0], second)] for second in ([0.0, 1.0], [0.1, 1.0])]
    once, again = (document(store, "twice", *vectors, ns=other) for vectors in heads)
    assert once.digest == again.digest
    assert once.chunks[0] == again.chunks[0]
    assert once.chunks[1] != again.chunks[1]
    outcomes = store.commit([once, again], NOW)
    assert [done.created for done in outcomes] == [True, False]
    assert store.tally(other.ns) == tables.Count(records=3, chunks=2)
    store.commit([delete(store, once), again], NOW)
    assert store.chunks(other.ns, once.digest) == 2
    assert store.tally(other.ns) == tables.Count(records=3, chunks=2)
    [found] = store.search(other.ns, heads[1][1], 5, None).found
    assert found.digest == again.chunks[1][0]


def test_the_tables_of_documents_are_a_fold_of_the_log(store, three, tmp_path):
    two = document(store, "two", vector(1.0), vector(0.5, 1.0))
    store.commit([CreateOperation(store.key.public, "notes", PUBLIC.model_version, 384)], NOW)
    notes = next(ns for ns in store.published.namespaces.values() if ns.name == "notes")
    store.commit([three, two, document(store, "two", vector(1.0), vector(0.5, 1.0), ns=notes)], NOW)
    store.commit([delete(store, three), delete(store, two), three], NOW)
    queries = [(vector(1.0), PUBLIC), (vector(1.0), notes), (vector(0.0, 0.0, 1.0), PUBLIC)]
    before, found = logged(store), [names(store, query, ns=ns) for query, ns in queries]
    store.close(NOW)
    for forget in (lambda _: None, forget_tables):
        forget(tmp_path / "data")
        again = open_store(tmp_path / "data")
        assert logged(again) == before
        assert [names(again, query, ns=ns) for query, ns in queries] == found
        assert again.tally(notes.ns) == tables.Count(records=3, chunks=2)
        again.close(NOW)


def test_tables_of_the_fold_before_documents_are_folded_again(store, three, tmp_path):
    store.commit([three], NOW)
    store.close(NOW)
    connection = sqlite3.connect(tmp_path / "data" / "state.db")
    connection.execute("UPDATE projection SET fold_version = 1")
    connection.execute("UPDATE memberships SET indexed = 1")
    connection.commit()
    connection.close()
    again = open_store(tmp_path / "data")
    rows = tables.rows_to_index(again._reader, PUBLIC.ns)
    assert [digest for digest, _ in rows] == [digest for digest, _ in three.chunks]
    again.close(NOW)


def test_a_torn_frame_leaves_no_half_document(store, three, tmp_path):
    """A power cut in the middle of the one frame: every chunk is there, or none and no document."""
    store.commit([put(store, "east", 1.0)], NOW)
    for connection in (store._writer, store._reader):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(tmp_path / "data", tmp_path / "before")
    start = len(b"".join(p.read_bytes() for p in (tmp_path / "data" / "events").iterdir()).rstrip(b"\0"))
    start = (start + 7) // 8 * 8
    store.commit([three], NOW)
    [log] = (tmp_path / "data" / "events").iterdir()
    data = log.read_bytes()
    end = len(data.rstrip(b"\0"))
    for cut in range(start + 1, end + 1, 61):
        folder = tmp_path / f"cut{cut}"
        shutil.copytree(tmp_path / "before", folder)
        shutil.copytree(tmp_path / "data" / "bodies", folder / "bodies", dirs_exist_ok=True)
        (folder / "events" / log.name).write_bytes(data[:cut])
        forget_tables(folder)
        again = open_store(folder)
        assert names(again, vector(0.0, 1.0)) == [("east", None)]
        assert again.tally().records == 1
        [done] = again.commit([three], NOW)
        assert done.created
        assert names(again, vector(0.0, 1.0), 1) == [("three1", three.digest)]
        again.close(NOW)


def test_a_group_is_never_cut_within_a_document(store):
    store.commit([CreateOperation(store.key.public, "small", "m/1", 2)], NOW)
    small = next(ns for ns in store.published.namespaces.values() if ns.name == "small")
    vectors = [record.stored_vector([1.0, number]) for number in range(3000)]
    many = [document(store, name, *vectors, ns=small) for name in "abcd"]
    before = frames(store)
    outcomes = store.commit([*many, put(store, "east", 1.0), *(delete(store, one) for one in many)], NOW)
    assert all(done.created for done in outcomes)
    assert frames(store)[len(before) :] == [9003, 3001 + 1 + 2 * 3001, 2 * 3001]
    assert all(count < FRAME_EVENTS + 4501 for count in frames(store))
    assert store.tally().records == 1


def test_each_signer_has_a_document_of_its_own(store, three):
    other = PutOperation(three.ns, three.digest, three.payload, bytes(range(32)), three.chunks)
    store.commit([three, other], NOW)
    assert store.tally(PUBLIC.ns).records == 4
    store.commit([delete(store, three)], NOW)
    assert names(store, vector(1.0)) == [("three0", three.digest)]
    store.commit([delete(store, other)], NOW)
    assert names(store, vector(1.0)) == []
    assert store.tally(PUBLIC.ns).records == 0


def ranking(query, records, k, tree=None):
    """Brute force: the whole ranking, then the first of each memory."""
    at = memoryview(query).cast("f")
    scored = []
    for digest, payload, parent in records:
        decoded = record.decode(payload)
        if filters.matches(tree, decoded.metadata):
            head = memoryview(decoded.embedding).cast("f")
            dot = sum(a * b for a, b in zip(at, head, strict=True))
            norm = sum(a * a for a in at) ** 0.5 * sum(b * b for b in head) ** 0.5
            scored.append((-dot / norm, digest, parent or digest))
    best = {}
    for score, digest, memory in sorted(scored):
        best.setdefault(memory, (digest, score))
    return [digest for digest, _ in best.values()][:k]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_what_grouping_the_whole_ranking_gives(store, seed):
    rng = random.Random(seed)
    store.commit([CreateOperation(store.key.public, "small", "m/1", 4)], NOW)
    small = next(ns for ns in store.published.namespaces.values() if ns.name == "small")

    def near(centre):
        return record.stored_vector([component + rng.gauss(0, 0.05) for component in centre])

    def somewhere():
        return [rng.gauss(0, 1) for _ in range(4)]

    operations = []
    for number in range(40):
        centre = somewhere()
        size = rng.choice([1, 2, 3, 60])
        operations.append(
            document(store, f"d{number}-", *(near(centre) for _ in range(size)), ns=small, metadata={"n": number % 3})
        )
    for number in range(60):
        payload = record.encode_text(f"s{number}", near(somewhere()), b'{"n":1}', "m/1")
        operations.append(PutOperation(small.ns, *payload, store.key.public))
    store.commit(operations, NOW)
    store.commit([delete(store, one) for one in operations[::7]], NOW)
    alive = [one for number, one in enumerate(operations) if number % 7]
    records = [(one.digest, one.payload, None) for one in alive if not one.chunks]
    records += [(digest, payload, one.digest) for one in alive for digest, payload in one.chunks]
    for _ in range(10):
        query = record.stored_vector(somewhere())
        for k in (1, 3, 10, 50, 1000):
            for tree in (None, filters.parse("n = 1")):
                got = [item.digest for item in store.search(small.ns, query, k, tree).found]
                assert got == ranking(query, records, k, tree)
    assert len(store.search(small.ns, query, 1000, None).found) == len(alive)


def test_a_filter_searches_within_one_document(store, three):
    store.commit([three, document(store, "two", vector(0.0, 1.0), vector(0.0, 1.0, 0.1))], NOW)
    mine = cids.from_digest(three.digest)
    found = names(store, vector(0.0, 1.0), where=filters.Eq("engram.parent", mine))
    assert found == [("three1", three.digest)]


def test_roles_are_read_from_metadata_alone():
    parent = cids.from_digest(b"p" * 32)
    place = {"engram.chunk": 3, "engram.parent": parent, "engram.span": [1, 9], "engram.splitter": "split/1", "n": 1}
    assert documents.role_of(_core.canonical(place)) == documents.Role(parent=b"p" * 32)
    assert documents.place_of(place) == documents.Place(parent, 3, (1, 9))
    assert documents.document_metadata_of(place) == {"engram.splitter": "split/1", "n": 1}
    assert documents.role_of(b'{"engram.splitter":"split/1"}') == documents.Role(document=True)
    assert documents.role_of(b'{"a":"engram.parent"}') == documents.Role()
    for key, wrong in [("engram.parent", "v1::no"), ("engram.parent", 7), ("engram.chunk", "3"), ("engram.span", [1])]:
        assert documents.place_of({**place, key: wrong}) is None


def test_metadata_has_the_room_that_the_error_names():
    spans = [(start, start + 900) for start in range(0, 900_000, 800)]

    def metadata(size):
        return record.canonical_metadata({"note": "x" * (size - len('{"note":""}'))})

    with pytest.raises(TooLarge) as caught:
        documents.check_room(metadata(4096), "split/1", spans)
    left = int(caught.value.message.split("over the ")[1].split()[0])
    assert 3900 < left < 3960
    documents.check_room(metadata(left), "split/1", spans)
    with pytest.raises(TooLarge, match=f"metadata: {left + 1} bytes"):
        documents.check_room(metadata(left + 1), "split/1", spans)


def test_a_text_has_no_more_chunks_than_a_frame_holds():
    """A frame is at most 8 MiB and 65,536 events (formats, section 3); the group before it may be nearly full."""
    documents.check_room(b"{}", "split/1", [(0, 9)] * LIMITS.text_chunks)
    with pytest.raises(TooLarge, match=f"{LIMITS.text_chunks + 1} chunks .* {LIMITS.text_chunks}") as caught:
        documents.check_room(b"{}", "split/1", [(0, 9)] * (LIMITS.text_chunks + 1))
    assert caught.value.field == "text"
    key, cid = bytes(32), cids.from_digest(bytes(32))
    stored = events.RecordStored(ns=key, cid=cid, payload=key, signer=key, issued_unix_ms=2**63 - 1)
    most = FRAME_EVENTS - 1 + 1 + LIMITS.text_chunks
    assert most <= 65_536
    assert most * (len(events.encode(stored)) + 8) < 8 << 20


def test_events_of_a_document_stand_side_by_side_its_own_first(store, three):
    store.commit([three], NOW)
    found = [(position, events.decode(data)) for position, data in store._log.read(1)]
    assert [event.cid for _, event in found] == [
        cids.from_digest(digest) for digest in (three.digest, *(digest for digest, _ in three.chunks))
    ]
    assert all(after == before + 1 for (before, _), (after, _) in pairwise(found))
