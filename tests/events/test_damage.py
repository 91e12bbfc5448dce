"""Every small change of a small log, judged by the reading of another author: found, named, and nothing invented."""

from __future__ import annotations

import functools
import itertools
import shutil

import auditor
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram import events
from engram.errors import LogCorrupt
from engram.events import Checkpoint, Log, LogCreated, RecordStored, segment_name
from engram.native import _core
from engram.runtime import RealDisk

SEGMENT_BYTES = 1024
SOUND, TORN, DAMAGED = 0, 1, 2


def stored(number: int) -> bytes:
    cid = f"v1::{number:064x}"
    event = RecordStored(ns=bytes(32), cid=cid, payload=bytes([number]) * 32, signer=bytes(32), issued_unix_ms=number)
    return events.encode(event)


def small(number: int) -> bytes:
    return msgspec.msgpack.encode({"type": "example.1", "n": number})


WRITTEN = [
    [events.encode(LogCreated(format=1, node_key=bytes(range(32))))],
    [stored(1), small(2)],
    [small(3), small(4), small(5)],
    [stored(6)],
    [small(7)],
    [small(8), stored(9)],
]
EVENTS = [event for frame in WRITTEN for event in frame]


def write(folder, frames=WRITTEN, segment_bytes=SEGMENT_BYTES):
    """A log whose last segment ends where its data do, with the state before it and its files."""
    log = Log.open(RealDisk(), folder, segment_bytes=segment_bytes)
    for time, frame in enumerate(frames, 1):
        log.append(frame, time)
    log._writer._file.truncate(log._writer.end)
    log.close()
    return log, {path.name: path.read_bytes() for path in sorted(folder.glob("*.log"))}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp("log"))


def frames_of(data: bytes) -> list[tuple[int, int]]:
    """Where frames start and end, by their lengths alone."""
    at, found = 0, []
    while at + 12 <= len(data) and data[at : at + 4] == b"EGL1":
        end = at + 64 + (int.from_bytes(data[at + 8 : at + 12], "little") + 7) // 8 * 8
        found.append((at, end))
        at = end
    return found


def verdict(files, checkpoint=None):
    found = events.judge(files, checkpoint)
    return (found.status, found.segment, found.offset) if found.status else (SOUND, "", 0), found


def assert_agreed(files, *, covered=0, root=bytes(32)):
    """The native verdict is the oracle's; what was read before the damage are whole frames."""
    checkpoint = Checkpoint(covered, root) if covered else None
    ours, found = verdict(files, checkpoint)
    theirs = auditor.judge_log(files, covered)
    if found.status == 3:  # the checkpoint's root, which the oracle is not asked about
        assert theirs[0] < DAMAGED
        return found
    assert ours == theirs, found.reason
    return found


def flips(files):
    for name, data in files.items():
        for bit in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            yield name, bit // 8, {**files, name: bytes(flipped)}


def frame_at(data, at):
    return next(start for start, end in frames_of(data) if start <= at < end)


def test_every_single_bit_flip_of_every_segment_is_found_and_named(written):
    _, files = written
    assert len(files) == 2
    last = max(files)
    checked = 0
    for name, at, flipped in flips(files):
        found = assert_agreed(flipped)
        frame = frame_at(files[name], at)
        assert (found.segment, found.offset) == (name, frame)
        assert found.status == DAMAGED or (
            name == last and at - frame in range(8, 12)
        )  # a length beyond the file's end
        committed = assert_agreed(flipped, covered=len(EVENTS))
        assert (committed.status, committed.segment, committed.offset) == (DAMAGED, name, frame)
        checked += 1
    assert checked == 8 * sum(map(len, files.values()))


def test_every_single_bit_flip_refuses_to_open_or_is_set_aside_as_torn(written, tmp_path):
    """And what then is given are the events that were written, to the last one before the change."""
    log, files = written
    first, last = sorted(files)
    for name, at, flipped in flips(files):
        if at % 3 and name == first:
            continue  # each of its bytes is looked at above; opening reads it by the same call
        folder = tmp_path / "log"
        folder.mkdir()
        for each, data in flipped.items():
            (folder / each).write_bytes(data)
        frame = frame_at(files[name], at)
        with pytest.raises(LogCorrupt, match=f"{name}, offset {frame}: "):
            Log.open(RealDisk(), folder, durable=len(EVENTS), segment_bytes=SEGMENT_BYTES)
        if events.judge(flipped, None).status == DAMAGED:
            with pytest.raises(LogCorrupt, match=f"{name}, offset {frame}: "):
                Log.open(RealDisk(), folder, segment_bytes=SEGMENT_BYTES)
        else:
            assert name == last
            opened = Log.open(RealDisk(), folder, segment_bytes=SEGMENT_BYTES)
            assert (folder / f"{name}.torn-{frame}").read_bytes() == flipped[name][frame:].rstrip(b"\0")
            assert [event for _, event in opened.read()] == EVENTS[: opened.size]
            assert opened.size < log.size
            opened.close()
        shutil.rmtree(folder)


