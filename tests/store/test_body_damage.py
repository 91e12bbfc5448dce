"""Every small change of small body segments, judged by the reading of another author: found, named, nothing invented."""

from __future__ import annotations

import hashlib
import itertools

import auditor
import pytest
from events.test_damage import MUTATIONS, mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from engram import record
from engram.errors import BodiesCorrupt
from engram.events import SEGMENT_BYTES
from engram.native import _core
from engram.runtime import RealDisk
from engram.store._bodies import Bodies
from engram.store._frames import ERASED, PATCH, RECORD, segment_name

SOUND, TORN, DAMAGED = 0, 1, 2


def a_record(text: str, dim: int = 2) -> tuple[int, bytes, bytes]:
    vector = record.stored_vector([1.0, *[0.5] * (dim - 1)])
    return RECORD, *record.encode_text(text, vector, record.canonical_metadata({"n": 1}), "v1")


def a_patch(number: int) -> tuple[int, bytes, bytes]:
    data = b'{"n":%d}' % number
    return PATCH, hashlib.sha256(data).digest(), data


def erased(body):
    _, body_id, data = body
    return bytearray(_core.encode_body(ERASED, body_id, bytes(len(data))))


BODIES = [a_record("one"), a_patch(2), a_record("three " * 90), a_patch(4), a_record("five")]
FRAMES = [_core.encode_body(*body) for body in BODIES]
FILES = {
    segment_name(0): b"".join(FRAMES[:2]),
    segment_name(1): b"".join(FRAMES[2:3]) + bytes(erased(a_patch(6))) + b"".join(FRAMES[3:]),
}
IDS = {body_id for _, body_id, _ in BODIES} | {a_patch(6)[1]}
LAST = max(FILES)


def judge(files, named):
    """The native verdict over a folder: (status, file, offset), the frames before it, and whether to erase again."""
    held, frames, again = set(), [], []
    for name in sorted(files):
        found, more, (status, offset, _) = _core.scan_bodies(files[name], 0, named, name == max(files), True, held)
        frames += [(name, *frame) for frame in found]
        again += more
        held |= {frame[4] for frame in found}
        erasure_alone = status == TORN and more and not files[name][offset:].strip(b"\0")
        if status and not erasure_alone:
            return (status, name, offset), frames, again
    return (TORN if again else SOUND, "", 0), frames, again


def assert_agreed(files, named):
    ours, frames, again = judge(files, named)
    theirs = auditor.judge_bodies(files, named)
    if again:  # there the two name different places: the frame to erase, and where the sound ones end
        assert ours[0] == theirs[0]
    else:
        assert ours == theirs
    return ours, frames


def start_of(name, at):
    spans = [frame[1] for frame in judge({name: FILES[name]}, None)[1]]
    return max(start for start in spans if start <= at)


def written(files=FILES):
    return [(frame[4], frame[5]) for frame in judge(files, IDS)[1]]


