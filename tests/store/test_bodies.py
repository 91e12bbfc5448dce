from __future__ import annotations

import hashlib
from pathlib import Path

import golden
import pytest

from engram.errors import BodiesCorrupt
from engram.native import _core
from engram.runtime import RealDisk
from engram.store._bodies import Bodies
from engram.store._fold import wins
from engram.store._frames import PATCH, segment_name
from engram.testing import SimDisk

GOLDEN = golden.FORMATS["bodies"]
SEGMENT = bytes.fromhex(GOLDEN["segment_hex"])
IDS = [bytes.fromhex(frame["id_hex"]) for frame in GOLDEN["frames"]]


def judged(data, *, named=None, last=True):
    frames, again, (status, offset, _) = _core.scan_bodies(data, 0, named, last, True)
    return frames, {"frames": len(frames), "status": status, "offset": offset, "erase_again_at": again}


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_golden_segments_are_judged_as_written(case):
    named = {IDS[index] for index in case["named_frames"]} if "named_frames" in case else None
    _, found = judged(golden.edited(SEGMENT, case), named=named, last=not case.get("a_segment_follows", False))
    assert {name: found[name] for name in case["expect"]} == case["expect"]


@pytest.mark.parametrize("case", GOLDEN["good_crc_but_wrong"], ids=lambda case: case["why"])
def test_bodies_that_are_not_what_their_id_says_are_damage(case):
    _, found = judged(bytes.fromhex(case["frame_hex"]))
    assert {name: found[name] for name in case["expect"]} == case["expect"]


def test_encoding_the_golden_bodies_gives_the_golden_bytes():
    frames, _ = judged(SEGMENT)
    assert [(offset, size, kind, body_id) for offset, size, _, kind, body_id in frames] == [
        (frame["offset"], frame["bytes"], frame["kind"], bytes.fromhex(frame["id_hex"])) for frame in GOLDEN["frames"]
    ]
    out = b""
    for offset, _, length, kind, body_id in frames:
        out += _core.encode_body(kind, body_id, SEGMENT[offset + 64 : offset + 64 + length])
    assert out == SEGMENT


def test_a_forged_frame_inside_a_body_would_have_a_right_crc():
    """What the cases about it rely on: only its place makes it no frame."""
    at = GOLDEN["forged_frame_in_the_last"]
    length = int.from_bytes(SEGMENT[at + 8 : at + 12], "little")
    assert SEGMENT[at : at + 4] == b"EGB1"
    assert int.from_bytes(SEGMENT[at + 4 : at + 8], "little") == _core.crc32c_of(SEGMENT[at + 8 : at + 64 + length])


