"""Keys: what they name, in which order, what was named before; and the end of a namespace."""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram import cid as cids
from engram import documents, events, record
from engram.errors import Conflict, NotFound
from engram.identity import head_key
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import (
    PUBLIC,
    CreateOperation,
    DeleteOperation,
    DropOperation,
    KeyOperation,
    PutOperation,
    Store,
    _group,
)
from engram.store import _tables as tables
from engram.testing import SimDisk, SimTables

NOW = 1_700_000_000_000_000_000


def open_store(path, disk=None, tables_port=None) -> Store:
    return Store.open(disk or RealDisk(), tables_port or RealTables(), path, RealRng(), NOW, "test")


def simulated() -> Store:
    disk = SimDisk()
    return open_store(Path("/data"), disk, SimTables(disk, random.Random(1)))


def payload(number: int, dim: int = 384, model: str = "v1") -> tuple[bytes, bytes]:
    return record.encode_vector(record.stored_vector([1.0 + number, *[0.0] * (dim - 1)]), b"{}", model)


def put(store: Store, number: int, key: str | None = None, expect=msgspec.UNSET, ns=PUBLIC) -> PutOperation:
    digest, data = payload(number, ns.dim, ns.model_version)
    me = store.key.public
    named = None if key is None else KeyOperation(ns.ns, key, digest, me, expect)
    return PutOperation(ns.ns, digest, data, me, (), named, ns.position)


def name(store: Store, key: str, digest: bytes | None, expect=msgspec.UNSET, ns=PUBLIC) -> KeyOperation:
    return KeyOperation(ns.ns, key, digest, store.key.public, expect)


def named(store: Store, key: str, ns=PUBLIC) -> bytes | None:
    head = store.head(ns.ns, key)
    return None if head is None else head.digest


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "data")
    yield store
    if not store.failure and store.published.indexes:
        store.close(NOW)


def test_a_record_and_its_key_come_in_one_frame(store):
    [done] = store.commit([put(store, 1, "doc")], NOW)
    assert (done.position, done.created) == (2, True)
    assert named(store, "doc") == payload(1)[0]
    frames = {time for position, time, _ in store.log.reader(1).read()}
    assert len(frames) == 1


def test_what_is_not_as_expected_keeps_nothing(store):
    store.commit([put(store, 1, "doc")], NOW)
    size = store.published.position
    refused = store.commit(
        [put(store, 2, "doc", None), put(store, 2, "doc", payload(3)[0]), put(store, 2, "new", payload(1)[0])], NOW
    )
    assert [type(outcome) for outcome in refused] == [Conflict] * 3
    assert [outcome.current for outcome in refused] == [*[cids.from_digest(payload(1)[0])] * 2, None]
    assert store.published.position == size
    assert store.get(PUBLIC.ns, payload(2)[0]) is None


def test_expectations_see_what_the_group_did_before_them(store):
    outcomes = store.commit([put(store, 1, "doc", None), put(store, 2, "doc", None)], NOW)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Done", "Conflict"]
    [done] = store.commit([put(store, 2, "doc", payload(1)[0])], NOW)
    assert done.created
    assert named(store, "doc") == payload(2)[0]


def test_naming_what_is_named_already_appends_nothing(store):
    [first] = store.commit([put(store, 1, "doc")], NOW)
    size = store.published.position
    again, set_again = store.commit([put(store, 1, "doc"), name(store, "doc", payload(1)[0])], NOW)
    assert (again.position, again.created) == (set_again.position, set_again.created) == (first.position, False)
    assert store.published.position == size


def test_a_key_names_only_what_lives_in_its_namespace(store):
    [created] = store.commit([CreateOperation(store.key.public, "notes", "m/1", 8)], NOW)
    assert created.created
    notes = next(space for space in store.published.namespaces.values() if space.name == "notes")
    store.commit([put(store, 1)], NOW)
    other, unknown = store.commit([name(store, "doc", payload(1)[0], ns=notes), name(store, "doc", payload(9)[0])], NOW)
    assert isinstance(other, NotFound)
    assert isinstance(unknown, NotFound)


def test_history_tells_all_that_a_key_has_named(store):
    store.commit([put(store, 1, "doc")], NOW)
    store.commit([put(store, 2, "doc"), name(store, "doc", None), put(store, 1, "doc")], NOW)
    versions = store.versions(PUBLIC.ns, "doc", 0, 10)
    assert [version.digest for version in versions] == [payload(1)[0], payload(2)[0], b"", payload(1)[0]]
    assert [version.position for version in versions] == sorted(version.position for version in versions)
    assert all(a.issued < b.issued for a, b in itertools.pairwise(versions)), "each is later than the one before"
    assert store.versions(PUBLIC.ns, "doc", versions[1].position, 1) == [versions[2]]


