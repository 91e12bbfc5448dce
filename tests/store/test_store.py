from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from pathlib import Path

import golden
import msgspec
import pytest
import trie_reference
from disks import FullDisk, WatchedDisk

from engram import cid, events, record
from engram import filter as filters
from engram.errors import BodiesCorrupt, Conflict, FolderInUse, FolderRefused, LogCorrupt, NotFound, StorageFailed
from engram.native import _core
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import PUBLIC, CreateOperation, DeleteOperation, PutOperation, Store
from engram.store import _tables as tables

NOW = 1_700_000_000_000_000_000


def open_store(path, disk=None) -> Store:
    return Store.open(disk or RealDisk(), RealTables(), path, RealRng(), NOW, "test")


def vector(*head: float, dim: int = 384) -> bytes:
    return record.stored_vector([*head, *[0.0] * (dim - len(head))])


def put(store: Store, text: str, *head: float, ns=PUBLIC, metadata=None) -> PutOperation:
    payload = record.encode_text(text, vector(*head, dim=ns.dim), record.canonical_metadata(metadata), ns.model_version)
    return PutOperation(ns.ns, *payload, store.key.public)


def dump(store: Store) -> dict[str, list]:
    names = ("projection", "bodies", "namespaces", "records", "memberships", "tallies")
    return {table: sorted(store._writer.execute(f"SELECT * FROM {table}").fetchall()) for table in names}


def found(store: Store, query: bytes, k: int = 10, ns=PUBLIC, where=None) -> list[str]:
    return [item.view.text for item in store.search(ns.ns, query, k, filters.parse(where)).found]


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "data")
    yield store
    if not store._failed:
        store.close(NOW)


def test_what_is_put_is_found_at_once_and_after_reopening(store, tmp_path):
    first, second = put(store, "east", 1.0), put(store, "north", 0.0, 1.0)
    outcomes = store.commit([first, second], NOW)
    assert [(done.position, done.created) for done in outcomes] == [(1, True), (2, True)]
    assert found(store, vector(0.9, 0.1)) == ["east", "north"]
    assert store.get(PUBLIC.ns, first.digest).text == "east"
    before, size = dump(store), store.published.position
    store.close(NOW)
    again = open_store(tmp_path / "data")
    assert again.published.position == size + 1  # the checkpoint's state_committed
    assert found(again, vector(0.9, 0.1)) == ["east", "north"]
    assert {k: v for k, v in dump(again).items() if k != "projection"} == {
        k: v for k, v in before.items() if k != "projection"
    }
    again.close(NOW)


def test_putting_the_same_again_appends_nothing(store):
    operation = put(store, "east", 1.0)
    store.commit([operation], NOW)
    size = store.published.position
    assert store.commit([operation, operation], NOW) == [store.commit([operation], NOW)[0]] * 2
    assert store.published.position == size
    assert store.known(PUBLIC.ns, store.key.public, hashlib.sha256(b"east").digest(), b"{}", PUBLIC.model_version) == (
        operation.digest,
        1,
    )


def test_content_that_is_no_text_is_kept_and_has_none(store):
    payload = _core.encode_record(1, vector(1.0), b"{}", PUBLIC.model_version.encode(), b"\xff\xfe", None)
    store.commit([PutOperation(PUBLIC.ns, *payload, store.key.public)], NOW)
    assert found(store, vector(1.0)) == [None]


def test_a_record_twice_in_one_group_is_one_event(store):
    operation = put(store, "east", 1.0)
    first, second = store.commit([operation, operation], NOW)
    assert (first.created, second.created, first.position == second.position) == (True, False, True)


def test_a_deleted_record_is_gone_and_may_come_again(store):
    operation = put(store, "east", 1.0)
    delete = DeleteOperation(PUBLIC.ns, operation.digest, store.key.public)
    store.commit([operation], NOW)
    [done] = store.commit([delete], NOW)
    assert done.created
    assert found(store, vector(1.0)) == []
    assert store.get(PUBLIC.ns, operation.digest) is None
    assert store.count() == store.count(PUBLIC.ns) == 0
    [refused] = store.commit([delete], NOW)
    assert isinstance(refused, NotFound)
    [again] = store.commit([operation], NOW)
    assert again.created
    assert found(store, vector(1.0)) == ["east"]
    assert len(list((store.folder.path / "bodies").glob("*.seg"))) == 1
    assert len(dump(store)["bodies"]) == 1


