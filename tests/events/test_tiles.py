"""An exported log is read by a reader that shares no code with us; a folder stays one log's, whole at every moment."""

from __future__ import annotations

import hashlib
import shutil

import msgspec
import pytest
from disks import FaultyDisk, FullDisk, WatchedDisk
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import event
from tiles_reader import groups, of_folder

from engram import events
from engram.errors import DiskFull, EngramError, FolderRefused, LogCorrupt, StorageFailed
from engram.events import Checkpoint, Log, LogCreated, checkpoints, export_tiles
from engram.events._tiles import _place
from engram.identity import NodeKey
from engram.runtime import RealDisk

KEY = NodeKey(bytes(range(32)))


class Node:
    """A data folder with a log that grows and is signed, as a node has it."""

    def __init__(self, path, key=KEY, segment_bytes=64 * 1024):
        self.path, self.key, self.written = path, key, []
        path.mkdir(parents=True)
        (path / "FORMAT").write_text("{}")
        (path / "checkpoints").mkdir()
        self.log = Log.open(RealDisk(), path / "events", segment_bytes=segment_bytes)
        self.append(1, first=[events.encode(LogCreated(format=1, node_key=key.public))])

    def append(self, count, first=(), sign=False, mark=0):
        new = [*first] + [event(mark + len(self.written) + n) for n in range(count - len(first))]
        while new:
            self.log.append(new[:100], 10**9 + len(self.written))
            self.written += new[:100]
            new = new[100:]
        if sign:
            self.sign()

    def sign(self):
        checkpoint = Checkpoint(self.log.size, self.log.root)
        checkpoints.write(RealDisk(), self.path / "checkpoints", checkpoint, self.key)


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path / "data")
    yield made
    made.log.close()


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def folders(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()}


@pytest.mark.parametrize("sizes", [[1], [2], [255], [256], [257], [1, 300, 511, 512], [700, 900, 1023, 1030]])
def test_every_checkpoint_is_read_whole_by_a_reader_of_others(node, tmp_path, sizes):
    for size in sizes:
        node.append(size - node.log.size)
        node.sign()
    node.append(50)
    done = export_tiles(RealDisk(), node.path, tmp_path / "out")
    assert (done.size, done.checkpoints, done.mended) == (sizes[-1], len(sizes), 0)
    reader = of_folder(tmp_path / "out")
    assert reader.check() == node.written[: sizes[-1]]
    for size in sizes:
        assert reader.check(f"checkpoints/{size:020}") == node.written[:size]
    assert reader.checkpoint() == (done.size, done.root)
    assert done.vkey == reader.get("vkey").decode().strip()
    assert done.written == len(contents(tmp_path / "out")) - 2  # all but the key and what comes last


def test_a_log_of_three_levels_is_read(node, tmp_path):
    node.append(65_536 + 300 - node.log.size, sign=True)
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    assert (tmp_path / "out" / "tile" / "2" / "000.p" / "1").stat().st_size == 32
    assert len(of_folder(tmp_path / "out").check()) == 65_836


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=4), st.data())
def test_an_export_brought_up_to_date_is_as_one_made_afresh(tmp_path_factory, counts, data):
    place = tmp_path_factory.mktemp("export")
    node = Node(place / "data")
    for count in counts:
        node.append(count, sign=True)
        if data.draw(st.booleans()):
            export_tiles(RealDisk(), node.path, place / "out")
    export_tiles(RealDisk(), node.path, place / "out")
    export_tiles(RealDisk(), node.path, place / "fresh")
    assert contents(place / "out") == contents(place / "fresh")
    assert folders(place / "out") == folders(place / "fresh")
    node.log.close()


def test_full_tiles_are_never_written_again(node, tmp_path):
    node.append(600, sign=True)
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    before = {path: path.stat().st_ino for path in (tmp_path / "out" / "tile").rglob("00[01]")}
    assert len(before) == 4
    node.append(600, sign=True)
    assert export_tiles(RealDisk(), node.path, tmp_path / "out").mended == 0
    assert before == {path: path.stat().st_ino for path in before}
    assert export_tiles(RealDisk(), node.path, tmp_path / "out").written == 0


def test_what_has_rotted_is_mended(node, tmp_path):
    node.append(700, sign=True)
    out = tmp_path / "out"
    export_tiles(RealDisk(), node.path, out)
    whole = contents(out)
    for name, data in whole.items():
        if name == "vkey":
            continue
        for wrong in (data[:-1], b"", bytes(len(data)), data + b"\0", None):
            (out / name).unlink() if wrong is None else (out / name).write_bytes(wrong)
            done = export_tiles(RealDisk(), node.path, out)
            assert contents(out) == whole
            assert done.mended == (wrong is not None and name != "checkpoint")
    (out / "tile" / "0" / "002.p" / "7").write_bytes(b"of no checkpoint")
    export_tiles(RealDisk(), node.path, out)
    assert contents(out) == whole