def test_a_removed_key_is_gone_and_cannot_be_removed_again(store):
    store.commit([put(store, 1, "doc")], NOW)
    done, again = store.commit([name(store, "doc", None), name(store, "doc", None)], NOW)
    assert done.created
    assert isinstance(again, NotFound)
    assert store.head(PUBLIC.ns, "doc") is None
    assert store.heads(PUBLIC.ns, "", None, 10) == []


def test_keys_are_listed_in_the_order_of_their_bytes(store):
    keys = ["", "a", "a/", "a/b", "a\0b", "b", "Z", "é", "z", "\U00010000", "\uffff"][1:]
    store.commit([put(store, 1), *(name(store, key, payload(1)[0]) for key in keys)], NOW)
    ordered = sorted(keys, key=str.encode)
    assert [head.key for head in store.heads(PUBLIC.ns, "", None, 100)] == ordered
    assert [head.key for head in store.heads(PUBLIC.ns, "a", None, 100)] == [k for k in ordered if k.startswith("a")]
    for after in ordered:
        assert [h.key for h in store.heads(PUBLIC.ns, "", after, 3)] == ordered[ordered.index(after) + 1 :][:3]


def steps(connection, call) -> int:
    """Count the steps that SQLite takes in a call, in hundreds."""
    count = itertools.count()
    connection.set_progress_handler(lambda: next(count) and None, 100)
    call()
    connection.set_progress_handler(None, 0)
    return next(count)


def test_a_page_of_keys_costs_the_same_wherever_it_begins(store):
    """`key > ?` stood behind an OR, so that each page walked all of those before it."""
    keys = [f"doc/{number:04}" for number in range(3000)]
    store.commit([put(store, 1), *(name(store, key, payload(1)[0]) for key in keys)], NOW)
    for prefix in ("", "doc/"):
        first = steps(store._reader, functools.partial(store.heads, PUBLIC.ns, prefix, None, 10))
        last = steps(store._reader, functools.partial(store.heads, PUBLIC.ns, prefix, keys[-11], 10))
        assert last <= first + 1
    assert [head.key for head in store.heads(PUBLIC.ns, "doc/", "a", 2)] == keys[:2]
    assert store.heads(PUBLIC.ns, "doc/0", "e", 2) == []


def test_a_delete_looks_at_the_memberships_of_its_record_alone(store):
    """SQLite chose the index that gives the order, and walked the whole namespace for each delete."""
    store.commit([put(store, number) for number in range(3000)], NOW)
    delete = DeleteOperation(PUBLIC.ns, payload(2999)[0], None)
    assert steps(store._writer, lambda: store.commit([delete], NOW)) < 20
    named = name(store, "doc", payload(2998)[0])
    assert steps(store._writer, lambda: store.commit([named], NOW)) < 20


def plain_root(leaves: dict[bytes, bytes], depth: int = 0) -> bytes:
    """The root of a state trie, by the formats' §4 alone."""
    if len(leaves) < 2:
        return next((hashlib.sha256(b"\2" + key + value).digest() for key, value in leaves.items()), bytes(32))
    halves = ({}, {})
    for key, value in leaves.items():
        halves[key[depth // 8] >> (7 - depth % 8) & 1][key] = value
    counts = b"".join(len(half).to_bytes(8) for half in halves)
    return hashlib.sha256(b"\3" + counts + b"".join(plain_root(half, depth + 1) for half in halves)).digest()


def state(store: Store) -> dict[str, list]:
    return {name: sorted(store._writer.execute(f"SELECT * FROM {name}").fetchall()) for name in tables.FOLDED}


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "name", "remove", "delete"]),
        st.integers(0, 3),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["any", "none", 0, 1, 2, 3]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, cut=st.integers(1, 5))