def test_put_and_delete_in_one_group_keep_their_order(store):
    operation = put(store, "east", 1.0)
    delete = DeleteOperation(PUBLIC.ns, operation.digest, store.key.public)
    outcomes = store.commit([operation, delete, operation, delete, operation], NOW)
    assert [done.created for done in outcomes] == [True] * 5
    assert found(store, vector(1.0)) == ["east"]


def test_namespaces_keep_records_apart_and_share_bodies(store):
    [created] = store.commit([CreateOperation(store.key.public, "notes", PUBLIC.model_version, 384)], NOW)
    assert created.created
    notes = next(ns for ns in store.published.namespaces.values() if ns.name == "notes")
    store.commit([put(store, "east", 1.0), put(store, "east", 1.0, ns=notes)], NOW)
    assert found(store, vector(1.0)) == found(store, vector(1.0), ns=notes) == ["east"]
    assert (store.count(), store.count(PUBLIC.ns), store.count(notes.ns)) == (1, 1, 1)
    kinds = [row[1] for row in dump(store)["bodies"]]
    assert sorted(kinds) == [0, 1]
    digest = put(store, "east", 1.0).digest
    store.commit([DeleteOperation(PUBLIC.ns, digest, store.key.public)], NOW)
    assert (found(store, vector(1.0)), found(store, vector(1.0), ns=notes)) == ([], ["east"])
    assert store.count() == 1
    log = b"".join(path.read_bytes() for path in (store.folder.path / "events").iterdir())
    assert b"notes" not in log


def test_a_namespace_is_bound_once(store):
    operation = CreateOperation(store.key.public, "notes", "m/1", 3)
    first, same, other = store.commit([operation, operation, CreateOperation(store.key.public, "notes", "m/2", 3)], NOW)
    assert (first.created, same.created, same.position) == (True, False, first.position)
    assert isinstance(other, Conflict)


def test_filters_come_before_the_cut(store):
    operations = [put(store, f"t{n}", 1.0, n / 1000, metadata={"n": n}) for n in range(50)]
    store.commit(operations, NOW)
    assert found(store, vector(1.0), 3, where="n >= 40") == ["t40", "t41", "t42"]
    listed, more = store.browse(PUBLIC.ns, lambda metadata: metadata["n"] % 2 == 0, 3, 2)
    assert ([view.text for _, view in listed], more is None) == (["t6", "t8"], False)


def test_the_tables_are_a_fold_of_the_log(store, tmp_path):
    store.commit([CreateOperation(store.key.public, "notes", "m/1", 3)], NOW)
    notes = next(ns for ns in store.published.namespaces.values() if ns.name == "notes")
    operations = [put(store, f"t{n}", 1.0, n, ns=notes) for n in range(20)]
    store.commit(operations, NOW)
    store.commit([DeleteOperation(notes.ns, operations[3].digest, store.key.public)], NOW)
    store.commit([DeleteOperation(notes.ns, operations[4].digest, store.key.public), operations[4]], NOW)
    store.close(NOW)
    again = open_store(tmp_path / "data")
    before = dump(again)
    again.close(NOW)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "data" / f"state.db{suffix}").unlink(missing_ok=True)
    refolded = open_store(tmp_path / "data")
    assert dump(refolded) == before
    assert len(found(refolded, vector(1.0, dim=3), 100, ns=notes)) == 19
    refolded.close(NOW)


def test_the_tables_say_how_far_they_are_in_the_transaction_of_their_rows(store):
    store.commit([put(store, "east", 1.0)], NOW)
    [(name, _, position, root, digest, skipped, body_tail, _)] = dump(store)["projection"]
    assert (name, position, root, body_tail) == (
        "store",
        store.published.position,
        store.published.root,
        store._bodies.tail,
    )
    assert (digest, msgspec.msgpack.decode(skipped)) == (store.state_digest, [])


