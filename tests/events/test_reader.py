"""A reader keeps its place in a log that grows, rotates and may be damaged."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import CREATED, event, write

from engram import events
from engram.errors import LogCorrupt, StorageFailed
from engram.events import Log
from engram.runtime import RealDisk


def drain(reader, **limits):
    entries = []
    while batch := reader.read(**limits):
        entries += batch
    return entries


@settings(max_examples=40, deadline=None)
@given(
    frames=st.lists(st.integers(1, 20), min_size=1, max_size=30),
    start=st.integers(0, 300),
    limit_events=st.integers(1, 40),
    limit_bytes=st.integers(1, 600),
)
def test_any_place_and_any_limit_give_the_same_events(tmp_path_factory, frames, start, limit_events, limit_bytes):
    log, written, after = write(tmp_path_factory.mktemp("log"), frames)
    times = [time for (time, _, _), count in zip(after, frames, strict=True) for _ in range(count)]
    expected = list(zip(range(len(written)), times, written, strict=True))[start:]
    reader = log.reader(start)
    batches = []
    while batch := reader.read(limit_events, limit_bytes):
        assert len(batch) <= limit_events
        assert sum(len(each) for *_, each in batch[:-1]) < limit_bytes
        batches += batch
    assert batches == expected
    assert reader.position == max(start, len(written))
    assert list(log.read(start)) == [(position, each) for position, _, each in expected]
    log.close()


def test_a_reader_follows_the_log_through_rotations_from_where_it_was(tmp_path):
    log, written, _ = write(tmp_path, [1])
    readers = [log.reader(), log.reader(40), log.reader(1)]
    seen = [[] for _ in readers]
    for number in range(1, 90):
        written.append(event(number, 60))
        log.append(written[-1:], number)
        for reader, entries in zip(readers, seen, strict=True):
            entries.extend(drain(reader))
    assert len(list(tmp_path.glob("*.log"))) > 3
    for start, entries in zip((0, 40, 1), seen, strict=True):
        assert [(position, data) for position, _, data in entries] == list(enumerate(written))[start:]


def test_old_frames_cost_a_follower_nothing(tmp_path):
    read = []

    class CountingDisk(RealDisk):
        def open(self, path, **options):
            file = super().open(path, **options)
            real = file.read

            def reads(offset, size):
                data = real(offset, size)
                read.append((path.name, offset, len(data)))
                return data

            file.read = reads
            return file

    log, _, _ = write(tmp_path, [1, *[30] * 40], segment_bytes=1 << 20, disk=CountingDisk())
    reader = log.reader()
    drain(reader)
    end = log._writer.end
    read.clear()
    log.append([event(0)], 10**6)
    assert len(reader.read()) == 1
    assert [(offset, len(read)) for _, offset, _ in read] == [(end, 1)]


def test_nothing_uncommitted_is_read(tmp_path):
    log, _, _ = write(tmp_path, [1, 2])
    reader = log.reader()
    assert len(drain(reader)) == 3
    state = log._state.copy()
    log._writer.write(state.encode(10**6, [event(3)]))  # written, not synced: nobody has been told of it
    assert drain(reader) == []
    assert drain(log.reader(2))[-1][0] == 2


def test_a_thread_may_append_while_another_reads(tmp_path):
    log, written, _ = write(tmp_path, [1], segment_bytes=8192)
    more = [event(number, 30) for number in range(1, 600)]
    appending = threading.Thread(target=lambda: [log.append([each], 1) for each in more])
    appending.start()
    reader, entries = log.reader(), []
    while len(entries) < 600:
        entries += reader.read()
    appending.join()
    assert [data for _, _, data in entries] == written + more


def test_the_root_is_known_at_the_end_of_each_frame_and_nowhere_else(tmp_path):
    log, written, after = write(tmp_path, [1, 3, 1, 7, 2, 20, 20, 20, 20])
    roots = {size: root for _, size, root in after} | {0: log.root_at(0)}
    assert log.root_at(0) == events.Log.open(RealDisk(), tmp_path / "empty").root
    for size in range(len(written) + 3):
        assert log.root_at(size) == roots.get(size), size
    reader = log.reader()
    assert reader.proved == (0, roots[0])
    for position in range(1, len(written) + 1):
        reader.read(limit_events=1)
        end = max(size for size in roots if size <= position)
        assert reader.proved == (end, roots[end])
    assert log.reader(5).proved is None


def test_frames_larger_than_a_chunk_are_read(tmp_path):
    log = Log.open(RealDisk(), tmp_path)
    written = [CREATED, *(event(number, 60_000) for number in range(40))]
    log.append(written[:1], 1)
    log.append(written[1:], 2)
    assert drain(log.reader(), limit_bytes=100_000) == [
        (position, 1 if not position else 2, each) for position, each in enumerate(written)
    ]


@pytest.mark.parametrize("at", [0, 4, 9, 12, 16, 24, 40, 70, 100])
def test_a_changed_byte_is_named_by_file_and_offset_and_nothing_behind_it_is_given(tmp_path, at):
    log, _, _ = write(tmp_path, [1, 5, 5], segment_bytes=1 << 20)
    path = tmp_path / events.segment_name(0)
    data = bytearray(path.read_bytes())
    second = data.index(b"EGL1", 8)
    data[second + at] ^= 0x40
    path.write_bytes(data)
    reader = log.reader()
    with pytest.raises(LogCorrupt, match=rf"{path.name}, offset {second}: no sound frame with event 1\."):
        drain(reader)
    assert reader.position <= 1


def test_a_missing_segment_is_said(tmp_path):
    log, written, _ = write(tmp_path, [1, *[20] * 8])
    names = sorted(path.name for path in tmp_path.glob("*.log"))
    (tmp_path / names[1]).unlink()
    with pytest.raises(LogCorrupt, match=f"{names[1]} is missing"):
        drain(log.reader())
    assert drain(log.reader(int(names[2][:20])))[-1][2] == written[-1]


def test_a_disk_that_cannot_read_is_no_damage(tmp_path):
    class Failing(RealDisk):
        failing = False

        def open(self, path, **options):
            file = super().open(path, **options)
            real = file.read

            def reads(offset, size):
                if self.failing:
                    raise OSError(5, "Input/output error")
                return real(offset, size)

            file.read = reads
            return file

    disk = Failing()
    log, _, _ = write(tmp_path, [1, 3], disk=disk)
    reader = log.reader()
    disk.failing = True
    with pytest.raises(StorageFailed, match=r"cannot read .*: Input/output error"):
        reader.read()
    disk.failing = False
    assert len(drain(reader)) == 4
