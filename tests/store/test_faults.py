"""What goes wrong beside the disk's writes: reads that fail, tables that lie, segments that lost their end."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from store.test_store import NOW, found, open_store, put, vector

from engram.errors import BodiesCorrupt, FolderRefused, LogCorrupt, StorageFailed
from engram.events import Log, LogStart
from engram.native import _core
from engram.runtime import RealDisk
from engram.store import PUBLIC, CreateOperation
from engram.store._bodies import Bodies


class Descriptorless(RealDisk):
    """A real disk on which, while it is `out`, no file can be opened: the process has no descriptor left."""

    out = False

    def open(self, path, **options):
        if self.out:
            raise OSError(24, "Too many open files")
        return super().open(path, **options)


def test_a_read_that_fails_after_a_commit_does_not_empty_the_index(tmp_path):
    """The index was begun anew, the read failed again, and the next commit published it with nothing but itself."""
    disk = Descriptorless()
    store = open_store(tmp_path / "data", disk)
    store.commit([put(store, "east", 1.0)], NOW)
    store._bodies._views.clear()
    disk.out = True
    with pytest.raises(StorageFailed, match="Too many open files"):
        store.commit([put(store, "north", 0.0, 1.0)], NOW)
    disk.out = False
    with pytest.raises(StorageFailed):
        store.commit([put(store, "west", -1.0)], NOW)
    assert found(store, vector(1.0)) == ["east"]
    store.close(NOW)
    again = open_store(tmp_path / "data")
    assert found(again, vector(1.0)) == ["east", "north"]
    again.close(NOW)


def tables_of(path, statement, *values):
    connection = sqlite3.connect(path / "data" / "state.db")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def lies():
    yield "no msgpack", b"\xc1"
    yield "roots of another tree", msgspec.msgpack.encode(LogStart(0, [bytes(32)], 0))
    yield "a later time", msgspec.msgpack.encode(LogStart(0, [], 2**63))


@pytest.mark.parametrize("lie", [pytest.param(lie, id=name) for name, lie in lies()])
def test_tables_that_lie_about_the_log_are_folded_again(tmp_path, lie):
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    store.close(NOW)
    tables_of(tmp_path, "UPDATE projection SET log_start = ?", lie)
    again = open_store(tmp_path / "data")
    assert found(again, vector(1.0)) == ["east"]
    again.close(NOW)


def test_tables_damaged_in_the_middle_are_folded_again(tmp_path):
    store = open_store(tmp_path / "data")
    store.commit([put(store, f"text {n}", 1.0, n) for n in range(500)], NOW)
    store.close(NOW)
    path = tmp_path / "data" / "state.db"
    data = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'memberships_by_position'").fetchone()
    connection.close()
    data[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    again = open_store(tmp_path / "data")
    assert again.count() == len(again.browse(PUBLIC.ns, None, 0, 1000)[0]) == 500
    again.close(NOW)


DESCRIPTORS = Path("/proc/self/fd")


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="needs /proc")
def test_a_folder_that_is_refused_leaves_no_descriptor_open(tmp_path):
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    store.close(NOW)
    segment = tmp_path / "data" / "bodies" / f"{0:020}.seg"
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    before = len(list(DESCRIPTORS.iterdir()))
    for _ in range(3):
        with pytest.raises(BodiesCorrupt):
            open_store(tmp_path / "data")
    assert len(list(DESCRIPTORS.iterdir())) == before


def test_bodies_that_lost_what_the_tables_know_are_damage_not_a_torn_tail(tmp_path):
    """A cut of the file looks like a write that was not finished, but the tables follow the sync of the bodies."""
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    store.commit([put(store, "north", 0.0, 1.0)], NOW)
    end = store._bodies.tail
    store.close(NOW)
    segment = tmp_path / "data" / "bodies" / f"{0:020}.seg"
    whole = segment.read_bytes()
    cut, renamed = whole[: end // 2], bytearray(whole)
    renamed[end // 2 + 16] ^= 1  # a vector of many zeros looks unwritten, and no event names this id
    for lost in (cut, bytes(renamed)):
        segment.write_bytes(lost)
        with pytest.raises(BodiesCorrupt, match=f"before {end}"):
            open_store(tmp_path / "data")
        assert segment.read_bytes() == lost


def test_an_event_whose_body_is_gone_is_named_as_damage(tmp_path):
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    store.close(NOW)
    (tmp_path / "data" / "state.db").unlink()
    (tmp_path / "data" / "bodies" / f"{0:020}.seg").unlink()
    with pytest.raises(BodiesCorrupt, match="event 1 names"):
        open_store(tmp_path / "data")


def test_a_torn_tail_behind_an_unfinished_erasure_is_cut_too(tmp_path):
    erased = bytearray(_core.encode_body(2, bytes(range(32)), bytes(100)))
    erased[64:70] = b"secret"
    torn = _core.encode_body(0, bytes(32), b"x" * 2000)[:700]
    (tmp_path / f"{0:020}.seg").write_bytes(bytes(erased) + torn + bytes(4096))
    bodies, _ = Bodies.open(RealDisk(), tmp_path, known_to=0, named=set)
    bodies.close()
    assert not (tmp_path / f"{0:020}.seg").read_bytes()[len(erased) :].strip(b"\0")
    assert b"secret" not in (tmp_path / f"{0:020}.seg").read_bytes()


def damaged_log(tmp_path, at):
    """A log of several segments, of which the first, which opening trusts, has a flipped bit."""
    log = Log.open(RealDisk(), tmp_path, segment_bytes=1024)
    log.append([b"\x81\xa4type\xadlog_created.1"], 1)
    for number in range(40):
        log.append([msgspec.msgpack.encode({"type": "example.1", "n": number})], number)
    log.close()
    path = tmp_path / f"{0:020}.log"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    return Log.open(RealDisk(), tmp_path, trusted=log.segment_start, segment_bytes=1024)


@pytest.mark.parametrize("at", [0, 88 + 1, 88 + 8, 88 + 10, 88 + 12, 88 + 16, 88 + 23, 88 + 64, 88 + 70])
def test_reading_past_damage_that_opening_did_not_look_at_is_refused(tmp_path, at):
    """It skipped to the next segment, so that whoever folded the log missed what stood between; or it panicked."""
    log = damaged_log(tmp_path, at)
    with pytest.raises(LogCorrupt, match=f"{0:020}.log, offset {at // 88 * 88}"):
        list(log.read(0))
    log.close()


def test_a_flipped_bit_in_what_the_tables_have_seen_is_damage_not_a_torn_tail(tmp_path):
    """After a kill no checkpoint covers the last frame, and a length that points past the file looks like a cut."""
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    at = store._log._writer.end
    store.commit([put(store, "north", 0.0, 1.0)], NOW)
    shutil.copytree(tmp_path / "data", tmp_path / "killed")
    store.close(NOW)
    segment = tmp_path / "killed" / "events" / f"{0:020}.log"
    data = bytearray(segment.read_bytes())
    data[at + 10] ^= 0x40
    segment.write_bytes(data)
    with pytest.raises(LogCorrupt, match=f"offset {at}: an unsound frame.*Events 0 to 1 before it"):
        open_store(tmp_path / "killed")
    assert segment.read_bytes() == data


def test_a_flipped_bit_anywhere_in_log_or_bodies_refuses_to_open_and_is_named(tmp_path):
    store = open_store(tmp_path / "data")
    store.commit([CreateOperation(store.key.public, "notes", "m/1", 3)], NOW)
    notes = next(each for each in store.published.namespaces.values() if each.name == "notes")
    for number in range(3):
        store.commit([put(store, f"text {number}", 1.0, number, ns=notes)], NOW)
    ends = {"events": store._log._writer.end, "bodies": store._bodies.tail}
    shutil.copytree(tmp_path / "data", tmp_path / "killed")
    store.close(NOW)
    for folder, (magic, error) in {"events": (b"EGL1", LogCorrupt), "bodies": (b"EGB1", BodiesCorrupt)}.items():
        [path] = (tmp_path / "killed" / folder).iterdir()
        data = path.read_bytes()
        with path.open("r+b", buffering=0) as file:
            for at in range(0, ends[folder], 3):
                file.seek(at)
                file.write(bytes([data[at] ^ 1 << at // 3 % 8]))
                frame = data.rindex(magic, 0, at + 4)
                with pytest.raises(error, match=f"{path.name}, offset {frame}: "):
                    open_store(tmp_path / "killed")
                file.seek(at)
                file.write(data[at : at + 1])
        assert path.read_bytes() == data
    again = open_store(tmp_path / "killed")
    assert again.count() == 3
    again.close(NOW)


def test_a_folder_whose_key_is_gone_is_refused_and_gets_no_other(tmp_path):
    store = open_store(tmp_path / "data")
    store.close(NOW)
    (tmp_path / "data" / "keys" / "node.key").unlink()
    with pytest.raises(FolderRefused, match=r"node\.key is missing"):
        open_store(tmp_path / "data")
    assert not (tmp_path / "data" / "keys" / "node.key").exists()