@pytest.mark.parametrize(("theirs", "ours"), [(2, 1), (1, 1), (1, 2), (1, 3)])
def test_tables_of_another_history_are_folded_again(store, tmp_path, theirs, ours):
    """Somebody restores log and bodies from a backup and leaves `state.db` in place.

    Where it knows of more than the log has, that may as well be a log that lost its end: the operator must say which.
    """
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    for text in ("east", "west")[:theirs]:
        store.commit([put(store, text, 1.0)], NOW)
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tmp_path / "data" / "state.db", tmp_path / "state.db")
    restored = open_store(tmp_path / "backup")
    texts = ["north", "south", "up"][:ours]
    for text in texts:
        restored.commit([put(restored, text, 1.0)], NOW)
    for connection in (restored._writer, restored._reader):
        connection.close()
    shutil.copytree(tmp_path / "backup", tmp_path / "restored")
    for suffix in ("-wal", "-shm"):
        (tmp_path / "restored" / f"state.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "state.db", tmp_path / "restored" / "state.db")
    if theirs > ours:
        with pytest.raises(LogCorrupt, match=r"ends before event 2, and 3 events were committed.*remove state\.db"):
            open_store(tmp_path / "restored")
        (tmp_path / "restored" / "state.db").unlink()
    again = open_store(tmp_path / "restored")
    assert sorted(found(again, vector(1.0))) == sorted(texts)
    assert again.count() == ours
    again.close(NOW)


def test_a_damaged_state_db_is_made_anew(store, tmp_path):
    store.commit([put(store, "east", 1.0)], NOW)
    store.close(NOW)
    (tmp_path / "data" / "state.db").write_bytes(b"nonsense" * 1000)
    again = open_store(tmp_path / "data")
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


def test_a_body_without_its_event_is_used_when_the_record_comes_again(store, tmp_path):
    """A crash between the two syncs leaves a body that no event names: it is not a record, and not written twice."""
    operation = put(store, "east", 1.0)
    store._bodies.stage(0, operation.digest, operation.payload)
    store._bodies.flush()
    size = store._bodies.tail
    shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    again = open_store(tmp_path / "crashed")
    assert again.get(PUBLIC.ns, operation.digest) is None
    again.commit([operation], NOW)
    assert again._bodies.tail == size
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


def test_a_torn_body_is_cut_and_a_damaged_one_refuses(store, tmp_path):
    operation = put(store, "east", 1.0)
    store.commit([operation], NOW)
    store.close(NOW)
    segment = tmp_path / "data" / "bodies" / ("0" * 20 + ".seg")
    data = segment.read_bytes()
    end = len(data.rstrip(b"\0")) + 63 & ~63
    segment.write_bytes(data[:end] + b"EGB1" + bytes(4) + (2000).to_bytes(4, "little") + b"x" * 100)
    again = open_store(tmp_path / "data")
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)
    flipped = bytearray(segment.read_bytes())
    flipped[100] ^= 1
    segment.write_bytes(flipped)
    with pytest.raises(BodiesCorrupt, match="offset 0"):
        open_store(tmp_path / "data")


def test_a_body_that_an_event_names_is_never_torn(store, tmp_path):
    store.commit([put(store, "east", 1.0)], NOW)
    store.close(NOW)
    segment = tmp_path / "data" / "bodies" / ("0" * 20 + ".seg")
    segment.write_bytes(segment.read_bytes()[:300])
    with pytest.raises(BodiesCorrupt, match="an event names"):
        open_store(tmp_path / "data")


def test_rolling_the_log_back_breaks_its_checkpoint(store, tmp_path):
    store.commit([put(store, "east", 1.0)], NOW)
    shutil.copytree(tmp_path / "data" / "events", tmp_path / "old")
    store.commit([put(store, "north", 0.0, 1.0)], NOW)
    store.close(NOW)
    shutil.rmtree(tmp_path / "data" / "events")
    (tmp_path / "old").rename(tmp_path / "data" / "events")
    with pytest.raises(LogCorrupt, match="checkpoint"):
        open_store(tmp_path / "data")


