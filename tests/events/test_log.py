from __future__ import annotations

import hashlib
import subprocess
import sys

import golden
import msgspec
import pytest
from disks import FullDisk

from engram import events
from engram.errors import LogCorrupt, StorageFailed
from engram.events import Checkpoint, Log, LogCreated, checkpoints
from engram.identity import NodeKey
from engram.native import _core
from engram.runtime import RealDisk

LOG = golden.FORMATS["log"]
SEGMENT = bytes.fromhex(LOG["segment_hex"])
NAME = LOG["segment"]
NODE = NodeKey(bytes(range(32)))
NOTE = golden.FORMATS["checkpoint"]["note"].encode()
CHECKPOINT = checkpoints.parse(NOTE, NODE.public)


def check(verdict, expect):
    found = {"events": verdict.events, "status": verdict.status}
    if "offset" in expect:
        found["offset"] = verdict.offset
    assert found == expect, verdict.reason


@pytest.mark.parametrize("case", LOG["cases"], ids=lambda case: case["name"])
def test_golden_segments_are_judged_as_written(case):
    data = golden.edited(SEGMENT, case)
    check(events.judge({NAME: data}, CHECKPOINT if case["with_checkpoint"] else None), case["expect"])


@pytest.mark.parametrize("case", LOG["segments"], ids=lambda case: case["name"])
def test_golden_chains_of_segments_are_judged_as_written(case):
    files = {}
    for name, (start, length) in case["files"].items():
        data = b"" if start is None else SEGMENT[start : start + length]
        files[name] = data + bytes(length - len(data))
    check(events.judge(files, None), case["expect"])


def frame(state, event_bytes):
    """A frame around any bytes, CRC and root right: what `encode` refuses to make."""
    roots = [hashlib.sha256(b"\0" + event).digest() for event in (*state, event_bytes)]
    root = roots[0] if len(roots) == 1 else hashlib.sha256(b"\1" + roots[0] + roots[1]).digest()
    body = len(event_bytes).to_bytes(4, "little") + event_bytes
    fields = (len(body), 4), (1, 4), (len(state), 8), (2**62 + len(state), 8)
    rest = b"".join(value.to_bytes(size, "little") for value, size in fields) + root + body
    data = b"EGL1" + _core.crc32c_of(rest).to_bytes(4, "little") + rest
    return data + bytes(-len(data) % 8)


@pytest.mark.parametrize("case", LOG["refused_events"], ids=lambda case: case["why"])
def test_malformed_events_are_damage(case):
    first = _core.frame_events(SEGMENT[: LOG["frames"][0]["bytes"]])
    event = bytes.fromhex(case["event_hex"])
    data = (
        frame([], event)
        if case["expect"]["events"] == 0
        else SEGMENT[: LOG["frames"][0]["bytes"]] + frame(first, event)
    )
    check(events.judge({NAME: data}, None), case["expect"])


def test_appending_the_golden_events_gives_the_golden_bytes(tmp_path):
    state = _core.LogState()
    out = b""
    for golden_frame in LOG["frames"]:
        data = SEGMENT[golden_frame["offset"] : golden_frame["offset"] + golden_frame["bytes"]]
        time = int.from_bytes(data[24:32], "little")
        out += state.encode(time, _core.frame_events(data))
        assert (state.size, state.root.hex()) == (golden_frame["size_after"], golden_frame["root_hex"])
    assert out == SEGMENT
    assert _core.LogState().root.hex() == LOG["empty_root_hex"]


def test_crc_is_rfc_3720s():
    assert _core.crc32c_of(b"123456789") == 0xE3069283


def created() -> bytes:
    return events.encode(LogCreated(format=1, node_key=NODE.public))


def event(number: int) -> bytes:
    return msgspec.msgpack.encode({"type": "example.1", "n": number})


def test_what_is_appended_is_read_again_over_rotations(tmp_path):
    log = Log.open(RealDisk(), tmp_path, segment_bytes=2048)
    written = [created(), *(event(number) for number in range(200))]
    log.append(written[:1], 1)
    for start in range(1, 201, 7):
        log.append(written[start : start + 7], start)
    assert len(list(tmp_path.glob("*.log"))) > 2
    for opened in (log, Log.open(RealDisk(), tmp_path, segment_bytes=2048)):
        assert list(opened.read(0)) == list(enumerate(written))
        assert list(opened.read(150)) == list(enumerate(written))[150:]
        assert (opened.size, opened.root) == (201, log.root)
    trusted = Log.open(RealDisk(), tmp_path, trusted=log.segment_start, segment_bytes=2048)
    assert (trusted.size, trusted.root) == (201, log.root)


def test_a_torn_tail_is_kept_aside_and_overwritten(tmp_path):
    log = Log.open(RealDisk(), tmp_path)
    log.append([created()], 1)
    end = log.append([event(1)], 2)
    log.close()
    path = tmp_path / NAME
    data = path.read_bytes()
    second = data.index(b"EGL1", 8)
    path.write_bytes(data[: second + 40])
    again = Log.open(RealDisk(), tmp_path)
    assert again.size == 1
    assert (tmp_path / f"{NAME}.torn-{second}").read_bytes() == data[second : second + 40].rstrip(b"\0")
    assert path.read_bytes()[second:].strip(b"\0") == b""
    assert again.append([event(1)], 2) == end


