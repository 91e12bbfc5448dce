"""Segments of the log at their exact limits: rotation, allocation, torn tails, and what a crash leaves of each."""

from __future__ import annotations

import errno
import shutil

import pytest
from disks import FaultyDisk, WatchedDisk

from engram import events
from engram.errors import LogCorrupt, StorageFailed
from engram.events import SEGMENT_BYTES, Log, LogCreated, SegmentWriter, cut_torn_tail, segment_name
from engram.native import _core
from engram.runtime import RealDisk

CREATED = events.encode(LogCreated(format=1, node_key=bytes(32)))
FRAME_LIMIT = 8 << 20
STEP = 256 * 1024


def event(size):
    """An event of exactly so many bytes."""
    return b"\x82\xa4type\xa3a.1\xa1n\xc5" + (size - 15).to_bytes(2) + bytes(size - 15)


def frame_event(size):
    """An event whose frame has exactly so many bytes."""
    return event(size - 64 - 4)


def opened(folder, **options):
    return Log.open(RealDisk(), folder, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_a_frame_that_fits_its_segment_exactly_stands_in_it_and_the_next_begins_another(tmp_path):
    log = opened(tmp_path, segment_bytes=4096)
    log.append([CREATED], 1)
    log.append([frame_event(4096 - log._writer.end)], 2)
    assert (log._writer.end, names(tmp_path)) == (4096, [segment_name(0)])
    assert (tmp_path / segment_name(0)).stat().st_size == 4096
    log.append([event(15)], 3)
    assert names(tmp_path) == [segment_name(0), segment_name(2)]
    log.close()
    assert opened(tmp_path, segment_bytes=4096).root == log.root


def test_a_frame_one_step_too_long_begins_another_segment(tmp_path):
    log = opened(tmp_path, segment_bytes=4096)
    log.append([CREATED], 1)
    end = log._writer.end
    log.append([frame_event(4096 - end + 1)], 2)  # padded to 8 bytes more than fit
    assert names(tmp_path) == [segment_name(0), segment_name(1)]
    assert (tmp_path / segment_name(0)).stat().st_size == end  # cut to its last padded frame
    assert log.segment_start.size == 1
    log.close()
    for trusted in (None, log.segment_start):
        assert opened(tmp_path, trusted=trusted, segment_bytes=4096).root == log.root


def test_a_segment_ends_at_64_mib_and_no_byte_later(tmp_path):
    """Eight frames of the largest size fill one; nothing is left over."""
    log = opened(tmp_path)
    log.append([CREATED], 1)
    largest = [event(65_535)] * 127
    while log._writer.end + FRAME_LIMIT <= SEGMENT_BYTES:
        fill = FRAME_LIMIT - 64 - sum(4 + len(each) for each in largest)
        log.append([*largest, event(fill - 4 - 600), event(600 - 4)], 1)
    log.append([*largest, event(SEGMENT_BYTES - log._writer.end - 64 - 127 * 65_539 - 4)], 1)
    assert log._writer.end == (tmp_path / segment_name(0)).stat().st_size == SEGMENT_BYTES
    log.append([event(15)], 1)
    assert names(tmp_path) == [segment_name(0), segment_name(8 * 129)]
    log.close()
    again = opened(tmp_path)
    assert (again.size, again.root) == (8 * 129 + 1, log.root)
    again.close()
    with (tmp_path / segment_name(0)).open("ab") as file:
        file.write(bytes(8))
    with pytest.raises(LogCorrupt, match=f"offset {SEGMENT_BYTES}: a segment is at most 64 MiB"):
        opened(tmp_path)


def test_the_old_segment_is_durable_before_the_new_one_has_its_name(tmp_path):
    disk = FaultyDisk()
    log = Log.open(disk, tmp_path, segment_bytes=1024)
    log.append([CREATED], 1)
    log.append([event(700)], 2)
    del disk.called[:]
    log.append([event(700)], 3)
    old, new = segment_name(0), segment_name(2)
    calls = [(call.split()[0], call.split("/")[1]) for call in disk.called if " " in call and "/" in call]
    folder = tmp_path.name
    assert calls[:-2] == [
        ("truncate", old),
        ("sync", old),
        ("create", f".{new}.new"),
        ("truncate", f".{new}.new"),
        ("sync", f".{new}.new"),
        ("rename", new),
        ("sync_folder", folder),
        ("write", f".{new}.new"),  # its allocation
    ]
    assert [call for call, _ in calls[-2:]] == ["write", "datasync"]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_crash_at_every_call_of_a_rotation_leaves_a_log_that_opens_and_goes_on(tmp_path, error):
    def write(folder, disk):
        log = Log.open(disk, folder, segment_bytes=1024)
        for time, frame in enumerate([[CREATED], [event(700)]], 1):
            log.append(frame, time)
        return log

    disk = FaultyDisk()
    log = write(tmp_path / "whole", disk)
    before = len(disk.called)
    log.append([event(600)], 3)
    log.close()
    for at in range(before, len(disk.called)):
        folder = tmp_path / str(at)
        log = write(folder, FaultyDisk(at, error))
        with pytest.raises(Exception, match=f"{folder}") as raised:
            log.append([event(600)], 3)
        log.close()
        final = isinstance(raised.value, StorageFailed)
        assert final or error == errno.ENOSPC
        again = opened(folder, segment_bytes=1024)
        assert [len(each) for _, each in again.read()][:2] == [len(CREATED), 700]
        again.append([event(500)], 4)
        again.append([event(700)], 5)
        again.close()
        assert opened(folder, segment_bytes=1024).root == again.root
        assert not [name for name in names(folder) if name.startswith(".")], disk.called[at]


def test_what_a_crash_left_of_a_rotation_is_removed(tmp_path):
    opened(tmp_path).close()
    for stale in (f".{7:020}.log.new", f".{0:020}.log.torn"):
        (tmp_path / stale).write_bytes(b"half")
    (tmp_path / ".keep").write_bytes(b"not ours")
    opened(tmp_path).close()
    assert names(tmp_path) == [".keep", segment_name(0)]


def test_a_last_segment_that_is_empty_or_cut_to_its_data_is_whole(tmp_path):
    log = opened(tmp_path, segment_bytes=1024)
    log.append([CREATED], 1)
    end = log._writer.end
    log.close()
    with (tmp_path / segment_name(0)).open("r+b") as file:
        file.truncate(end)
    for _ in range(2):
        again = opened(tmp_path)
        assert (again.size, again.root) == (1, log.root)
        again.close()
        (tmp_path / segment_name(1)).touch()
    grown = opened(tmp_path)
    grown.append([event(15)], 2)
    grown.close()
    assert opened(tmp_path).size == 2


# -- limits of a frame ------------------------------------------------------------------------------------------------


def state_after_created():
    state = _core.LogState()
    state.encode(1, [CREATED])
    return state


def judged(*frames):
    state = _core.LogState()
    start = state.encode(1, [CREATED])
    return events.judge({segment_name(0): start + b"".join(frames)}, None)


def test_a_frame_of_8_mib_is_taken_and_one_of_a_byte_more_is_not():
    whole = [event(65_535)] * 127
    left = FRAME_LIMIT - 64 - 127 * 65_539
    fits = [*whole, event(left - 4 - 604), event(600)]
    frame = state_after_created().encode(2, fits)
    assert len(frame) == FRAME_LIMIT
    assert judged(frame).events == 1 + 129
    with pytest.raises(ValueError, match="at most 8 MiB"):
        state_after_created().encode(2, [*whole, event(left - 4 - 604), event(601)])


def test_a_frame_of_65_536_events_is_taken_and_one_more_is_not():
    smallest = b"\x81\xa4type\xa1a"
    frame = state_after_created().encode(2, [smallest] * 65_536)
    assert judged(frame).events == 1 + 65_536
    with pytest.raises(ValueError, match="65,536 events"):
        state_after_created().encode(2, [smallest] * 65_537)
    with pytest.raises(ValueError, match="1 to 65,536 events"):
        state_after_created().encode(2, [])


def test_an_event_of_65_535_bytes_is_taken_and_one_more_is_not():
    frame = state_after_created().encode(2, [event(65_535)])
    assert judged(frame).events == 2
    with pytest.raises(ValueError, match="size"):
        state_after_created().encode(2, [event(65_535) + b"\0"])


def test_a_log_starts_with_log_created_and_with_nothing_else(tmp_path):
    log = opened(tmp_path)
    for first in (event(15), b"\x81\xa4type\xaelog_created.10", b"", b"\xc1"):
        with pytest.raises(ValueError, match=r"position 0 is not log_created\.1"):
            log.append([first], 1)
    log.append([CREATED], 1)
    log.append([event(15)], 1)
    log.close()
    assert opened(tmp_path).size == 2


def test_time_grows_whatever_the_clock_says(tmp_path):
    log = opened(tmp_path)
    times = [log.append([CREATED] if now == 50 else [event(15)], now).time_unix_ns for now in (50, 50, 7, 60, 60)]
    assert times == [50, 51, 52, 60, 61]


# -- allocation -------------------------------------------------------------------------------------------------------


def test_a_segment_is_allocated_in_steps_that_double_to_8_mib(tmp_path):
    (tmp_path / "segment").touch()
    writer = SegmentWriter(RealDisk(), tmp_path, "segment", 0)
    sizes = []
    while writer.end < SEGMENT_BYTES:
        writer.write(b"x" * 65_536)
        size = writer.path.stat().st_size
        sizes += [size] if size not in sizes else []
    writer.close()
    mib = 1 << 20
    assert sizes == [STEP, 2 * STEP, mib, 2 * mib, 4 * mib, *(at * 8 * mib for at in range(1, 9))]


def test_what_is_allocated_is_zero(tmp_path):
    (tmp_path / "segment").touch()
    writer = SegmentWriter(RealDisk(), tmp_path, "segment", 0)
    writer.write(b"x" * 100)
    writer.close()
    assert writer.path.read_bytes() == b"x" * 100 + bytes(STEP - 100)


def test_an_allocation_is_never_over_the_segments_limit(tmp_path):
    log = opened(tmp_path, segment_bytes=STEP + 4096)
    log.append([CREATED], 1)
    for _ in range(4):
        log.append([event(65_535)], 1)
    assert (tmp_path / segment_name(0)).stat().st_size == STEP + 4096


def test_each_sync_of_an_append_covers_what_it_allocated(tmp_path):
    disk = WatchedDisk()
    log = Log.open(disk, tmp_path, segment_bytes=STEP * 2)
    log.append([CREATED], 1)
    for _ in range(30):
        log.append([event(65_535)], 1)
        assert disk.lost(tmp_path.name) == []
    assert disk.broken == []


# -- torn tails -------------------------------------------------------------------------------------------------------


def torn_log(folder, *, lost_block=1):
    """A log of one frame and a torn one of 2,000 bytes behind it; give its bytes and where the torn one starts."""
    log = opened(folder)
    log.append([CREATED], 1)
    at = log._writer.end
    log.append([frame_event(2000)], 2)
    log.close()
    path = folder / segment_name(0)
    data = bytearray(path.read_bytes()[:8192].replace(bytes(1000), b"\xab" * 1000))
    start = (at // 512 + lost_block) * 512
    data[start : start + 512] = bytes(512)
    path.write_bytes(data)
    return bytes(data), at


def test_a_torn_tail_is_kept_and_cut_before_anything_is_appended(tmp_path):
    data, at = torn_log(tmp_path)
    log = opened(tmp_path)
    path = tmp_path / segment_name(0)
    assert (tmp_path / f"{path.name}.torn-{at}").read_bytes() == data[at:].rstrip(b"\0")
    assert path.read_bytes() == data[:at] + bytes(len(data) - at)
    log.append([event(15)], 3)
    log.close()
    assert opened(tmp_path).size == 2


def test_a_second_torn_tail_at_the_same_place_does_not_overwrite_the_first(tmp_path):
    first, at = torn_log(tmp_path)
    opened(tmp_path).close()
    path = tmp_path / segment_name(0)
    for number in (2, 3):
        second = bytearray(first)
        second[at + 70] ^= number
        path.write_bytes(second)
        opened(tmp_path).close()
        kept = tmp_path / f"{path.name}.torn-{at}"
        assert kept.read_bytes() == first[at:].rstrip(b"\0")
        assert kept.with_name(f"{kept.name}.{number}").read_bytes() == second[at:].rstrip(b"\0")
    path.write_bytes(first)
    opened(tmp_path).close()
    assert len(names(tmp_path)) == 4  # one that is kept already is not kept again


def test_a_crash_while_a_torn_tail_is_cut_keeps_it_once_and_whole(tmp_path):
    """At every call, and with every set of blocks overwritten."""
    whole, at = torn_log(tmp_path / "whole")
    name = segment_name(0)
    disk = FaultyDisk()
    cut_torn_tail(disk, tmp_path / "whole" / name, at)
    cutting = len(disk.called)
    assert [call.split()[0] for call in disk.called] == [
        "create", "truncate", "write", "sync", "rename", "sync_folder", "write", "sync",
    ]  # fmt: skip
    for call in range(cutting):
        folder = tmp_path / str(call)
        torn_log(folder)
        with pytest.raises(OSError):
            cut_torn_tail(FaultyDisk(call), folder / name, at)
        assert_cut(folder, whole, at)
    edges = [at, *range(at // 512 * 512 + 512, at + 2000, 512)]
    for blocks in range(1 << len(edges)):
        folder = tmp_path / f"blocks {blocks}"
        torn_log(folder)
        (folder / f"{name}.torn-{at}").write_bytes(whole[at:].rstrip(b"\0"))
        data = bytearray(whole)
        for index, edge in enumerate(edges):
            if blocks >> index & 1:
                end = (edge // 512 + 1) * 512
                data[edge:end] = bytes(end - edge)
        (folder / name).write_bytes(data)
        assert_cut(folder, whole, at)
        shutil.rmtree(folder)


def assert_cut(folder, whole, at):
    log = opened(folder)
    assert log.size == 1
    log.close()
    name = segment_name(0)
    assert names(folder) == [name, f"{name}.torn-{at}"]
    assert (folder / f"{name}.torn-{at}").read_bytes() == whole[at:].rstrip(b"\0")
    assert not (folder / name).read_bytes()[at:].strip(b"\0")


def test_a_torn_frame_that_a_checkpoint_or_a_projection_knows_is_damage_and_stays_as_it_is(tmp_path):
    data, at = torn_log(tmp_path)
    for known in ({"durable": 2}, {"checkpoint": events.Checkpoint(2, bytes(32))}):
        with pytest.raises(LogCorrupt, match=f"offset {at}: an unsound frame where events were committed"):
            opened(tmp_path, **known)
    assert (tmp_path / segment_name(0)).read_bytes() == data
    assert names(tmp_path) == [segment_name(0)]