def test_it_is_whole_after_a_failure_at_any_call(node, tmp_path):
    """Whatever fails, a reader finds the last checkpoint that was published, and all that it speaks for."""
    node.append(300, sign=True)
    base = tmp_path / "base"
    export_tiles(RealDisk(), node.path, base)
    node.append(300, sign=True)
    at, published = 0, set()
    while True:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(base, out)
        disk = FaultyDisk(at)
        try:
            export_tiles(disk, node.path, out)
        except StorageFailed as error:
            assert str(out) in str(error)  # noqa: PT017 - of the first of them that is none, nothing is asked
        entries = of_folder(out).check()
        published.add(len(entries))
        assert entries == node.written[: len(entries)]
        if disk.failed is None:
            break
        export_tiles(RealDisk(), node.path, out)
        assert of_folder(out).check() == node.written
        at += 1
    assert at > 20
    assert published == {301, 601}


def test_a_first_export_that_was_killed_is_gone_on_with(node, tmp_path):
    node.append(300, sign=True)
    at = 0
    while True:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        disk = FaultyDisk(at)
        try:
            export_tiles(disk, node.path, tmp_path / "out")
        except StorageFailed:
            export_tiles(RealDisk(), node.path, tmp_path / "out")
        assert of_folder(tmp_path / "out").check() == node.written
        if disk.failed is None:
            break
        at += 1
    assert at > 20


def test_no_checkpoint_stands_before_what_it_speaks_for_is_durable(node, tmp_path):
    """Nor is a partial tile taken away before the full one in its place is."""

    class Watching(WatchedDisk):
        def rename(self, source, target):
            before, after = (f"{path.parent.name}/{path.name}" for path in (source, target))
            if target.name == "checkpoint":
                assert not self.unsynced
                assert self.unsettled == {before}
            if before in self.unsynced:
                self.unsynced.add(after)
            super().rename(source, target)
            self.unsynced.discard(before)

        def remove(self, path):
            assert not self.unsynced
            assert not self.unsettled
            super().remove(path)

    for count in (300, 700):
        node.append(count, sign=True)
        disk = Watching()
        assert export_tiles(disk, node.path, tmp_path / "out").written
        assert not disk.unsynced
        assert not disk.unsettled


def test_a_full_disk_is_told(node, tmp_path):
    node.append(300, sign=True)
    disk = FullDisk()
    disk.full = True
    with pytest.raises(DiskFull):
        export_tiles(disk, node.path, tmp_path / "out")


def refused(node, out):
    before = contents(out) if out.is_dir() else None
    with pytest.raises(FolderRefused) as caught:
        export_tiles(RealDisk(), node.path, out)
    assert before is None or contents(out) == before
    return str(caught.value)


def test_a_folder_of_something_else_is_refused_and_left_as_it_was(node, tmp_path):
    node.append(10, sign=True)
    for name in ("letter.txt", "checkpoint", "tile/0/000"):
        out = tmp_path / name.replace("/", "-")
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("mine")
        assert "no export" in refused(node, out)
    assert "no export" in refused(node, node.path)
    assert "no export" in refused(node, node.path / "events")


def test_the_export_of_another_log_is_refused(node, tmp_path):
    node.append(10, sign=True)
    other = Node(tmp_path / "other", NodeKey(bytes(32)))
    other.append(10, sign=True)
    export_tiles(RealDisk(), other.path, tmp_path / "out")
    assert "another log" in refused(node, tmp_path / "out")
    other.log.close()


@pytest.mark.parametrize("then", [0, 5, 300])
def test_an_export_of_a_history_that_the_log_no_longer_has_is_refused(node, tmp_path, then):
    node.append(40, sign=True)
    shutil.copytree(node.path, tmp_path / "backup")
    node.append(40, sign=True)
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    node.log.close()
    restored = Node(tmp_path / "none")
    restored.log.close()
    restored.path, restored.written = tmp_path / "backup", node.written[:41]
    restored.log = Log.open(RealDisk(), restored.path / "events", segment_bytes=64 * 1024)
    if then:
        restored.append(then, sign=True, mark=10**6)
    assert "rolled back" in refused(restored, tmp_path / "out")
    (tmp_path / "out" / "checkpoint").unlink()
    assert "evidence" in refused(restored, tmp_path / "out")
    restored.log.close()


