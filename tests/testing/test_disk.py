"""The simulated disk: what is seen, what is durable, what a crash leaves."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.runtime import RealDisk
from engram.testing import Crashed, KeepFirst, KeepOnly, LoseAll, LoseFirst, LoseNothing, LoseSome, SimDisk, stream

FILE = Path("/data/file")


@pytest.fixture
def disk():
    disk = SimDisk()
    disk.make_folder(FILE.parent)
    return disk


def durable_file(disk, data=b""):
    file = disk.open(FILE, create=True)
    file.write(0, data)
    file.sync()
    disk.sync_folder(FILE.parent)
    return file


def left(disk, loss):
    after = disk.crash(loss)
    return after.open(FILE).read(0, 1 << 20)


def test_what_is_written_is_seen_at_once_and_lost_in_a_crash(disk):
    file = durable_file(disk, b"old")
    file.write(0, b"new")
    assert file.read(0, 10) == b"new"
    assert left(disk, LoseAll()) == b"old"


def test_what_is_synced_stays(disk):
    file = durable_file(disk, b"old")
    file.write(0, b"new")
    file.datasync()
    assert left(disk, LoseAll()) == b"new"


def test_a_name_is_lost_until_its_folder_is_synced(disk):
    file = disk.open(FILE, create=True)
    file.write(0, b"x")
    file.sync()
    assert not disk.image(LoseAll()).exists(FILE)
    disk.sync_folder(FILE.parent)
    assert disk.image(LoseAll()).exists(FILE)


def test_a_rename_is_undone_whole_or_done_whole(disk):
    durable_file(disk, b"x")
    other = FILE.with_name("other")
    disk.rename(FILE, other)
    assert disk.list(FILE.parent) == ["other"]
    assert disk.image(LoseAll()).list(FILE.parent) == ["file"]
    assert disk.image(LoseNothing()).list(FILE.parent) == ["other"]


def test_a_removal_is_undone_until_its_folder_is_synced(disk):
    durable_file(disk, b"x")
    disk.remove(FILE)
    assert disk.image(LoseAll()).exists(FILE)
    disk.sync_folder(FILE.parent)
    assert not disk.image(LoseAll()).exists(FILE)


def test_a_write_is_torn_at_sectors_and_nowhere_else(disk):
    file = durable_file(disk, b"a" * 2048)
    file.write(256, b"b" * 1024)
    parts = [b"a" * 256 + b"b" * 256, b"b" * 512, b"b" * 256 + b"a" * 256]
    assert left(disk, KeepOnly(1)) == b"a" * 512 + parts[1] + b"a" * 1024


def test_sectors_may_be_reordered(disk):
    file = durable_file(disk, bytes(1024))
    file.write(0, b"1" * 512)
    file.write(512, b"2" * 512)
    assert disk.image(LoseFirst(1)).open(FILE).read(0, 1024) == bytes(512) + b"2" * 512
    assert left(disk, KeepFirst(1)) == b"1" * 512 + bytes(512)


def test_a_sector_is_kept_as_it_was_after_some_write_and_never_a_mixture(disk):
    file = durable_file(disk, bytes(512))
    file.write(0, b"1" * 100)
    file.write(50, b"2" * 100)
    versions = {bytes(512), (b"1" * 100).ljust(512, b"\0"), (b"1" * 50 + b"2" * 100).ljust(512, b"\0")}
    found = {disk.image(LoseSome(stream(seed, "t"))).open(FILE).read(0, 512) for seed in range(40)}
    assert found == versions


def test_a_size_that_grew_without_its_data_reads_as_zeros(disk):
    file = durable_file(disk)
    file.write(0, b"x" * 512)
    assert left(disk, KeepOnly(0)) == bytes(512)  # unit 0 is the size, unit 1 the sector


def test_a_truncation_is_lost_or_kept(disk):
    file = durable_file(disk, b"x" * 600)
    file.truncate(10)
    assert file.size() == 10
    assert disk.image(LoseAll()).open(FILE).size() == 600
    assert disk.image(LoseNothing()).open(FILE).read(0, 1000) == b"x" * 10


def test_a_process_that_is_killed_loses_nothing_and_makes_nothing_durable(disk):
    file = durable_file(disk, b"old")
    file.write(0, b"new")
    after = disk.restarted()
    assert after.open(FILE).read(0, 3) == b"new"
    assert left(after, LoseAll()) == b"old"


def test_the_dead_touch_nothing(disk):
    file = durable_file(disk, b"x")
    disk.crash()
    for call in (lambda: file.write(0, b"y"), file.datasync, lambda: disk.exists(FILE), file.map):
        with pytest.raises(Crashed):
            call()
    file.close()


def test_a_lock_ends_with_its_file_and_with_its_life(disk):
    file = durable_file(disk)
    assert file.lock()
    assert not disk.open(FILE).lock()
    after = disk.restarted()
    again = after.open(FILE)
    assert again.lock()
    again.close()
    assert after.open(FILE).lock()
    assert after.locks() == ["/data/file"]


def test_a_map_sees_later_writes_within_its_size(disk):
    file = durable_file(disk, b"abc")
    view = file.map()
    file.write(1, b"X")
    file.write(3, b"more" * 100_000)
    file.write(0, b"Y")
    assert bytes(view) == b"YXc"
    with pytest.raises(TypeError):
        view[0] = 1


def test_a_failed_sync_takes_the_pages_for_clean(disk):
    file = durable_file(disk, b"old")
    file.write(0, b"new")

    def failing(call, path, offset, size):
        if call == "datasync":
            raise OSError(5, "Input/output error")

    disk.hook = failing
    with pytest.raises(OSError, match="Input/output"):
        file.datasync()
    assert file.read(0, 3) == b"new"
    disk.hook = lambda *_: None
    file.datasync()
    assert left(disk, LoseNothing()) == b"old"


def test_what_a_failed_sync_took_for_clean_may_be_seen_no_more(disk):
    file = durable_file(disk, b"old")
    view = file.map()
    file.write(0, b"new")
    disk.evict()
    assert file.read(0, 3) == b"new"  # what waits to be written is not dropped

    def failing(call, path, offset, size):
        raise OSError(5, "Input/output error")

    disk.hook = failing
    with pytest.raises(OSError, match="Input/output"):
        file.datasync()
    disk.hook = lambda *_: None
    disk.evict()
    assert (file.read(0, 3), bytes(view)) == (b"old", b"old")


def test_a_full_disk_writes_what_fits_and_then_fails(disk):
    file = durable_file(disk, b"x" * 512)
    disk.capacity_bytes = 1024
    with pytest.raises(OSError, match="No space left"):
        file.write(512, b"y" * 1000)
    assert file.size() == 1024
    file.write(0, b"z")


def test_what_is_not_there_is_an_error_as_on_a_real_disk(disk, tmp_path):
    for each, folder in ((disk, FILE.parent), (RealDisk(), tmp_path)):
        assert each.list(folder / "nowhere") == []
        assert not each.exists(folder / "none")
        with pytest.raises(FileNotFoundError):
            each.open(folder / "none")
        with pytest.raises(FileNotFoundError):
            each.remove(folder / "none")
        with pytest.raises(FileNotFoundError):
            each.open(folder / "no" / "file", create=True)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3000), st.binary(min_size=1, max_size=1500)),
        st.tuples(st.just("truncate"), st.integers(0, 3000), st.just(b"")),
        st.tuples(st.just("sync"), st.just(0), st.just(b"")),
    ),
    max_size=12,
)


@given(CHANGES)
def test_it_reads_as_a_real_file_does(tmp_path_factory, changes):
    real = RealDisk().open(tmp_path_factory.mktemp("disk") / "file", create=True)
    disk = SimDisk()
    disk.make_folder(FILE.parent)
    simulated = disk.open(FILE, create=True)
    try:
        for file in (real, simulated):
            for kind, at, data in changes:
                if kind == "write":
                    file.write(at, data)
                elif kind == "truncate":
                    file.truncate(at)
                else:
                    file.datasync()
        assert simulated.size() == real.size()
        assert simulated.read(0, 10_000) == real.read(0, 10_000)
        disk.sync_folder(FILE.parent)
        assert left(disk, LoseNothing()) == real.read(0, 10_000)
    finally:
        real.close()


@given(CHANGES, st.integers(0, 2**32))
def test_after_a_sync_a_crash_changes_nothing(changes, seed):
    disk = SimDisk()
    disk.make_folder(FILE.parent)
    file = disk.open(FILE, create=True)
    disk.sync_folder(FILE.parent)
    for kind, at, data in changes:
        if kind == "write":
            file.write(at, data)
        elif kind == "truncate":
            file.truncate(at)
    file.datasync()
    seen = file.read(0, 10_000)
    assert left(disk, LoseSome(stream(seed, "crash"))) == seen