def test_a_flip_in_a_segment_that_opening_trusts_is_found_by_reading(written, tmp_path):
    log, files = written
    name = min(files)
    for each, data in files.items():
        (tmp_path / each).write_bytes(data)
    opened = Log.open(RealDisk(), tmp_path, trusted=log.segment_start, durable=len(EVENTS), segment_bytes=SEGMENT_BYTES)
    with (tmp_path / name).open("r+b", buffering=0) as file:
        for at, bit in itertools.product(range(len(files[name])), range(8)):
            file.seek(at)
            file.write(bytes([files[name][at] ^ 1 << bit]))
            frame = frame_at(files[name], at)
            given, said = read_until_damage(opened)
            assert f"{name}, offset {frame}: " in said
            assert given == EVENTS[: len(given)]
            file.seek(at)
            file.write(files[name][at : at + 1])
    opened.close()


def read_until_damage(log):
    given = []
    try:
        for _, event in log.read():
            given.append(event)
    except LogCorrupt as error:
        return given, str(error)
    return given, ""


def others():
    """Changes that are no flip of one bit: (name, change of the files)."""

    def cut(files, name, size):
        return {**files, name: files[name][:size]}

    def blank(files, name, block, base):
        data = bytearray(files[name])
        at = max(0, block * 512 + base)
        end = min(block * 512 + base + 512, len(data))
        data[at:end] = bytes(max(0, end - at))
        return {**files, name: bytes(data)}

    def frames(files, name, order):
        spans = frames_of(files[name])
        picked = [spans[index] for index in order]
        return {**files, name: b"".join(files[name][start:end] for start, end in picked)}

    for which in (0, 1):
        for size in range(SEGMENT_BYTES):
            yield f"cut {which} to {size}", functools.partial(cut, size=size), which
        for block in range(3):
            yield f"blank {which} at {block}", functools.partial(blank, block=block, base=0), which
        for order in itertools.product(range(3), repeat=3):
            yield f"frames {which} {order}", functools.partial(frames, order=order), which


def test_every_cut_and_lost_block_and_moved_frame_is_judged_as_the_oracle_judges(written):
    log, files = written
    padded = {**files, max(files): files[max(files)] + bytes(2000)}
    for form in (files, padded):
        for name, change, which in others():
            target = sorted(form)[which]
            if name.startswith("frames") and len(frames_of(form[target])) < 3:
                continue
            changed = change(form, target)
            found = assert_agreed(changed)
            assert found.events <= log.size, name
            if changed != form and changed[target].rstrip(b"\0") != form[target].rstrip(b"\0"):
                covered = assert_agreed(changed, covered=log.size, root=log.root)
                assert covered.status >= DAMAGED, name


@pytest.mark.parametrize("zeros", [1, 8, 64, 512, 4096])
def test_only_the_last_segment_may_end_in_zeros(written, zeros):
    _, files = written
    for name in files:
        found = assert_agreed({**files, name: files[name] + bytes(zeros)})
        expected = (SOUND, max(files)) if name == max(files) else (DAMAGED, name)
        assert (found.status, found.segment) == expected
        assert found.offset == len(files[found.segment])


def test_a_frame_of_another_log_is_damage(written, tmp_path):
    _, files = written
    others_frames = [[events.encode(LogCreated(format=1, node_key=bytes(32)))], *WRITTEN[1:]]
    _, theirs = write(tmp_path / "theirs", others_frames)
    for name in files:
        for index, (start, end) in enumerate(frames_of(files[name])):
            mixed = {**files, name: files[name][:start] + theirs[name][start:end] + files[name][end:]}
            found = assert_agreed(mixed)
            first = name == min(files) and index == 0
            # Of the first frame the hash is its own: the one after it tells.
            expected = frames_of(files[name])[1][0] if first else start
            assert (found.status, found.segment, found.offset) == (DAMAGED, name, expected)


def test_a_segment_that_is_gone_is_missed(written, tmp_path):
    log, files = written
    for name in files:
        rest = {each: data for each, data in files.items() if each != name}
        folder = tmp_path / name
        folder.mkdir()
        for each, data in rest.items():
            (folder / each).write_bytes(data)
        for trusted in (None, log.segment_start):
            with pytest.raises(LogCorrupt, match=name if name == min(files) else "committed"):
                Log.open(RealDisk(), folder, trusted=trusted, durable=log.size)


def test_a_segment_that_goes_while_the_log_is_open_is_missed_by_reading(written, tmp_path):
    log, files = written
    for each, data in files.items():
        (tmp_path / each).write_bytes(data)
    opened = Log.open(RealDisk(), tmp_path, trusted=log.segment_start, segment_bytes=SEGMENT_BYTES)
    (tmp_path / min(files)).unlink()
    with pytest.raises(LogCorrupt):
        list(opened.read())
    opened.close()