def test_every_single_bit_flip_of_every_segment_is_found_and_named():
    whole = written()
    for name, data in FILES.items():
        for bit in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            files = {**FILES, name: bytes(flipped)}
            (status, file, offset), frames = assert_agreed(files, IDS)
            if status == TORN and not file:  # a bit in an erased body: it is overwritten again
                assert (name, start_of(name, bit // 8)) == (LAST, len(FRAMES[2]))
                continue
            assert (file, offset) == (name, start_of(name, bit // 8))
            if (
                status == TORN
            ):  # it looks unwritten and no event names this: a bit of the id, of a frame with a zero block
                assert name == LAST
                assert bit // 8 - offset in range(8, 48)
            given = [(kind, body_id) for _, _, _, _, kind, body_id in frames]
            assert given == whole[: len(given)]


def test_every_single_bit_flip_refuses_to_open_what_the_tables_know(tmp_path):
    known_to = SEGMENT_BYTES + len(FILES[LAST])
    folder = tmp_path / "bodies"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    for name, data in FILES.items():
        for bit in range(0, len(data) * 8, 7):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(flipped)
            at = start_of(name, bit // 8)
            to = known_to if name == LAST else 0
            if (name, at) == (LAST, len(FRAMES[2])) and bit // 8 >= at + 64 and bit // 8 < at + 64 + 7:
                bodies, _ = Bodies.open(RealDisk(), folder, known_to=to, named=lambda: IDS)
                bodies.close()
                assert (folder / name).read_bytes() == data  # erased again
                continue
            with pytest.raises(BodiesCorrupt, match=f"{name}, offset {at}: "):
                Bodies.open(RealDisk(), folder, known_to=to, named=lambda: IDS)
            assert (folder / name).read_bytes() == flipped
        (folder / name).write_bytes(data)


def test_every_cut_and_lost_block_and_moved_frame_is_judged_as_the_oracle_judges():
    for name, named in itertools.product(FILES, (IDS, set(), None)):
        data = FILES[name]
        spans = [frame[1:3] for frame in judge({name: data}, None)[1]]
        variants = [data[:size] for size in range(len(data))]
        for block in range(0, len(data), 64):
            variants.append(data[:block] + bytes(512) + data[block + 512 :])
            variants.append(data[:block] + bytes(64) + data[block + 64 :])
        variants += [
            b"".join(data[start : start + size] for start, size in picked)
            for count in range(4)
            for picked in itertools.product(spans, repeat=count)
        ]
        for variant in variants:
            for tail in (b"", bytes(700)):
                assert_agreed({**FILES, name: variant + tail}, named)


def test_a_segment_before_the_last_that_holds_nothing_is_damage():
    assert assert_agreed({**FILES, segment_name(0): b""}, IDS)[0] == (DAMAGED, segment_name(0), 0)
    assert assert_agreed({**FILES, segment_name(2): b""}, IDS)[0] == (SOUND, "", 0)


@pytest.mark.parametrize("zeros", [1, 64, 512, 4096])
def test_only_the_last_segment_may_end_in_zeros(zeros):
    first = segment_name(0)
    longer = {**FILES, first: FILES[first] + bytes(zeros)}
    assert assert_agreed(longer, IDS)[0] == (DAMAGED, first, len(FILES[first]))


def test_a_segment_of_more_than_64_mib_is_damage():
    data = FRAMES[0] + bytes(SEGMENT_BYTES + 64 - len(FRAMES[0]))
    assert assert_agreed({LAST: data}, IDS)[0] == (DAMAGED, LAST, SEGMENT_BYTES)
    assert assert_agreed({LAST: data[:-64]}, IDS)[0] == (SOUND, "", 0)


# -- what users choose ------------------------------------------------------------------------------------------------


def torn_with(inner: bytes) -> bytes:
    """A record whose text holds `inner` at a multiple of 64, and a block of which was never written."""
    _, body_id, data = a_record("x" * 2000)
    start = 64 + data.index(b"x" * 100)
    frame = bytearray(_core.encode_body(RECORD, body_id, data))
    at = -(-start // 64) * 64
    frame[at : at + len(inner)] = inner
    frame[1024:2048] = bytes(1024)
    return bytes(frame)


@pytest.mark.parametrize("held_by", ["the same segment", "an earlier segment"])
def test_a_frame_forged_inside_a_body_does_not_make_damage_of_a_torn_tail(tmp_path, held_by):
    """Of an id that an event names and an earlier frame holds: whoever puts that text and sees a crash must not win.

    The frames of earlier segments were not looked at, and the node refused to start.
    """
    before, torn = FRAMES[0], torn_with(FRAMES[0])
    files = {segment_name(0): before + torn}
    if held_by == "an earlier segment":
        files = {segment_name(0): before, segment_name(1): torn}
    named = {BODIES[0][1]}
    last = max(files)
    assert assert_agreed(files, named)[0] == (TORN, last, len(files[last]) - len(torn))
    assert assert_agreed(files, {*named, a_record("x" * 2000)[1]})[0][0] == DAMAGED
    assert assert_agreed({last: torn}, named)[0][0] == DAMAGED
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for known_to, held in ((0, set), (SEGMENT_BYTES if len(files) > 1 else len(before), lambda: named)):
        bodies, _ = Bodies.open(RealDisk(), tmp_path, known_to=known_to, named=lambda: named, held=held)
        bodies.close()
        (tmp_path / last).write_bytes(files[last])


def test_a_body_full_of_headers_does_not_have_the_crc_of_each_taken():
    """65,536 of them, each of a mebibyte: it took a minute to start."""
    header = b"EGB1\0\0\0\0" + (1 << 20).to_bytes(4, "little") + bytes(4) + bytes(range(32)) + bytes(16)
    data = header + bytes(1024) + header * (1 << 20)
    data = data[:SEGMENT_BYTES]
    frames, _, (status, offset, _) = _core.scan_bodies(data, 0, IDS, True, True)
    assert (frames, status, offset) == ([], TORN, 0)


# -- folders of any shape ---------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 3), MUTATIONS), max_size=3),
    st.sampled_from([IDS, set(), None]),
    st.sampled_from([0, 100, 700]),
)
def test_any_folder_with_any_damage_is_judged_as_the_oracle_judges(segments, mutations, named, zeros):
    frames = [*FRAMES, bytes(erased(a_patch(6))), bytes(erased(a_record("seven " * 200))), *FRAMES[:3]]
    files = {segment_name(n): b"".join(frames[index] for index in segment) for n, segment in enumerate(segments)}
    files[max(files)] += bytes(zeros)
    for which, mutation in mutations:
        target = sorted(files)[which % len(files)]
        files[target] = mutated(files[target], *mutation)
    assert_agreed(files, named)
