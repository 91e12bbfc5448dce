"""A memory in one file: what a crash leaves at every step, who else has it open, and files that are not what they seem."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engram.errors import DiskFull, EngramError, FolderInUse, FolderRefused, StorageFailed
from engram.runtime import RealDisk
from engram.store import PackedFile
from engram.testing import Crashed, LoseAll, LoseNothing, LoseSome, SimDisk

FILE = Path("/home/one.engram")
FOLDER = Path("/home/one.engram.d")
OLD = {"FORMAT": b"1", "events/1.log": b"old" * 4000, "keys/node.key": b"k" * 32, "empty": b""}
NEW = OLD | {"events/2.log": b"new" * 1000}


def put(disk, folder, files):
    for name, data in files.items():
        disk.make_folder((folder / name).parent)
        file = disk.open(folder / name, create=True)
        file.write(0, data)
        file.sync()
        file.close()
        disk.sync_folder((folder / name).parent)


def held(disk, folder=FOLDER):
    """Give the files of the folder that are a memory's."""
    found, inside = {}, f"{folder}/"
    for path, data in disk.files().items():
        if path.startswith(inside) and not path.removeprefix(inside).startswith("."):
            found[path.removeprefix(inside)] = data
    return found


def packed(files=OLD):
    """Give a disk with one file, that holds these."""
    disk = SimDisk()
    disk.make_folder(FILE.parent)
    live(disk, files)
    return disk


def live(disk, files, done=lambda: None):
    """Open the file, add files to it, close it."""
    memory = PackedFile(disk, FILE)
    memory.unpack()
    try:
        put(disk, FOLDER, {name: data for name, data in files.items() if name not in held(disk)})
        done()
        memory.pack()
    finally:
        memory.release()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def everything(disk):
    return sorted({path.removeprefix("/home/") for path in disk.files()})


def test_it_is_one_file_while_it_is_closed_and_a_folder_while_it_is_open():
    disk = packed()
    assert everything(disk) == ["one.engram"]
    assert not disk.exists(FOLDER)
    memory = PackedFile(disk, FILE)
    memory.unpack()
    assert held(disk) == OLD
    memory.pack(changed=False)
    memory.release()
    memory.release()
    assert everything(disk) == ["one.engram"]
    assert not disk.locks()
    assert disk.open_files == 0


def test_any_unzip_reads_it(tmp_path):
    path = tmp_path / "one.engram"
    memory = PackedFile(RealDisk(), path)
    memory.unpack()
    put(RealDisk(), memory.folder, OLD)
    memory.pack()
    memory.release()
    assert names(tmp_path) == ["one.engram"]
    assert path.stat().st_mode & 0o777 == 0o600  # the node's key is in it
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist() if name != "ENGRAM"} == OLD
        assert archive.testzip() is None
        assert set(json.loads(archive.read("ENGRAM"))["files"]) == set(OLD)


def test_what_did_not_change_is_not_written_again():
    disk = packed()
    before = disk.files()[str(FILE)]
    calls = []
    disk.hook = lambda call, path, *_: calls.append(f"{call} {path}")
    memory = PackedFile(disk, FILE)
    memory.unpack()
    memory.pack(changed=False)
    memory.release()
    assert disk.files()[str(FILE)] == before
    assert not [call for call in calls if call.startswith("write") and ".new" in call and ".whole" not in call]


class CutAt:
    """Cuts the power at the n-th call that changes the disk."""

    def __init__(self, disk, number):
        self.disk, self.number, self.calls = disk, number, 0

    def __call__(self, call, *_):
        if call == "read":
            return
        if self.calls == self.number:
            self.disk.power.cut()
            raise Crashed
        self.calls += 1


LOSSES = [
    LoseAll,
    LoseNothing,
    lambda: LoseSome(random.Random(1)),
    lambda: LoseSome(random.Random(2), 0.9),
    lambda: LoseSome(random.Random(3), 0.1),
]


def interrupted(disk, number, loss, files):
    """Open, add files and close, with a crash at a call; give the disk after it, and whether the files were durable."""
    durable = []
    disk.hook = CutAt(disk, number)
    try:
        live(disk, files, lambda: durable.append(1))
    except Crashed:
        after = disk.crash(loss())
        after.hook = lambda *_: None
        return after, bool(durable)
    disk.hook = lambda *_: None
    return None, True