def test_every_single_bit_flip_is_found_and_named(tmp_path):
    data = SEGMENT[: LOG["frames"][0]["bytes"] + LOG["frames"][1]["bytes"]]
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        verdict = events.judge({NAME: bytes(flipped)}, None)
        if verdict.status == 1:  # a length that reaches past the file's end looks like a write that was cut
            assert bit // 8 % LOG["frames"][0]["bytes"] in range(8, 12)
        else:
            assert verdict.status == 2
            assert verdict.offset == (0 if bit // 8 < LOG["frames"][0]["bytes"] else LOG["frames"][0]["bytes"])


def test_damage_refuses_to_open_and_says_where(tmp_path):
    (tmp_path / NAME).write_bytes(golden.edited(SEGMENT, {"edits": [[214, "75"]]}))
    with pytest.raises(LogCorrupt, match=r"offset 144.*Events 0 to 0 before it are trustworthy"):
        Log.open(RealDisk(), tmp_path)


def test_a_checkpoint_that_the_log_does_not_reach_refuses_to_open(tmp_path):
    (tmp_path / NAME).write_bytes(SEGMENT[:352])
    with pytest.raises(LogCorrupt, match="checkpoint of size 6 does not hold"):
        Log.open(RealDisk(), tmp_path, checkpoint=CHECKPOINT)


def test_a_failed_write_is_final(tmp_path):
    disk = FullDisk()
    log = Log.open(disk, tmp_path)
    log.append([created()], 1)
    disk.full = True
    with pytest.raises(StorageFailed, match="No space left"):
        log.append([event(1)], 2)
    disk.full = False
    with pytest.raises(StorageFailed, match="No space left"):
        log.append([event(2)], 3)
    assert log.size == 1
    assert Log.open(RealDisk(), tmp_path).size == 1


def test_golden_checkpoint_both_ways():
    case = golden.FORMATS["checkpoint"]
    assert checkpoints.sign(CHECKPOINT, NODE) == NOTE
    assert checkpoints.origin(NODE.public) == case["origin"]
    assert checkpoints.file_name(CHECKPOINT.size) == case["file"]
    assert CHECKPOINT.root.hex() == LOG["frames"][2]["root_hex"]


@pytest.mark.parametrize("case", golden.FORMATS["checkpoint"]["refused_notes"], ids=lambda case: case["why"])
def test_malformed_notes_are_refused(case):
    note = case["note"] if "note" in case else NOTE.decode().replace(*case["replace_all"])
    with pytest.raises(LogCorrupt):
        checkpoints.parse(note.encode(), NODE.public)


def test_a_checkpoint_is_never_rewritten(tmp_path):
    path = tmp_path / checkpoints.file_name(6)
    before = checkpoints.write(RealDisk(), tmp_path, Checkpoint(6, bytes(32)), NODE)
    assert path.read_bytes() == before
    checkpoints.write(RealDisk(), tmp_path, CHECKPOINT, NODE)
    assert path.read_bytes() == before
    assert checkpoints.largest(RealDisk(), tmp_path, NODE.public) == Checkpoint(6, bytes(32))


READER = """
import sys
from pathlib import Path
from engram.events import Log
from engram.runtime import RealDisk

log = Log.open(RealDisk(), Path(sys.argv[1]), segment_bytes=8192)
event = lambda size: b"\\x82\\xa4type\\xa3a.1\\xa1n\\xc5" + (size - 15).to_bytes(2) + bytes(size - 15)
log.append([b"\\x81\\xa4type\\xadlog_created.1"], 1)
log.append([event(4096 - 88 - 64 - 4)], 2)
reading = log.read(0)
next(reading)
assert log._writer.end == 4096
log.append([event(5000)], 3)
assert (Path(sys.argv[1]) / f"{0:020}.log").stat().st_size == 4096
print(len(list(reading)))
"""


def test_reading_survives_a_rotation_that_cuts_the_segment_under_it(tmp_path):
    """A map of a file that became shorter ends the process where it is touched behind the end: SIGBUS."""
    done = subprocess.run([sys.executable, "-c", READER, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


@pytest.mark.parametrize("frame", [b"", b"EGL1", bytes(63), SEGMENT[:100], SEGMENT[:8] + b"\xff" * 4 + SEGMENT[12:]])
def test_the_events_of_what_is_no_frame_are_refused(frame):
    with pytest.raises(ValueError, match="do not add up"):
        _core.frame_events(frame)


def test_no_frame_follows_the_end_of_time():
    """It wrapped around to time 0: a frame that was answered for, and that opening then refused as damage."""
    state = _core.LogState(time_unix_ns=2**64 - 1)
    with pytest.raises(ValueError, match="no time is after"):
        state.encode(1, [created()])
