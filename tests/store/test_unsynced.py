"""What a process read is not what the disk holds: each of these lost something once, found by the simulation."""

from pathlib import Path

import pytest

from engram import record
from engram.errors import DiskFull, StorageFailed
from engram.events import checkpoints
from engram.identity import PUBLIC_NAMESPACE
from engram.store import PutOperation, Store
from engram.testing import Crashed, LoseAll, LoseFirst, SimDisk, SimRng, SimTables, stream

DATA = Path("/data")
NOW = 1_767_225_600_000_000_000


class Folder:
    """A data folder on a simulated disk, and the lives of its store."""

    def __init__(self):
        self.disk = SimDisk()
        self.tables = SimTables(self.disk, stream(0, "tables"))

    def open(self, **options):
        self.store = Store.open(self.disk, self.tables, DATA, SimRng(stream(0, "rng")), NOW, "test", **options)
        return self.store

    def put(self, number, count=1):
        operations = [self.operation(number + more) for more in range(count)]
        return self.store.commit(operations, NOW)

    def operation(self, number):
        metadata = record.canonical_metadata({"n": number})
        digest, payload = record.encode_vector(record.stored_vector([1.0] * 384), metadata, "v1")
        return PutOperation(PUBLIC_NAMESPACE, digest, payload, self.store.key.public)

    def stop_at(self, call, folder, error=None):
        """Have the next such call in a folder fail, or be the last."""

        def hook(called, path, offset, size):
            if called == call and folder in path:
                self.disk.hook = lambda *_: None
                if error is None:
                    self.disk.power.cut()
                    raise Crashed
                raise error

        self.disk.hook = hook

    def killed(self):
        """The process ends, the machine goes on."""
        self.disk = self.disk.restarted()
        self.tables = self.tables.after(self.disk)

    def lost_power(self, tables="none"):
        self.disk = self.disk.crash(LoseAll())
        self.tables = self.tables.after(self.disk, tables)


@pytest.fixture
def folder():
    return Folder()


def stored(folder, number):
    return folder.store.get(PUBLIC_NAMESPACE, folder.operation(number).digest) is not None


def test_what_a_killed_process_wrote_is_durable_before_anybody_is_told_of_it(folder):
    folder.open()
    folder.put(1)
    folder.stop_at("datasync", "/events/")
    with pytest.raises(Crashed):
        folder.put(2)
    folder.killed()
    folder.open()
    assert stored(folder, 2)  # its frame was read, so it counts from here on
    assert not folder.put(2)[0].created
    folder.lost_power()
    folder.open()
    assert stored(folder, 1)
    assert stored(folder, 2)


@pytest.mark.parametrize("where", ["/events/", "/bodies/"])
def test_what_a_failed_sync_left_in_memory_is_written_again(folder, where):
    folder.open()
    folder.put(1)
    folder.stop_at("datasync", where, OSError(5, "Input/output error"))
    with pytest.raises(StorageFailed):
        folder.put(2)
    folder.killed()
    folder.open()
    folder.put(2)
    folder.put(3)
    folder.lost_power()
    folder.open()
    assert all(stored(folder, number) for number in (1, 2, 3))


@pytest.mark.parametrize("where", ["/events", "/bodies", "/keys"])
def test_a_name_that_was_not_synced_before_the_kill_is_synced_at_the_next_opening(folder, where):
    folder.stop_at("sync_folder", where)
    with pytest.raises(Crashed):
        folder.open()
    folder.killed()
    folder.open()
    folder.put(1)
    folder.lost_power()
    folder.open()
    assert stored(folder, 1)


def test_a_checkpoint_whose_name_was_not_synced_before_the_kill_is_synced_at_the_next_opening(folder):
    folder.open()
    folder.put(1)
    folder.stop_at("sync_folder", "/checkpoints")
    with pytest.raises(Crashed):
        folder.store.close(NOW)
    folder.killed()
    size = folder.open().published.position
    assert folder.store.checkpoint(NOW) is None  # one of this size stands
    folder.lost_power()
    assert folder.disk.exists(DATA / "checkpoints" / checkpoints.file_name(size))


def test_damaged_tables_are_durably_gone_before_others_are_made_in_their_place(folder):
    folder.open()
    folder.put(1)
    folder.lost_power("damaged")
    calls = []
    folder.disk.hook = lambda called, path, *_: calls.append((called, path))
    folder.open()
    removed = calls.index(("remove", "/data/state.db"))
    assert calls[removed + 1] == ("sync_folder", "/data")
    assert stored(folder, 1)


def test_a_first_start_that_ends_before_its_names_are_durable_leaves_a_folder_that_opens(folder):
    folder.stop_at("truncate", "/pid")
    with pytest.raises(Crashed):
        folder.open()
    calls = []

    class OnlyPid:
        """Of the names that are not durable, that of `pid` alone is kept."""

        def keeps(self):
            calls.append(None)
            return len(calls) > 1

    folder.disk = folder.disk.crash(OnlyPid())
    folder.tables = folder.tables.after(folder.disk)
    folder.open()


def test_a_format_that_was_not_synced_before_the_kill_is_written_again(folder):
    folder.stop_at("sync", "FORMAT", OSError(5, "Input/output error"))
    with pytest.raises(StorageFailed):
        folder.open()
    folder.killed()
    folder.open()
    folder.put(1)
    folder.lost_power()
    folder.open()
    assert stored(folder, 1)


def test_bodies_whose_events_found_no_room_are_where_a_fold_finds_them(folder):
    folder.open()
    folder.put(1)
    folder.disk.hook = full_at_the_log(folder.disk)
    outcomes = folder.put(2, 1200)
    assert any(isinstance(outcome, DiskFull) for outcome in outcomes)
    folder.disk.hook = lambda *_: None
    folder.put(2)
    live = rows(folder)
    folder.lost_power("missing")
    folder.open()
    assert rows(folder) == live


def full_at_the_log(disk):
    def hook(call, path, offset, size):
        if call == "write" and "/events/" in path:
            raise OSError(28, "No space left on device")

    return hook


def rows(folder):
    return [
        sorted(folder.store._writer.execute(f"SELECT * FROM {table}"), key=repr)
        for table in ("bodies", "records", "memberships")
    ]


def test_a_torn_body_is_told_from_damage_without_tables(folder):
    folder.open()
    folder.put(1)
    folder.stop_at("datasync", "/bodies/")
    with pytest.raises(Crashed):
        folder.put(2, 3)
    disk, tables = folder.disk, folder.tables
    for lost in range(disk.unsynced_units()):
        folder.disk = disk.image(LoseFirst(lost))
        folder.tables = tables.image(folder.disk, "missing")
        folder.open()
        assert stored(folder, 1)
        folder.tables.close()
    tables.close()
