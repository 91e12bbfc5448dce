"""A log is read and judged from outside, while it grows, and nothing of it is changed."""

from __future__ import annotations

import golden
import pytest
import small_folder
from events.test_reader import event, write

from engram import events
from engram.events import Checkpoint, Log, Replay, _replay, checkpoints
from engram.runtime import RealDisk, RealTables
from engram.store import Store

LOG = golden.FORMATS["log"]
SEGMENT = bytes.fromhex(LOG["segment_hex"])
SOUND, TORN, DAMAGED, BROKEN_PROMISE = range(4)


def drain(replay):
    entries = []
    while batch := replay.read():
        entries += batch
    return entries


@pytest.mark.parametrize("case", LOG["cases"], ids=lambda case: case["name"])
def test_golden_segments_are_judged_as_opening_judges_them(tmp_path, case):
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / LOG["segment"]).write_bytes(golden.edited(SEGMENT, case))
    if case["with_checkpoint"]:
        (tmp_path / "checkpoints").mkdir()
        note = golden.FORMATS["checkpoint"]["note"].encode()
        size = int(note.split(b"\n")[1])
        (tmp_path / "checkpoints" / f"{size:020}").write_bytes(note)
    replay = Replay(RealDisk(), tmp_path)
    entries = drain(replay)
    verdict = replay.verdict()
    expect = case["expect"]
    assert len(entries) == replay.size == verdict.events
    assert verdict.events == expect["events"]
    assert verdict.status == expect["status"], verdict.reason
    assert verdict.offset == expect.get("offset", verdict.offset)


@pytest.mark.parametrize("case", LOG["segments"], ids=lambda case: case["name"])
def test_golden_chains_of_segments_are_judged_as_opening_judges_them(tmp_path, case):
    (tmp_path / "events").mkdir()
    for name, (start, length) in case["files"].items():
        data = b"" if start is None else SEGMENT[start : start + length]
        (tmp_path / "events" / name).write_bytes(data + bytes(length - len(data)))
    replay = Replay(RealDisk(), tmp_path)
    drain(replay)
    verdict = replay.verdict()
    assert (verdict.events, verdict.status) == (case["expect"]["events"], case["expect"]["status"]), verdict.reason


def test_a_log_is_followed_while_it_grows_and_rotates(tmp_path):
    log, written, _ = write(tmp_path / "events", [1])
    replay, entries = Replay(RealDisk(), tmp_path), []
    for number in range(1, 90):
        written.append(event(number, 60))
        log.append(written[-1:], number)
        entries += replay.read()
    entries += drain(replay)
    assert len(list((tmp_path / "events").glob("*.log"))) > 3
    assert [(position, data) for position, _, data in entries] == list(enumerate(written))
    assert (replay.size, replay.root) == (log.size, log.root)
    assert replay.verdict().status == SOUND


def test_a_half_written_frame_is_not_there_yet_whichever_sector_is_its_last(tmp_path):
    log, _, _ = write(tmp_path / "events", [1, 2], segment_bytes=1 << 20)
    path = tmp_path / "events" / events.segment_name(0)
    end = log._writer.end
    before = path.read_bytes()
    log.append([event(number, 700) for number in range(3)], 500)
    after = path.read_bytes()
    sectors = range(512, log._writer.end, 512)
    assert len(sectors) > 3
    for cut in sectors:
        path.write_bytes(after[:cut] + bytes(len(before) - cut))
        replay = Replay(RealDisk(), tmp_path)
        assert len(drain(replay)) == 3
        assert (replay.verdict().status, replay.verdict().offset) == (TORN, end)
        path.write_bytes(after)
        assert [position for position, *_ in drain(replay)] == [3, 4, 5]
        assert (replay.verdict().status, replay.root) == (SOUND, log.root)


def test_every_flipped_byte_of_a_log_is_found_and_nothing_behind_it_is_given(tmp_path):
    log, written, _ = write(tmp_path / "events", [1, 2, 3], segment_bytes=1 << 20)
    path = tmp_path / "events" / events.segment_name(0)
    data = path.read_bytes()[: log._writer.end]
    starts = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"EGL1"]
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        replay = Replay(RealDisk(), tmp_path)
        entries = drain(replay)
        frame = sum(start <= at for start in starts) - 1
        assert len(entries) == sum((1, 2, 3)[:frame])
        assert [each for *_, each in entries] == written[: len(entries)]
        verdict = replay.verdict()
        assert verdict.offset == starts[frame], at
        # A length that reaches over the file's end looks, in the last frame, as if it had not been written whole.
        assert verdict.status == (TORN if frame == 2 and at - starts[2] in (9, 10) else DAMAGED), at
    assert len(starts) == 3


def test_a_rolled_back_log_is_told_by_its_checkpoint(tmp_path):
    small_folder.make(tmp_path)
    replay = Replay(RealDisk(), tmp_path)
    sizes = [replay.size for _ in iter(replay.read, [])]
    assert replay.verdict().status == SOUND
    path = tmp_path / "events" / events.segment_name(0)
    data = path.read_bytes()
    last = data.rindex(b"EGL1")
    path.write_bytes(data[:last] + bytes(len(data) - last))
    replay = Replay(RealDisk(), tmp_path)
    assert len(drain(replay)) < sizes[-1]
    assert replay.verdict().status == BROKEN_PROMISE
    assert "does not hold" in replay.verdict().reason


@pytest.mark.parametrize("window", [300, 1024 * 1024])
def test_a_log_that_is_read_in_part_is_judged_by_what_was_read(tmp_path, monkeypatch, window):
    """A reader that stopped within a segment, or at its end, was told that the checkpoint at the log's end is broken."""
    monkeypatch.setattr(_replay, "_WINDOW_BYTES", window)
    small_folder.make(tmp_path)
    store = Store.open(RealDisk(), RealTables(), tmp_path, small_folder.FixedRng(), 10**19, "test", segment_bytes=4096)
    for number in range(40):
        store._log.append([event(number)] * 4, 10**19)
    checkpoints.write(RealDisk(), tmp_path / "checkpoints", Checkpoint(store._log.size, store._log.root), store.key)
    store.close(10**19)
    replay = Replay(RealDisk(), tmp_path)
    stops = 0
    while replay.read():
        assert (replay.verdict().status, replay.verdict().reason) == (SOUND, "")
        stops += 1
    assert stops > 2
    assert replay.verdict().status == SOUND


def test_a_log_that_was_emptied_is_told_by_its_checkpoints(tmp_path):
    small_folder.make(tmp_path)
    (tmp_path / "events" / events.segment_name(0)).write_bytes(b"")
    replay = Replay(RealDisk(), tmp_path)
    assert drain(replay) == []
    assert replay.verdict().status == BROKEN_PROMISE
    assert "no event" in replay.verdict().reason


def test_reading_changes_nothing_on_the_disk(tmp_path):
    small_folder.make(tmp_path)
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}
    for path in (tmp_path / "events", *files):
        path.chmod(0o500 if path.is_dir() else 0o400)
    replay = Replay(RealDisk(), tmp_path)
    assert drain(replay)
    replay.verdict()
    (tmp_path / "events").chmod(0o700)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == files
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(files)


def test_a_log_opened_beside_it_may_be_read(tmp_path):
    log, _, _ = write(tmp_path / "events", [1, 4])
    replay = Replay(RealDisk(), tmp_path)
    assert len(drain(replay)) == 5
    log.close()
    again = Log.open(RealDisk(), tmp_path / "events")
    again.append([event(5)], 10**7)
    assert [position for position, *_ in drain(replay)] == [5]