def test_every_single_bit_flip_of_a_segment_is_found():
    for bit in range(len(SEGMENT) * 8):
        flipped = bytearray(SEGMENT)
        flipped[bit // 8] ^= 1 << bit % 8
        _, found = judged(bytes(flipped), named=set(IDS))
        start = max(frame["offset"] for frame in GOLDEN["frames"] if frame["offset"] <= bit // 8)
        assert (found["status"], found["offset"]) == (2, start), bit


def patch(number: int) -> bytes:
    return b'{"n":%d}' % number


def test_bodies_are_read_again_over_rotations(tmp_path):
    bodies, found = Bodies.open(RealDisk(), tmp_path, known_to=0, named=set, segment_bytes=1024)
    assert found == []
    written = {}
    for group in range(6):
        for number in range(group * 5, group * 5 + 5):
            body_id = hashlib.sha256(patch(number)).digest()
            written[body_id] = (bodies.stage(PATCH, body_id, patch(number)), patch(number))
        bodies.flush()
        assert all(bytes(bodies.read(location)) == data for location, data in written.values())
    assert len(list(tmp_path.glob("*.seg"))) == 4  # 8 frames of 128 bytes fit one
    tail = bodies.tail
    bodies.close()
    for known_to in (0, 64, tail):
        again, found = Bodies.open(RealDisk(), tmp_path, known_to=known_to, named=set, segment_bytes=1024)
        assert {body.id: body.location for body in found} == {
            body_id: location for body_id, (location, _) in written.items() if location >= known_to
        }
        assert again.tail == tail
        assert all(bytes(again.read(location)) == data for location, data in written.values())
        again.close()


def test_a_body_is_sound_as_soon_as_it_is_durable_wherever_the_map_of_before_ends(tmp_path):
    bodies, _ = Bodies.open(RealDisk(), tmp_path, known_to=0, named=set)
    for number in range(1000):
        body, body_id = b"%d" % number * 1000, hashlib.sha256(b"%d" % number).digest()
        location = bodies.stage(PATCH, body_id, body)
        bodies.flush()
        assert bodies.proved(location, body_id) == body
    bodies.close()


def test_what_is_discarded_leaves_no_gap(tmp_path):
    bodies, _ = Bodies.open(RealDisk(), tmp_path, known_to=0, named=set, segment_bytes=512)
    first = bodies.stage(PATCH, hashlib.sha256(patch(1)).digest(), patch(1))
    bodies.flush()
    for number in range(2, 12):
        bodies.stage(PATCH, hashlib.sha256(patch(number)).digest(), patch(number))
    bodies.discard()
    second = bodies.stage(PATCH, hashlib.sha256(patch(2)).digest(), patch(2))
    bodies.flush()
    assert (first, second) == (0, 128)
    assert bytes(bodies.read(second)) == patch(2)


def test_an_unfinished_erasure_is_finished_at_the_next_start(tmp_path):
    case = next(case for case in GOLDEN["cases"] if case["name"] == "erasing stopped in the middle")
    path = tmp_path / segment_name(0)
    path.write_bytes(golden.edited(SEGMENT, case))
    bodies, found = Bodies.open(RealDisk(), tmp_path, known_to=0, named=lambda: set(IDS))
    assert [body.kind for body in found] == [2, 1, 0]
    bodies.close()
    erased = next(case for case in GOLDEN["cases"] if case["name"] == "erased")
    assert path.read_bytes() == golden.edited(SEGMENT, erased)


def test_damage_in_an_earlier_segment_refuses_to_open(tmp_path):
    (tmp_path / segment_name(0)).write_bytes(SEGMENT[:520])
    (tmp_path / segment_name(1)).write_bytes(SEGMENT)
    with pytest.raises(BodiesCorrupt, match=r"0\.seg, offset 320"):
        Bodies.open(RealDisk(), tmp_path, known_to=0, named=set)


@pytest.mark.parametrize("pair", golden.FORMATS["names"]["who_wins"]["pairs"], ids=str)
def test_the_later_operation_wins_then_the_delete_then_the_higher_cid(pair):
    (issued, first, delete), (other_issued, other, other_delete) = pair
    a, b = bytes([first]) * 32, bytes([other]) * 32
    assert wins(issued, a, other_issued, b, delete=delete, other=other_delete)
    assert not wins(other_issued, b, issued, a, delete=other_delete, other=delete)


def test_a_segment_that_lost_its_end_behind_its_map_is_asked_without_it():
    """Touching a map behind its file's end ends the process by a signal; here the map would say zeros."""
    disk, folder = SimDisk(), Path("/data/bodies")
    bodies, _ = Bodies.open(disk, folder, known_to=0, named=set)
    patches = [b'{"name":"%d"}' % number for number in range(9)]
    locations = [bodies.stage(PATCH, hashlib.sha256(patch).digest(), patch) for patch in patches]
    bodies.flush()
    assert bytes(bodies.read(locations[-1])) == patches[-1]
    assert bodies.id_at(locations[-1]) == hashlib.sha256(patches[-1]).digest()
    file = disk.open(folder / segment_name(0))
    file.truncate(locations[-1])
    file.close()
    assert bodies.id_at(locations[-1]) is None
    assert bodies.id_at(locations[-2]) == hashlib.sha256(patches[-2]).digest()