def check(disk, durable):
    """Judge what the next life finds, and that it leaves one file again."""
    memory = PackedFile(disk, FILE)
    memory.unpack()
    found = held(disk)
    assert found.items() >= OLD.items()
    if durable:
        assert found == NEW
    memory.pack()
    memory.release()
    assert everything(disk) == ["one.engram"]
    assert not disk.exists(FOLDER)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_crash_at_every_call_of_opening_and_closing_loses_nothing(loss):
    crashes = 0
    for number in itertools.count():
        after, durable = interrupted(packed(), number, loss, NEW)
        if after is None:
            break
        check(after, durable)
        crashes += 1
    assert crashes > 40


@pytest.mark.parametrize("loss", [LoseAll, LoseNothing])
def test_a_crash_of_the_life_that_mends_a_crash_loses_nothing(loss):
    for first in itertools.count(0, 4):
        disk, durable = interrupted(packed(), first, loss, NEW)
        if disk is None:
            break
        for second in itertools.count(0, 7):
            again, also = interrupted(disk.crash(LoseNothing()), second, loss, NEW)
            if again is None:
                break
            check(again, durable or also)


@pytest.mark.parametrize("loss", LOSSES[:3])
def test_a_crash_in_a_first_life_leaves_what_was_durable(loss):
    for number in itertools.count():
        disk = SimDisk()
        disk.make_folder(FILE.parent)
        after, durable = interrupted(disk, number, loss, NEW)
        if after is None:
            break
        memory = PackedFile(after, FILE)
        memory.unpack()
        assert not durable or held(after) == NEW
        memory.release()


def test_a_killed_process_leaves_the_folder_which_is_newer_than_the_file():
    disk = packed()
    PackedFile(disk, FILE).unpack()
    put(disk, FOLDER, {"events/2.log": NEW["events/2.log"]})
    check(disk.restarted(), durable=True)


def code_of(call):
    """Give the error that a call is refused with, if it is."""
    try:
        call()
    except EngramError as error:
        return error
    return None


def failing(calls, number, error):
    """Give a hook that has the n-th call that changes the disk fail."""

    def fail(call, *_):
        if call != "read" and next(calls) == number:
            raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_while_it_is_packed_leaves_the_folder(error):
    for number in itertools.count():
        disk = packed()
        memory = PackedFile(disk, FILE)
        memory.unpack()
        put(disk, FOLDER, {"events/2.log": NEW["events/2.log"]})
        calls = itertools.count()
        disk.hook = failing(calls, number, error)
        refused = code_of(memory.pack)
        if refused is not None:
            assert type(refused) is (DiskFull if error == errno.ENOSPC else StorageFailed)
            assert str(FOLDER) in refused.message
        memory.release()
        disk.hook = lambda *_: None
        check(disk, durable=True)
        if next(calls) <= number:
            break
    assert number > 10


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_while_it_is_unpacked_leaves_the_file(error):
    for number in itertools.count():
        disk = packed()
        before = disk.files()[str(FILE)]
        calls = itertools.count()
        disk.hook = failing(calls, number, error)
        memory = PackedFile(disk, FILE)
        try:
            memory.unpack()
        except (StorageFailed, DiskFull, FolderRefused):
            assert not disk.locks()
            assert disk.files()[str(FILE)] == before
        memory.release()
        disk.hook = lambda *_: None
        check(disk, durable=False)
        if next(calls) <= number:
            break
    assert number > 10


def test_a_second_one_is_refused_with_the_pid():
    disk = packed()
    first = PackedFile(disk, FILE)
    first.unpack()
    with pytest.raises(FolderInUse, match=f"in use by process {os.getpid()}.*engram-node"):
        PackedFile(disk, FILE).unpack()
    assert held(disk) == OLD
    first.release()
    PackedFile(disk, FILE).unpack()


def test_a_lock_that_was_removed_meanwhile_is_no_lock():
    """Between opening the lock's file and taking its lock, its holder may have closed the memory, and another opened it."""
    disk = packed()
    opened = disk.open

    def late(path, **options):
        file = opened(path, **options)
        if path.name == ".lock" and options.get("create"):
            disk.open = opened
            live(disk, NEW)
            second = PackedFile(disk, FILE)
            second.unpack()
            kept.append(second)
        return file

    kept = []
    disk.open = late
    with pytest.raises(FolderInUse):
        PackedFile(disk, FILE).unpack()
    assert held(disk) == NEW


def damaged():
    data = packed().files()[str(FILE)]
    yield "truncated", data[:-100]
    yield "half", data[: len(data) // 2]
    yield "empty", b""
    yield "text", b"this is somebody's file\n" * 10
    yield "a bit turned", data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]
    yield "the last bit turned", data[:-30] + bytes([data[-30] ^ 1]) + data[-29:]