def test_the_checkpoint_commits_to_the_records(store, tmp_path):
    operations = [put(store, f"t{n}", 1.0, n) for n in range(5)]
    store.commit([*operations, DeleteOperation(PUBLIC.ns, operations[0].digest, store.key.public)], NOW)
    checkpoint = store.checkpoint(NOW)
    last = events.decode(list(store._log.read())[-1][1])
    leaves = {cid.key_of(op.digest): hashlib.sha256(op.payload).digest() for op in operations[1:]}
    assert last.records.root == trie_reference.Trie(leaves).root()
    assert (last.records.count, last.edges.count, last.heads.root) == (4, 0, bytes(32))
    assert (checkpoint.size, checkpoint.root) == (store.published.position, store.published.root)
    assert store.checkpoint(NOW) is None


def test_a_folder_has_one_holder(store, tmp_path):
    with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
        open_store(tmp_path / "data")


def test_a_folder_of_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(FolderRefused, match=r"is not a data folder: it holds 'thesis\.tex'"):
        open_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_durable_is_found_even_if_the_index_fails_on_the_way(store, monkeypatch):
    follow = store.indexes.follow

    def fails_once(changes, namespaces):
        monkeypatch.setattr(store.indexes, "follow", follow)
        raise ZeroDivisionError

    monkeypatch.setattr(store.indexes, "follow", fails_once)
    with pytest.raises(ZeroDivisionError):
        store.commit([put(store, "east", 1.0)], NOW)
    assert found(store, vector(1.0)) == ["east"]
    store.commit([put(store, "north", 0.0, 1.0)], NOW)
    assert found(store, vector(1.0)) == ["east", "north"]


def test_a_bug_between_log_and_tables_ends_the_store_and_opening_it_mends_it(store, tmp_path, monkeypatch):
    def bug(connection, progress):
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr("engram.store._tables.advance", bug)
        with pytest.raises(StorageFailed, match="ZeroDivisionError"):
            store.commit([put(store, "east", 1.0)], NOW)
    with pytest.raises(StorageFailed):
        store.commit([put(store, "north", 0.0, 1.0)], NOW)
    store.close(NOW)
    again = open_store(tmp_path / "data")
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


@pytest.mark.parametrize("content", ["", '{"for', '{"format": 1, "wri', "\0" * 40, '{"format": ' + "\0" * 30])
def test_a_first_start_that_a_crash_ended_in_its_format_file_is_begun_again(tmp_path, content):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "FORMAT").write_text(content)
    (tmp_path / "data" / "pid").write_text("17\n")
    open_store(tmp_path / "data").close(NOW)
    assert (tmp_path / "data" / "FORMAT").read_text() == '{"format": 1, "writer": "test"}\n'
    (tmp_path / "data" / "FORMAT").write_text(content)
    with pytest.raises(FolderRefused, match="FORMAT"):
        open_store(tmp_path / "data")


def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(FolderRefused, match="cannot write to the data folder"):
        open_store(Path("/proc/engram-data"))


def test_a_folder_of_another_model_is_refused(store, tmp_path):
    payload = record.encode_text("east", vector(1.0), b"{}", "v0-other")
    store.commit([PutOperation(PUBLIC.ns, *payload, store.key.public)], NOW)
    store.close(NOW)
    with pytest.raises(FolderRefused, match="v0-other"):
        open_store(tmp_path / "data")


