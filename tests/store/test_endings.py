"""What goes wrong between bodies, log, tables and readers, and at the end: nothing that was promised is lost by it."""

from __future__ import annotations

import sqlite3

import pytest
from store.test_store import NOW, found, open_store, put, vector

from engram.errors import DiskFull, NotFound, StorageFailed, Unavailable
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import PUBLIC, DeleteOperation, Store
from engram.store._fold import Fold


class FailingConnection(sqlite3.Connection):
    """Fails at a statement that begins so."""

    fails: str | None = None

    def execute(self, sql, *values):
        if self.fails is not None and sql.startswith(self.fails):
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *values)


class FailingTables(RealTables):
    """The real tables, through connections that may fail."""

    def connect(self, path, *, readonly=False):
        if readonly:
            return super().connect(path, readonly=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FailingConnection)
        connection.execute("PRAGMA journal_mode=WAL")
        return connection


@pytest.fixture
def store(tmp_path):
    return Store.open(RealDisk(), FailingTables(), tmp_path / "data", RealRng(), NOW, "test")


def reopened(store: Store) -> Store:
    return open_store(store.folder.path)


def test_an_operation_that_is_refused_when_half_of_it_is_done_takes_its_group_with_it(store, monkeypatch):
    """The dead membership's row was gone already, and would have been committed without an event that says so."""
    east, north = put(store, "east", 1.0), put(store, "north", 0.0, 1.0)
    store.commit([east], NOW)
    store.commit([DeleteOperation(PUBLIC.ns, east.digest, store.key.public)], NOW)

    def refuses(*_):
        raise NotFound("no")

    with monkeypatch.context() as broken:
        broken.setattr(Fold, "_remember", refuses)
        with pytest.raises(RuntimeError, match="a PutOperation was refused after it had begun"):
            store.commit([east], NOW + 10**9)
    assert store.verify_state()
    store.commit([north, east], NOW + 2 * 10**9)
    digest = store.state_digest
    assert sorted(found(store, vector(1.0))) == ["east", "north"]
    store.close(NOW)
    again = reopened(store)
    assert (again.state_digest, again.verify_state()) == (digest, True)
    again.close(NOW)


def test_an_index_that_can_be_neither_followed_nor_loaded_ends_the_store(store, monkeypatch):
    """Whatever the error is: going on would publish an index that lacks what is durable."""

    def out_of_memory(*_):
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(store.indexes, "fill", out_of_memory)
        broken.setattr(store, "_follow", out_of_memory)
        with pytest.raises(StorageFailed, match=r"MemoryError. What was written is durable"):
            store.commit([put(store, "east", 1.0)], NOW)
    with pytest.raises(StorageFailed):
        store.commit([put(store, "north", 0.0, 1.0)], NOW)
    store.close(NOW)
    again = reopened(store)
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


def test_a_group_that_cannot_be_rolled_back_ends_the_store(store, monkeypatch):
    def bug():
        store._writer.fails = "ROLLBACK"
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(store._bodies, "flush", bug)
        with pytest.raises(ZeroDivisionError):
            store.commit([put(store, "east", 1.0)], NOW)
    with pytest.raises(StorageFailed, match="cannot be rolled back: disk I/O error"):
        store.commit([put(store, "north", 0.0, 1.0)], NOW)
    store._writer.fails = None
    store.close(NOW)
    again = reopened(store)
    assert (again.count(), again.verify_state()) == (0, True)
    again.close(NOW)


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT OR REPLACE INTO projection", "COMMIT"])
@pytest.mark.parametrize("call", ["commit", "checkpoint"])
def test_tables_that_fail_at_any_statement_end_the_store_and_opening_mends_them(store, statement, call):
    store.commit([put(store, "east", 1.0)], NOW)
    store._writer.fails = statement
    with pytest.raises(StorageFailed, match="cannot be written: disk I/O error"):
        if call == "commit":
            store.commit([put(store, "north", 0.0, 1.0)], NOW)
        else:
            store.checkpoint(NOW)
    store._writer.fails = None
    with pytest.raises(StorageFailed):
        store.commit([put(store, "west", -1.0)], NOW)
    assert store.checkpoint(NOW) is None
    store.close(NOW)
    again = reopened(store)
    assert "east" in found(again, vector(1.0))
    assert again.verify_state()
    again.close(NOW)


def test_a_bug_between_the_logs_and_the_tables_part_of_a_checkpoint_ends_the_store(store, monkeypatch):
    store.commit([put(store, "east", 1.0)], NOW)
    with monkeypatch.context() as broken:
        broken.setattr(Fold, "advance", lambda *_: 1 / 0)
        with pytest.raises(StorageFailed, match="ZeroDivisionError"):
            store.checkpoint(NOW)
    with pytest.raises(StorageFailed):
        store.commit([put(store, "north", 0.0, 1.0)], NOW)
    store.close(NOW)


def test_a_stop_on_a_failing_disk_says_so_and_lets_go_of_the_folder(store, monkeypatch):
    store.commit([put(store, "east", 1.0)], NOW)

    def fails():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store._log._writer._file, "datasync", fails)
    with pytest.raises(StorageFailed, match=r"cannot sync .*Input/output error"):
        store.close(NOW)
    again = reopened(store)
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


def test_a_stop_on_a_full_disk_says_so_and_lets_go_of_the_folder(store, monkeypatch):
    store.commit([put(store, "east", 1.0)], NOW)

    def full(*_):
        raise DiskFull("no room")

    monkeypatch.setattr(store._log, "append", full)
    with pytest.raises(DiskFull):
        store.close(NOW)
    again = reopened(store)
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


@pytest.mark.parametrize("part", ["_log", "_bodies"])
def test_a_file_that_cannot_be_closed_keeps_none_of_the_others_open(store, monkeypatch, part):
    store.commit([put(store, "east", 1.0)], NOW)
    segment = getattr(store, part)._writer
    close = segment.close

    def fails():
        close()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(segment, "close", fails)
    with pytest.raises(OSError, match="Input/output"):
        store.close(NOW)
    assert [writer._file._descriptor for writer in (store._log._writer, store._bodies._writer)] == [-1, -1]
    again = reopened(store)
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


def test_nothing_is_written_upon_tables_that_are_known_to_be_wrong(store):
    store.commit([put(store, "east", 1.0)], NOW)
    position = store.published.position
    store.distrust_tables()
    with pytest.raises(Unavailable, match="folded again"):
        store.commit([put(store, "north", 0.0, 1.0)], NOW)
    assert store.checkpoint(NOW) is None
    assert store.published.position == position
    store.refold()
    store.commit([put(store, "north", 0.0, 1.0)], NOW)
    assert store.checkpoint(NOW) is not None
    store.close(NOW)