@pytest.mark.parametrize(("what", "data"), list(damaged()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(what, data):
    disk = SimDisk()
    put(disk, FILE.parent, {FILE.name: data})
    with pytest.raises(FolderRefused, match="is not a packed memory, or is damaged"):
        PackedFile(disk, FILE).unpack()
    assert everything(disk) == ["one.engram"]
    assert disk.files()[str(FILE)] == data
    assert not disk.exists(FOLDER)


def test_every_bit_of_a_small_file_counts_or_is_no_part_of_the_memory():
    small = {"FORMAT": b"1", "events/1.log": b"abc"}
    data = packed(small).files()[str(FILE)]
    for at in range(len(data)):
        disk = SimDisk()
        put(disk, FILE.parent, {FILE.name: data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]})
        memory = PackedFile(disk, FILE)
        try:
            memory.unpack()
        except FolderRefused:
            continue
        assert held(disk) == small  # a time, a mode, a version: nothing of ours


def zipped(path, members, compress=zipfile.ZIP_STORED, manifest=None):
    import hashlib

    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in members:
            archive.writestr(name, data)
        files = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in members}
        archive.writestr("ENGRAM", json.dumps(manifest or {"engram": 1, "files": files}), zipfile.ZIP_STORED)


@pytest.mark.parametrize(
    ("members", "compress", "manifest"),
    [
        ([("../../etc/passwd", b"x")], zipfile.ZIP_STORED, None),
        ([("/etc/passwd", b"x")], zipfile.ZIP_STORED, None),
        ([("a/../../b", b"x")], zipfile.ZIP_STORED, None),
        ([(".whole", b"x")], zipfile.ZIP_STORED, None),
        ([("a" * 300 + "\\b", b"x")], zipfile.ZIP_STORED, None),
        ([("bomb", b"0" * 10_000_000)], zipfile.ZIP_DEFLATED, None),
        ([("FORMAT", b"1")], zipfile.ZIP_STORED, {"engram": 1, "files": {}}),
        ([], zipfile.ZIP_STORED, {"engram": 1, "files": {"FORMAT": [1, "00"]}}),
        ([("FORMAT", b"1")], zipfile.ZIP_STORED, {"engram": 1, "files": {"FORMAT": [1, "00"]}}),
        ([("FORMAT", b"1")], zipfile.ZIP_STORED, {"files": 1}),
        ([("FORMAT", b"1")], zipfile.ZIP_STORED, {"engram": 2, "files": {}}),
    ],
)
def test_an_archive_that_others_made_is_refused(tmp_path, members, compress, manifest):
    path = tmp_path / "one.engram"
    zipped(path, members, compress, manifest)
    before = path.read_bytes()
    with pytest.raises(FolderRefused):
        PackedFile(RealDisk(), path).unpack()
    assert names(tmp_path) == ["one.engram"]
    assert path.read_bytes() == before


def test_a_member_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "one.engram"
    with pytest.warns(UserWarning, match="Duplicate"):
        zipped(path, [("FORMAT", b"1"), ("FORMAT", b"1")])
    with pytest.raises(FolderRefused):
        PackedFile(RealDisk(), path).unpack()


def test_a_folder_that_is_somebody_elses_is_not_touched(tmp_path):
    folder = tmp_path / "one.engram.d"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderRefused, match=r"holds 'thesis\.txt', which is not ours"):
        PackedFile(RealDisk(), tmp_path / "one.engram").unpack()
    assert names(folder) == ["thesis.txt"]


def test_a_file_that_was_put_there_since_is_not_written_over():
    disk = packed()
    PackedFile(disk, FILE).unpack()
    disk = disk.restarted()
    backup = packed(NEW).files()[str(FILE)]
    disk.remove(FILE)
    put(disk, FILE.parent, {FILE.name: backup})
    with pytest.raises(FolderRefused, match=r"is not the file that .* was unpacked from"):
        PackedFile(disk, FILE).unpack()
    assert disk.files()[str(FILE)] == backup
    assert held(disk) == OLD
    disk.remove(FILE)
    check(disk, durable=False)


MEASURED = """
import resource, sys
from pathlib import Path
from engram.runtime import RealDisk
from engram.store import PackedFile
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(2):
    memory = PackedFile(RealDisk(), path)
    memory.unpack()
    with open(memory.folder / "big.seg", "wb") as file:
        file.truncate(100 << 20)
    memory.pack()
    memory.release()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_big_folder_goes_through_little_memory(tmp_path):
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "one.engram")]
    ran = subprocess.run(command, capture_output=True, check=True, text=True, env=os.environ)
    assert (tmp_path / "one.engram").stat().st_size > 100 << 20
    assert int(ran.stdout) < 20
