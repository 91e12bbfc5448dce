"""What a failed sync leaves: seen for as long as the kernel likes, and not durable."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from engram import events
from engram.errors import StorageFailed
from engram.events import Log, LogCreated, segment_name
from engram.testing import LoseAll, SimDisk

FOLDER = Path("/data/events")
PATH = FOLDER / segment_name(0)
CREATED = events.encode(LogCreated(format=1, node_key=bytes(32)))
PAGE = 4096


def event(size):
    """An event of exactly so many bytes, of which few are zero."""
    return b"\x82\xa4type\xa3a.1\xa1n\xc5" + (size - 15).to_bytes(2) + b"x" * (size - 15)


def log_with(*frames):
    """A disk with a log of these frames, all durable; also where they end."""
    disk = SimDisk()
    log = Log.open(disk, FOLDER)
    for number, frame in enumerate((CREATED, *frames)):
        log.append([frame], number)
    end = log._writer.end
    log.close()
    return disk, end


def torn(disk, end):
    """Write a frame of which one block is missing, as a power cut leaves it; give its bytes."""
    other, _ = log_with(event(12_000))
    frame = bytearray(other.files()[str(PATH)][end : end + 12_100])
    frame[8_192:9_216] = bytes(1_024)
    file = disk.open(PATH)
    file.write(end, frame)
    file.sync()
    file.close()
    return bytes(frame).rstrip(b"\0")


def fail(disk, call, place):
    def hook(called, path, offset, size):
        if called == call and place in path:
            disk.hook = lambda *_: None
            raise OSError(errno.EIO, "Input/output error")

    disk.hook = hook


def test_a_torn_tail_whose_zeros_were_not_synced_is_overwritten_again_before_anything_is_appended():
    disk, end = log_with()
    torn(disk, end)
    fail(disk, "sync", str(PATH))
    with pytest.raises(OSError):
        Log.open(disk, FOLDER, durable=1)
    disk = disk.restarted()  # the machine runs on: zeros are seen, and the torn tail is what the disk holds
    log = Log.open(disk, FOLDER, durable=1)
    log.append([event(PAGE - end - 64 - 4)], 9)
    assert log._writer.end == PAGE  # so that not even the page that it is in has a part of the old bytes
    log.close()
    disk = disk.crash(LoseAll())
    assert Log.open(disk, FOLDER, durable=2).size == 2


def test_what_was_read_is_made_durable_and_not_what_is_read_later():
    disk, _ = log_with()
    log = Log.open(disk, FOLDER)
    fail(disk, "datasync", str(PATH))
    with pytest.raises(StorageFailed):
        log.append([event(3_000)], 5)
    disk = disk.restarted()
    reads = []

    def hook(called, path, offset, size):
        if called == "read" and path == str(PATH):
            reads.append(offset)
            if len(reads) == 2:
                disk.evict()

    disk.hook = hook
    log = Log.open(disk, FOLDER)
    size = log.size
    log.append([event(20)], 6)
    log.close()
    disk.evict()
    assert Log.open(disk, FOLDER).size == size + 1


def test_a_torn_tail_is_kept_under_a_durable_name_before_it_is_overwritten():
    disk, end = log_with()
    tail = torn(disk, end)
    fail(disk, "sync_folder", "events")
    with pytest.raises(OSError):
        Log.open(disk, FOLDER, durable=1)
    disk = disk.restarted()
    Log.open(disk, FOLDER, durable=1).close()
    disk = disk.crash(LoseAll())
    assert disk.files()[f"{PATH}.torn-{end}"] == tail
