"""The tree beside a log gives right proofs only, whatever happened to its files."""

from __future__ import annotations

import contextlib
import random
import shutil

import pytest
from disks import FaultyDisk, FullDisk
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import event, write

from engram.errors import DiskFull, LogCorrupt, StorageFailed, Unprocessable
from engram.events import Log, LogTree, verify_consistency, verify_inclusion
from engram.native import _core
from engram.runtime import RealDisk

EVENTS = 700  # two full tiles and part of a third


def plain_root(written, size):
    state = _core.LogState()
    state.encode(1, written[:size])
    return state.root


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with a log and its tree, in several segments, and the events."""
    folder = tmp_path_factory.mktemp("whole")
    log, written, _ = write(folder / "events", [1, *[33] * 21, 6], segment_bytes=16384)
    assert log.size == EVENTS
    assert LogTree(RealDisk(), folder / "tree", log).catch_up()
    log.close()
    return folder, written


@pytest.fixture
def place(template, tmp_path):
    shutil.copytree(template[0], tmp_path / "memory")
    return tmp_path / "memory", template[1]


def opened(folder, disk=None):
    log = Log.open(RealDisk(), folder / "events", segment_bytes=16384)
    return log, LogTree(disk or RealDisk(), folder / "tree", log)


def prove(tree, log, written, count=40, seed=1):
    """Ask for proofs all over the log, and hold each against roots that no tree gave."""
    rng = random.Random(seed)
    for _ in range(count):
        size = rng.randint(1, log.size)
        position, first = rng.randrange(size), rng.randint(0, size)
        root = plain_root(written, size)
        assert tree.root(size) == root
        assert verify_inclusion(written[position], position, size, tree.inclusion(position, size), root)
        before = plain_root(written, first) if first else _core.LogState().root
        assert verify_consistency(first, before, size, root, tree.consistency(first, size))


@settings(max_examples=25, deadline=None)
@given(frames=st.lists(st.integers(1, 300), min_size=1, max_size=5), data=st.data())
def test_proofs_of_a_log_that_grows_are_right_at_every_moment(tmp_path_factory, frames, data):
    folder = tmp_path_factory.mktemp("growing")
    log, written, _ = write(folder / "events", frames[:1])
    tree = LogTree(RealDisk(), folder / "tree", log)
    for count in frames[1:]:
        if data.draw(st.booleans()):
            prove(tree, log, written, 3)
        if data.draw(st.booleans()):
            tree = LogTree(RealDisk(), folder / "tree", log)
        new = [event(len(written) + n) for n in range(count)]
        written += new
        log.append(new, 10**9 + len(written))
    prove(tree, log, written, 6)
    log.close()


def test_it_catches_up_by_as_much_as_it_is_told(place):
    folder, written = place
    shutil.rmtree(folder / "tree")
    log, tree = opened(folder)
    assert tree.size == 0
    assert not tree.catch_up(100)
    assert 100 <= tree.size < EVENTS
    while not tree.catch_up(100):
        pass
    assert tree.size == EVENTS
    prove(tree, log, written, 5)
    log.close()


def test_what_was_hashed_once_is_not_read_again(place):
    folder, _ = place
    log, tree = opened(folder)
    (folder / "events" / min(path.name for path in (folder / "events").iterdir())).unlink()
    assert tree.inclusion(0, EVENTS)
    log.close()


def flip(level, at, bit=1):
    def damage(folder):
        path = folder / "tree" / str(level)
        data = bytearray(path.read_bytes())
        data[at] ^= bit
        path.write_bytes(data)

    return damage


def cut(level, to):
    def damage(folder):
        path = folder / "tree" / str(level)
        path.write_bytes(path.read_bytes()[:to])

    return damage


def grown(level, data):
    def damage(folder):
        path = folder / "tree" / str(level)
        path.write_bytes(path.read_bytes() + data)

    return damage


def zeroed(folder):
    for path in (folder / "tree").iterdir():
        path.write_bytes(bytes(path.stat().st_size))


def random_bytes(folder):
    rng = random.Random(1)
    for path in (folder / "tree").iterdir():
        path.write_bytes(rng.randbytes(path.stat().st_size))


def of_another_log(folder):
    other = folder.with_name("other")
    log, _, _ = write(other / "events", [1, 400, 400])
    shutil.rmtree(folder / "tree")
    LogTree(RealDisk(), folder / "tree", log).catch_up()
    log.close()


def swapped(folder):
    path = folder / "tree" / "0"
    data = path.read_bytes()
    path.write_bytes(data[32 * 256 :] + data[: 32 * 256])


DAMAGES = {
    "gone": lambda folder: shutil.rmtree(folder / "tree"),
    "lowest level gone": lambda folder: (folder / "tree" / "0").unlink(),
    "upper level gone": lambda folder: (folder / "tree" / "1").unlink(),
    "empty": cut(0, 0),
    "cut within a hash": cut(0, 1000),
    "upper level cut": cut(1, 32),
    "upper level cut within a hash": cut(1, 40),
    "a bit at the beginning": flip(0, 0),
    "a bit in a full tile": flip(0, 300 * 32 + 5, 128),
    "a bit at the right edge": flip(0, 699 * 32 + 31),
    "a bit above": flip(1, 0),
    "a bit above, in the last": flip(1, 63),
    "garbage behind": grown(0, b"x" * 7777),
    "garbage behind, above": grown(1, b"x" * 320),
    "zeros": zeroed,
    "random": random_bytes,
    "another log's": of_another_log,
    "tiles swapped": swapped,
    "a level too many": lambda folder: (folder / "tree" / "2").write_bytes(bytes(64)),
    "foreign files": lambda folder: (folder / "tree" / "notes.txt").write_text("not ours"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("before", [True, False], ids=["before it is opened", "while it is open"])
def test_damaged_files_give_no_wrong_proof(place, damage, before):
    folder, written = place
    if before:
        damage(folder)
    log, tree = opened(folder)
    if not before:
        prove(tree, log, written, 2)
        damage(folder)
    prove(tree, log, written)
    log.append([event(10**6)], 10**9)
    prove(tree, log, [*written, event(10**6)])
    log.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_byte_of_any_level_may_rot(template, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("rot") / "memory"
    shutil.copytree(template[0], folder)
    for _ in range(data.draw(st.integers(1, 3))):
        level = data.draw(st.integers(0, 1))
        size = (folder / "tree" / str(level)).stat().st_size
        flip(level, data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, 255)))(folder)
    log, tree = opened(folder)
    prove(tree, log, template[1], 8, data.draw(st.integers(0, 99)))
    log.close()


def rolled_back(folder, written, size):
    """The log as it was when it had about `size` events."""
    shutil.rmtree(folder / "events")
    log, _, _ = write(folder / "events", [1, *[33] * ((size - 1) // 33)], segment_bytes=16384)
    log.close()


@pytest.mark.parametrize("size", [1, 34, 300, 640])
def test_a_tree_that_is_ahead_of_a_log_that_was_rolled_back_is_cut(place, size):
    folder, written = place
    rolled_back(folder, written, size)
    log, tree = opened(folder)
    prove(tree, log, written, 20)
    other = [event(10**6 + number) for number in range(500)]
    log.append(other, 10**9)
    prove(tree, log, written[: log.size - 500] + other, 20)
    log.close()


def test_a_tree_of_a_history_that_is_no_more_is_made_again(place):
    """Rolled back and written on, to more events than the tree had, before it is asked."""
    folder, written = place
    rolled_back(folder, written, 100)
    log, tree = opened(folder)
    held = log.size
    other = [event(10**6 + number) for number in range(1000)]
    log.append(other, 10**9)
    prove(tree, log, written[:held] + other)
    log.close()


def test_an_older_tree_catches_up(place):
    folder, written = place
    keep = folder.with_name("older")
    shutil.copytree(folder / "tree", keep)
    log, tree = opened(folder)
    new = [event(10**6 + number) for number in range(600)]
    log.append(new, 10**9)
    prove(tree, log, written + new, 5)
    shutil.rmtree(folder / "tree")
    shutil.copytree(keep, folder / "tree")
    prove(LogTree(RealDisk(), folder / "tree", log), log, written + new)
    prove(tree, log, written + new)  # whose files were changed under it
    log.close()


def test_a_failure_at_any_call_leaves_what_is_right_or_made_again(place):
    folder, written = place
    log, _ = opened(folder)
    at = 0
    while True:
        shutil.rmtree(folder / "tree", ignore_errors=True)
        disk = FaultyDisk(at)
        tree = LogTree(disk, folder / "tree", log)
        with contextlib.suppress(StorageFailed):
            tree.catch_up()
        if disk.failed is None:
            break
        prove(tree, log, written, 3)
        prove(LogTree(RealDisk(), folder / "tree", log), log, written, 3)
        at += 1
    assert at >= 4
    log.close()


def test_a_full_disk_is_told_and_found_room_later(place):
    folder, written = place
    shutil.rmtree(folder / "tree")
    disk = FullDisk()
    log, tree = opened(folder, disk)
    disk.full = True
    for _ in range(2):
        with pytest.raises(DiskFull, match="tree"):
            tree.inclusion(3, 300)
    disk.full = False
    prove(tree, log, written, 5)
    log.close()


def test_a_place_that_cannot_be_used_is_named(place):
    folder, _ = place
    shutil.rmtree(folder / "tree")
    (folder / "tree").write_text("a file")
    log, tree = opened(folder)
    with pytest.raises(StorageFailed, match="tree"):
        tree.root(1)
    log.close()


def test_a_log_whose_events_do_not_give_its_root_is_damaged(place):
    folder, _ = place
    log, _ = opened(folder)

    class Lying:
        size = log.size
        tip = log.size, bytes(32)
        reader = staticmethod(log.reader)

    with pytest.raises(LogCorrupt, match="do not give the root"):
        LogTree(RealDisk(), folder / "tree", Lying()).root(5)
    log.close()


def test_a_damaged_log_gives_no_proof(place):
    folder, _ = place
    shutil.rmtree(folder / "tree")
    log, tree = opened(folder)
    segment = min((folder / "events").iterdir())
    data = bytearray(segment.read_bytes())
    data[3000] ^= 1
    segment.write_bytes(data)
    with pytest.raises(LogCorrupt, match="no sound frame"):
        tree.inclusion(0, 1)
    log.close()


def test_what_the_log_has_not_is_refused(place):
    folder, _ = place
    log, tree = opened(folder)
    for size in (-1, EVENTS + 1, 2**64):
        with pytest.raises(Unprocessable, match=f"size {size}: the log has {EVENTS} events"):
            tree.root(size)
        with pytest.raises(Unprocessable, match="the log has"):
            tree.inclusion(0, size)
        with pytest.raises(Unprocessable, match="the log has"):
            tree.consistency(0, size)
    for position in (-1, 5, 6):
        with pytest.raises(Unprocessable, match=f"position {position}"):
            tree.inclusion(position, 5)
    for first in (-1, 6):
        with pytest.raises(Unprocessable, match="never"):
            tree.consistency(first, 5)
    assert tree.root(0) == _core.LogState().root
    assert tree.consistency(0, 0) == tree.consistency(0, 5) == []
    log.close()


def test_an_empty_log_has_a_root(tmp_path):
    log = Log.open(RealDisk(), tmp_path / "events")
    tree = LogTree(RealDisk(), tmp_path / "tree", log)
    assert tree.catch_up()
    assert tree.root(0) == log.root
    log.close()


def test_no_file_is_left_open(place):
    folder, _ = place
    opened_files = []

    class Counting(RealDisk):
        def open(self, path, **options):
            file = super().open(path, **options)
            opened_files.append(file)
            close = file.close
            file.close = lambda: (opened_files.remove(file) if file in opened_files else None, close())
            return file

    log, tree = opened(folder, Counting())
    tree.inclusion(3, 300)
    assert opened_files == []
    log.close()