def test_a_log_without_its_last_frame_is_shorter_than_what_was_committed(written, tmp_path):
    """It was opened, and the state that knew more folded again: a write that was answered for had silently gone."""
    log, files = written
    last = max(files)
    start, end = frames_of(files[last])[-1]
    lost = {**files, last: files[last][:start] + bytes(end - start)}
    for each, data in lost.items():
        (tmp_path / each).write_bytes(data)
    with pytest.raises(LogCorrupt, match=f"{last}, offset {start}: the log ends before event 8, and 10 events were"):
        Log.open(RealDisk(), tmp_path, durable=log.size, trusted=log.segment_start, segment_bytes=SEGMENT_BYTES)
    with pytest.raises(LogCorrupt, match="before event 8"):
        Log.open(RealDisk(), tmp_path, durable=log.size, segment_bytes=SEGMENT_BYTES)


def test_nothing_is_trustworthy_before_the_first_frame(written, tmp_path):
    _, files = written
    (tmp_path / min(files)).write_bytes(b"EGL1" + b"x" * 500)
    with pytest.raises(LogCorrupt, match=r"offset 0: .*\. Nothing of the log is trustworthy"):
        Log.open(RealDisk(), tmp_path)


# -- logs of any shape ------------------------------------------------------------------------------------------------

ANY_EVENT = st.builds(
    lambda kind, fields: msgspec.msgpack.encode({"type": kind, **fields}),
    st.sampled_from(["record_stored.1", "example.1", "x"]),
    st.dictionaries(
        st.text(max_size=4).filter(lambda key: key != "type"),
        st.integers(0, 2**64 - 1) | st.binary(max_size=600) | st.none() | st.lists(st.booleans(), max_size=3),
        max_size=3,
    ),
)
CREATED = WRITTEN[0][0]
MUTATIONS = st.one_of(
    st.tuples(st.just("flip"), st.integers(0), st.integers(0, 7)),
    st.tuples(st.just("zero"), st.integers(0), st.integers(1, 1024)),
    st.tuples(st.just("cut"), st.integers(0), st.just(0)),
    st.tuples(st.just("insert"), st.integers(0), st.sampled_from([8, 64, 512])),
    st.tuples(st.just("set"), st.integers(0), st.integers(0, 255)),
)


def mutated(data: bytes, kind: str, where: int, what: int) -> bytes:
    if not data:
        return data
    out, at = bytearray(data), where % len(data)
    match kind:
        case "flip":
            out[at] ^= 1 << what
        case "zero":
            end = min(len(out), at + what)
            out[at:end] = bytes(end - at)
        case "cut":
            del out[at:]
        case "insert":
            out[at // 8 * 8 : at // 8 * 8] = bytes(what)
        case "set":
            out[at] = what
    return bytes(out)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(ANY_EVENT, min_size=1, max_size=4), max_size=8),
    st.lists(st.tuples(st.integers(0, 3), MUTATIONS), max_size=3),
    st.integers(0, 12),
    st.integers(1, 4),
)
def test_any_log_with_any_damage_is_judged_as_the_oracle_judges(frames, mutations, covered, per_segment):
    state, files, roots = _core.LogState(), {}, {}
    for index, batch in enumerate([[CREATED], *frames]):
        if index % per_segment == 0:
            name = segment_name(state.size)
            files[name] = b""
        files[name] += state.encode(index, batch)
        roots[state.size] = state.root
    files[name] += bytes(700)
    assert verdict(files)[0] == (SOUND, "", 0) == auditor.judge_log(files)
    for which, mutation in mutations:
        target = sorted(files)[which % len(files)]
        files[target] = mutated(files[target], *mutation)
    assert_agreed(files, covered=covered, root=roots.get(covered, bytes(32)))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | ANY_EVENT, st.lists(MUTATIONS, max_size=2))
def test_an_event_of_any_form_is_taken_or_refused_as_the_oracle_does(event, mutations):
    """In a frame whose CRC, count and root are right."""
    for mutation in mutations:
        event = mutated(event, *mutation)
    files = {segment_name(0): framed(CREATED, 0, []) + framed(event, 1, [CREATED])}
    assert_agreed(files)
    assert_agreed({segment_name(0): framed(event, 0, [])})


def framed(event: bytes, position: int, before: list[bytes]) -> bytes:
    import hashlib

    leaves = [hashlib.sha256(b"\0" + each).digest() for each in (*before, event)]
    root = leaves[0] if len(leaves) == 1 else hashlib.sha256(b"\1" + leaves[0] + leaves[1]).digest()
    body = len(event).to_bytes(4, "little") + event
    head = (len(body), 4), (1, 4), (position, 8), (position + 1, 8)
    rest = b"".join(value.to_bytes(size, "little") for value, size in head) + root + body
    data = b"EGL1" + auditor._framing.crc32c(rest).to_bytes(4, "little") + rest
    return data + bytes(-len(data) % 8)