def test_a_folder_of_the_draft_model_is_refused_in_one_clear_sentence_and_left_alone(tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(golden.DATA / "folder_v1_draft", folder)
    kept = {path: path.read_bytes() for path in folder.glob("[be]*/*")}
    with pytest.raises(FolderRefused, match=r"are of the model v1-draft, and this build's is v1: use the build that"):
        open_store(folder)
    assert {path: path.read_bytes().rstrip(b"\0") for path in kept} == {p: b.rstrip(b"\0") for p, b in kept.items()}


def test_nothing_is_acknowledged_before_a_power_cut_would_keep_it(tmp_path):
    """kill -9 keeps the page cache, so only a disk that watches the syncs can tell."""
    disk = WatchedDisk()
    store = Store.open(disk, RealTables(), tmp_path / "data", RealRng(), NOW, "test")
    kept = ("bodies", "events", "checkpoints", "keys")
    assert disk.lost(*kept) == []
    for number in range(3):
        disk.order.clear()
        store.commit([put(store, f"t{number}", 1.0, number)], NOW)
        assert disk.lost(*kept) == []
        written = [name for name, _ in itertools.groupby(disk.order) if name in kept]
        assert written == ["bodies", "events"]
    store.commit([CreateOperation(store.key.public, "notes", "m/1", 3)], NOW)
    assert disk.lost(*kept) == []
    store._bodies._limit = store._log._writer._limit = 8192
    store._bodies._writer._limit = 8192
    for number in range(40):
        store.commit([put(store, f"rotating {number}", 1.0, number)], NOW)
        assert disk.lost(*kept) == []
    assert len(list((tmp_path / "data" / "bodies").iterdir())) > 5
    store.close(NOW)
    assert disk.lost(*kept) == []
    assert disk.broken == []
    open_store(tmp_path / "data").close(NOW)


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(tmp_path):
    disk = FullDisk()
    store = open_store(tmp_path / "data", disk)
    store.commit([put(store, "east", 1.0)], NOW)
    disk.full = True
    for _ in range(2):
        with pytest.raises(StorageFailed, match="No space left"):
            store.commit([put(store, "north", 0.0, 1.0)], NOW)
    assert found(store, vector(1.0)) == ["east"]
    disk.full = False
    store.close(NOW)
    again = open_store(tmp_path / "data")
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


READS = {
    "visible_records": lambda store, _: list(tables.visible_records(store._reader, PUBLIC.ns)),
    "rows_to_index": lambda store, _: tables.rows_to_index(store._reader, PUBLIC.ns),
    "known": lambda store, text: store.known(PUBLIC.ns, store.key.public, text, b"{}", PUBLIC.model_version),
    "with_content": lambda store, text: store.with_content(PUBLIC.ns, text, 9),
    "get": lambda store, text: store.get(PUBLIC.ns, text),
    "count": lambda store, _: [store.count(), store.count(PUBLIC.ns)],
    "known, of an absent text": lambda store, _: store.known(PUBLIC.ns, store.key.public, bytes(32), b"{}", "v1"),
}


@pytest.mark.parametrize(("read", "growth"), [(name, 2 if "_r" in name or "_to" in name else 1) for name in READS])
def test_a_read_takes_steps_in_proportion_to_what_it_gives(store, read, growth):
    """A folder of 117,659 records never opened: for each of them, SQLite walked all the memberships before it.

    And to look a text up, it walked the memberships of its whole namespace.
    """
    steps = []
    for n in (200, 400):
        store.commit([put(store, f"{n} {i}", 1.0, i + 1) for i in range(200)], NOW)
        calls = []
        store._reader.set_progress_handler(lambda calls=calls: calls.append(1), 10)
        READS[read](store, hashlib.sha256(b"200 0").digest())
        store._reader.set_progress_handler(None, 10)
        steps.append(len(calls))
    assert steps[1] <= 1.3 * growth * steps[0] + 2


def test_a_record_of_two_signers_is_one_row(store):
    operation = put(store, "east", 1.0)
    other = PutOperation(PUBLIC.ns, operation.digest, operation.payload, bytes(range(32)))
    store.commit([operation, other], NOW)
    assert store.count() == store.count(PUBLIC.ns) == 1
    assert len(tables.rows_to_index(store._writer, PUBLIC.ns)) == len(store.browse(PUBLIC.ns, None, 0, 9)[0]) == 1
    assert found(store, vector(1.0)) == ["east"]
    store.commit([DeleteOperation(PUBLIC.ns, operation.digest, store.key.public)], NOW)
    assert store.count() == store.count(PUBLIC.ns) == 1
    store.commit([DeleteOperation(PUBLIC.ns, operation.digest, bytes(range(32)))], NOW)
    assert store.count() == store.count(PUBLIC.ns) == 0