def test_keys_are_a_dict_whatever_comes_and_folding_the_log_anew_gives_the_same(actions, cut):
    store = simulated()
    digests = [payload(number)[0] for number in range(4)]
    living: set[bytes] = set()
    heads: dict[str, bytes] = {}
    for at in range(0, len(actions), cut):
        operations, wanted = [], []
        for what, number, key, expect in actions[at : at + cut]:
            expected = {"any": msgspec.UNSET, "none": None}.get(
                expect, digests[expect] if isinstance(expect, int) else 0
            )
            agrees = expected is msgspec.UNSET or heads.get(key) == expected
            match what:
                case "put":
                    operations.append(put(store, number, key, expected))
                    wanted.append(agrees)
                    if agrees:
                        living.add(digests[number])
                        heads[key] = digests[number]
                case "name":
                    operations.append(name(store, key, digests[number], expected))
                    wanted.append(agrees and digests[number] in living)
                    if wanted[-1]:
                        heads[key] = digests[number]
                case "remove":
                    operations.append(name(store, key, None, expected))
                    wanted.append(agrees and key in heads)
                    if wanted[-1]:
                        del heads[key]
                case "delete":
                    operations.append(DeleteOperation(PUBLIC.ns, digests[number], None))
                    wanted.append(digests[number] in living)
                    living.discard(digests[number])
        outcomes = store.commit(operations, NOW)
        assert [not isinstance(outcome, Exception) for outcome in outcomes] == wanted
    assert {head.key: head.digest for head in store.heads(PUBLIC.ns, "", None, 10)} == heads
    before, digest = state(store), store.state_digest
    store.refold()
    assert (state(store), store.state_digest) == (before, digest)
    store.close(NOW)


def test_the_heads_are_committed_to_as_the_formats_say(store):
    store.commit([put(store, 1, "a"), put(store, 2, "b"), put(store, 3, "c"), name(store, "c", None)], NOW)
    store.checkpoint(NOW)
    committed = events.decode(store.log.reader(store.published.position - 1).read()[0][2])
    leaves = {head_key(PUBLIC.ns, "a"): payload(1)[0], head_key(PUBLIC.ns, "b"): payload(2)[0]}
    assert (committed.heads.root, committed.heads.count) == (plain_root(leaves), 2)


def test_the_events_fold_alike_in_any_order_of_those_that_are_issued_apart():
    """Replicas hear of the same key events in different orders: the later issued wins, and a removal at a tie."""
    me = b"s" * 32
    patch = record.patch({"key": "doc"})
    k, hashed = head_key(PUBLIC.ns, "doc"), hashlib.sha256(patch).digest()
    said = [(1000, payload(1)[0]), (1001, payload(2)[0]), (1001, payload(3)[0]), (1002, b""), (1002, payload(1)[0])]
    heads = set()
    for order in itertools.permutations(said):
        store = simulated()
        fold = store._fold
        store._writer.execute("BEGIN")
        location = store._bodies.stage(1, hashed, patch)
        fold.add_body(hashed, 1, location)
        for at, (issued, digest) in enumerate(order):
            cid = cids.from_digest(digest) if digest else ""
            event = events.KeySet(ns=PUBLIC.ns, k=k, cid=cid, key=hashed, signer=me, issued_unix_ms=issued)
            fold.apply(10 + at, event, lambda _: memoryview(patch))
        head = tables.head(fold.connection, k)
        heads.add((head.digest, head.issued))
        store._writer.execute("ROLLBACK")
    assert heads == {(b"", 1002)}


# -- the end of a namespace -------------------------------------------------------------------------------------------


@pytest.fixture
def notes(store):
    store.commit([CreateOperation(store.key.public, "notes", "m/1", 8)], NOW)
    return next(space for space in store.published.namespaces.values() if space.name == "notes")


def test_a_namespace_ends_when_nothing_lives_in_it(store, notes):
    store.commit([put(store, 1, "doc", ns=notes)], NOW)
    drop = DropOperation(notes.ns, store.key.public)
    [refused] = store.commit([drop], NOW)
    assert isinstance(refused, Conflict)
    store.commit([DeleteOperation(notes.ns, payload(1, 8, "m/1")[0], None)], NOW)
    [refused] = store.commit([drop], NOW)
    assert isinstance(refused, Conflict), "a key lives in it"
    [_, done] = store.commit([name(store, "doc", None, ns=notes), drop], NOW)
    assert done.created
    assert notes.ns not in store.published.namespaces
    assert notes.ns not in store.published.indexes
    outcomes = store.commit([put(store, 2, ns=notes), name(store, "x", payload(1)[0], ns=notes), drop], NOW)
    assert [type(outcome) for outcome in outcomes] == [NotFound] * 3