def test_two_exports_at_once_are_refused(node, tmp_path):
    node.append(10, sign=True)
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    lock = RealDisk().open(tmp_path / "out" / "vkey")
    assert lock.lock()
    assert "another export" in refused(node, tmp_path / "out")
    lock.close()


def damaged(node, out, match):
    with pytest.raises(LogCorrupt, match=match):
        export_tiles(RealDisk(), node.path, out)
    assert not (out / "checkpoint").exists()


def test_a_log_that_nobody_signed_is_not_exported(node, tmp_path):
    damaged(node, tmp_path / "out", "nothing is signed yet")
    assert not (tmp_path / "out").exists()


def test_a_damaged_log_publishes_nothing_and_says_where(node, tmp_path):
    node.append(300, sign=True)
    segment = node.path / "events" / events.segment_name(0)
    data = bytearray(segment.read_bytes())
    at = data.index(node.written[150])
    data[at + 3] ^= 1
    segment.write_bytes(data)
    damaged(node, tmp_path / "out", rf"{segment.name}, offset \d+: an unsound frame")


def test_a_log_that_ends_before_its_checkpoint_publishes_nothing(node, tmp_path):
    node.append(50, sign=True)
    shutil.copytree(node.path / "events", tmp_path / "older")
    node.append(50, sign=True)
    shutil.rmtree(node.path / "events")
    shutil.move(tmp_path / "older", node.path / "events")
    damaged(node, tmp_path / "out", "rolled back")


def test_a_log_whose_events_are_gone_is_refused(node, tmp_path):
    node.append(50, sign=True)
    shutil.rmtree(node.path / "events")
    damaged(node, tmp_path / "out", "has no event")


def test_a_checkpoint_that_does_not_hold_publishes_nothing(node, tmp_path):
    node.append(300, sign=True)
    checkpoints.write(RealDisk(), node.path / "checkpoints", Checkpoint(200, bytes(32)), KEY)
    damaged(node, tmp_path / "out", "checkpoint of size 200 does not hold")


@pytest.mark.parametrize("note", [b"", b"x" * 300, "another's", "another size"])
def test_a_checkpoint_that_does_not_verify_publishes_nothing(node, tmp_path, note):
    node.append(300, sign=True)
    size = 100
    if note == "another's":
        note = checkpoints.sign(Checkpoint(size, bytes(32)), NodeKey(bytes(32)))
    elif note == "another size":
        note = checkpoints.sign(Checkpoint(size + 1, bytes(32)), KEY)
    (node.path / "checkpoints" / f"{size:020}").write_bytes(note)
    damaged(node, tmp_path / "out", f"{size:020}")


def test_a_log_of_a_strange_key_is_refused(tmp_path):
    path = tmp_path / "data"
    log = Log.open(RealDisk(), path / "events")
    log.append([msgspec.msgpack.encode({"type": "log_created.1", "format": 1, "node_key": b"short"})], 1)
    checkpoint = Checkpoint(1, log.root)
    log.close()
    (path / "checkpoints").mkdir()
    checkpoints.write(RealDisk(), path / "checkpoints", checkpoint, KEY)
    with pytest.raises(EngramError):
        export_tiles(RealDisk(), path, tmp_path / "out")


def test_the_numbers_of_tiles_are_written_as_the_text_writes_them():
    assert _place(3, 1234067) == "tile/3/x001/x234/067"
    assert _place("entries", 0) == "tile/entries/000"
    for number in (0, 1, 255, 999, 1000, 999_999, 1_000_000, 2**40):
        assert _place(0, number) == f"tile/0/{groups(number)}"


def test_no_file_of_a_crash_is_served(node, tmp_path):
    """What is being written has a name that begins with a dot, and no reader asks for such."""
    node.append(10, sign=True)
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    assert not [name for name in contents(tmp_path / "out") if "/." in f"/{name}"]


def test_the_log_is_left_as_it_was(node, tmp_path):
    node.append(300, sign=True)
    before = {name: hashlib.sha256(data).digest() for name, data in contents(node.path).items()}
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    assert before == {name: hashlib.sha256(data).digest() for name, data in contents(node.path).items()}


def test_an_export_removes_nothing_but_its_own_partial_tiles(node, tmp_path):
    """Who prepared the folder for us may have had a place for partial tiles lead to files of ours."""
    node.append(20, sign=True)
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "thesis.txt").write_text("years of work")
    partial = tmp_path / "out" / "tile" / "0" / "000.p"
    shutil.rmtree(partial)
    partial.symlink_to(ours)
    node.append(500, sign=True)
    export_tiles(RealDisk(), node.path, tmp_path / "out")
    assert (ours / "thesis.txt").read_text() == "years of work"