def test_a_namespace_may_come_again_with_another_model(store, notes, tmp_path):
    store.commit([DropOperation(notes.ns, store.key.public)], NOW)
    outcomes = store.commit(
        [CreateOperation(store.key.public, "notes", "m/2", 4), DropOperation(notes.ns, store.key.public)], NOW
    )
    assert [outcome.created for outcome in outcomes] == [True, True]
    store.commit([CreateOperation(store.key.public, "notes", "m/2", 4)], NOW)
    again = store.published.namespaces[notes.ns]
    assert (again.model_version, again.dim) == ("m/2", 4)
    stale, fresh = store.commit([put(store, 1, ns=notes), put(store, 1, ns=again)], NOW)
    assert isinstance(stale, Conflict), "it was made for the namespace as it was"
    assert fresh.created
    query = record.stored_vector([1.0, 0, 0, 0])
    assert len(store.search(notes.ns, query, 5, None).found) == 1
    before, digest = state(store), store.state_digest
    store.refold()
    assert (state(store), store.state_digest) == (before, digest)
    assert len(store.search(notes.ns, query, 5, None).found) == 1
    store.close(NOW)
    reopened = open_store(tmp_path / "data")
    assert reopened.published.namespaces[notes.ns].dim == 4
    assert len(reopened.search(notes.ns, query, 5, None).found) == 1
    reopened.close(NOW)


def test_an_operator_ends_every_membership_and_a_stranger_only_its_own(store):
    digest, data = payload(1)
    mine, theirs = store.key.public, b"t" * 32
    store.commit([PutOperation(PUBLIC.ns, digest, data, mine), PutOperation(PUBLIC.ns, digest, data, theirs)], NOW)
    store.commit([DeleteOperation(PUBLIC.ns, digest, theirs)], NOW)
    assert store.get(PUBLIC.ns, digest) is not None
    [refused] = store.commit([DeleteOperation(PUBLIC.ns, digest, theirs)], NOW)
    assert refused.code == "forbidden"
    store.commit([PutOperation(PUBLIC.ns, digest, data, theirs)], NOW)
    [done] = store.commit([DeleteOperation(PUBLIC.ns, digest, None)], NOW)
    assert done.created
    assert store.get(PUBLIC.ns, digest) is None


def long_text(store: Store, ns, signer: bytes, chunks: int) -> PutOperation:
    """A document and its chunks, of a namespace of dim 8."""
    metadata = documents.document_metadata(b"{}", "split/1")
    vectors = [record.stored_vector([1.0, at, *[0.0] * 6]) for at in range(chunks)]
    digest, data = record.encode_text("long" * chunks, vectors[0], metadata, ns.model_version)
    spans = [(at, at + 1) for at in range(chunks)]
    places = documents.chunk_metadata(metadata, cids.from_digest(digest), spans)
    parts = [record.encode_text("x", *part, ns.model_version) for part in zip(vectors, places, strict=True)]
    return PutOperation(ns.ns, digest, data, signer, tuple(parts))


def test_ending_everybodys_membership_of_a_long_text_fits_the_frames(store, notes, monkeypatch):
    """A few who put one long text made its deletion larger than any frame, and the writer crashed of it."""
    monkeypatch.setattr(_group, "FRAME_EVENTS", 64)
    puts = [long_text(store, notes, bytes([number]) * 32, 40) for number in range(6)]
    assert all(done.created for done in store.commit(puts, NOW))
    size, ended = store.published.position, 0
    while store.get(notes.ns, puts[0].digest) is not None:
        [done] = store.commit([DeleteOperation(notes.ns, puts[0].digest, None)], NOW)
        assert done.created
        assert done.whole == (store.get(notes.ns, puts[0].digest) is None)
        assert store.published.position - size <= 64 + 41
        size, ended = store.published.position, ended + 1
    assert ended == 3
    assert store.count(notes.ns) == 0


def test_a_batch_of_endings_counts_the_chunks_that_go_with_each(store, notes):
    me = store.key.public
    store.commit([long_text(store, notes, me, 40), *(put(store, number, ns=notes) for number in range(30))], NOW)
    assert len(store.members(notes.ns, 50)) == 10
    assert len(store.members(notes.ns, 5)) == 1
    assert len(store.members(notes.ns, 100)) == 31


@pytest.mark.parametrize("byte", [0, 9], ids=["no JSON", "another key"])
def test_a_key_whose_patch_is_damaged_on_disk_is_what_was_asked_for(store, notes, tmp_path, byte):
    """The patch of a key's text is shared by all namespaces; its bytes were believed, and crashed the writer."""
    store.commit([put(store, 1, "doc")], NOW)
    [segment] = (tmp_path / "data" / "bodies").iterdir()
    data = bytearray(segment.read_bytes())
    at = data.index(b'{"key":"doc"}')
    data[at + byte] ^= 1
    with segment.open("r+b") as file:
        file.write(data)
    [done] = store.commit([put(store, 1, "doc", ns=notes)], NOW)
    assert done.created
    assert [head.key for head in store.heads(notes.ns, "", None, 10)] == ["doc"]
