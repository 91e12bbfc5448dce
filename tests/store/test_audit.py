"""The audit of a data folder: what is sound is called so, and every kind of damage is told with its file and offset."""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

import golden
import msgspec
import pytest
import rich_folder
from rich_folder import FIRST, NOW, changed, flip, forge, look, place_of

from engram.errors import EngramError, FolderRefused
from engram.events import Checkpoint, Log, LogTree, checkpoints
from engram.identity import Hotkey, NodeKey, put_message, set_key_message, tombstone_message
from engram.native import _core
from engram.runtime import ReadOnlyDisk, RealDisk
from engram.store import AuditOrder, Claim, GivenCheckpoint, audit

sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # where a script finds what it imports when it is run
independent = importlib.import_module("audit")

MANY, ONE = rich_folder.SEGMENT_BYTES, 64 << 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder in segments of 4 KiB, and in one segment of each kind."""
    at = tmp_path_factory.mktemp("rich")
    return {size: rich_folder.make(at / str(size), size) for size in (MANY, ONE)}


@pytest.fixture
def folder(made, tmp_path):
    """The folder in many segments."""
    return Path(shutil.copytree(made[MANY], tmp_path / "data"))


@pytest.fixture
def whole(made, tmp_path):
    """The folder in one segment, which a forger can write anew; without projections, which would tell on it."""
    return Path(shutil.copytree(made[ONE], tmp_path / "data", ignore=shutil.ignore_patterns("state.db*", "trie")))


def found(report):
    return [(finding.part, finding.file, finding.offset) for finding in report.findings]


def reasons(report):
    return " | ".join(finding.reason for finding in report.findings)


def counts(report):
    return {part.name: (part.sound, part.checked) for part in report.parts}


# -- sound folders ----------------------------------------------------------------------------------------------------


def test_a_sound_folder_is_sound_in_every_part(folder):
    report = look(folder)
    assert (report.status, report.findings) == ("sound", [])
    checked = counts(report)
    assert all(sound == of for sound, of in checked.values())
    assert checked["log"] == checked["events"] == (report.events, report.events)
    assert checked["checkpoints"] == checked["commitments"] == (2, 2)
    assert (checked["tables"], checked["bodies"][0]) == ((1, 1), 17)
    assert report.checkpoint == report.events
    assert len(list((folder / "events").iterdir())) > 1 < len(list((folder / "bodies").iterdir()))


@pytest.mark.parametrize("name", ["folder", "folder_v1_draft"])
def test_the_golden_folders_are_sound_and_told_as_what_they_are(name):
    report = look(golden.DATA / name)
    assert (report.status, report.checkpoint) == ("sound", 12)
    notes = {part.name: part.note for part in report.parts}
    assert ("of the model v1-draft" in notes["events"]) == (name == "folder_v1_draft")


def state_of(path):
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, file.stat().st_ino, file.read_bytes())
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def test_nothing_in_the_folder_is_changed(folder):
    before = state_of(folder)
    folders = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir()) if path.is_dir()}
    look(folder)
    assert state_of(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folders} == folders


def test_a_copy_without_keys_and_tables_is_judged_by_the_key_that_the_log_names(folder):
    shutil.rmtree(folder / "keys")
    (folder / "state.db").unlink()
    report = look(folder)
    assert (report.status, report.node_key) == ("sound", NodeKey(bytes(range(32))).address)
    assert "next start folds them" in next(part.note for part in report.parts if part.name == "tables")


@pytest.mark.parametrize("seed", [bytes(32), b"short", bytes(33)])
def test_another_node_key_than_the_logs_is_told(folder, seed):
    (folder / "keys" / "node.key").write_bytes(seed)
    assert found(look(folder)) == [("format", "keys/node.key", 0)]


def test_the_key_may_be_pinned(folder):
    key = NodeKey(bytes(range(32))).public
    assert look(folder, node_key=key).status == "sound"
    report = look(folder, node_key=bytes(32))
    assert found(report)[0][0] == "log"
    assert "the log is of" in reasons(report)


# -- single bits ------------------------------------------------------------------------------------------------------


def places(path, count, seed):
    """Choose (file, offset, bit) of what means something: of log, bodies, checkpoints, FORMAT and key."""
    chosen = []
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        if file.is_file() and not name.startswith(("state.db", "pid")):
            end = len(b'{"format": 1, "writer": "') if name == "FORMAT" else len(file.read_bytes().rstrip(b"\0"))
            chosen += [(name, offset) for offset in range(end)]
    rng = random.Random(seed)
    return [(*rng.choice(chosen), rng.randrange(8)) for _ in range(count)]


def test_any_single_bit_is_told_in_its_file_and_as_the_independent_auditor_tells_it(folder):
    untold = []
    for name, offset, bit in places(folder, 150, seed=3):
        flip(folder / name, offset, bit)
        report, other = look_or_refuse(folder), independent.audit(folder).status
        flip(folder / name, offset, bit)
        if report is None:  # FORMAT of a newer build
            continue
        place = [finding for finding in report.findings if finding.file == name]
        at = [finding.offset for finding in place if finding.offset is not None]
        if not place or (at and min(at) > offset) or (other == "sound" and not name.startswith("trie")):
            untold.append((name, offset, bit, report.findings, other))
    assert not untold
    assert look(folder).status == "sound"


def look_or_refuse(path):
    try:
        return look(path)
    except FolderRefused:
        return None


def test_an_index_of_the_tables_that_does_not_have_their_rows_is_told(folder):
    connection = sqlite3.connect(folder / "state.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records_by_content'").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    flip(folder / "state.db", page * page_bytes - 40)
    report = look(folder)
    assert ("tables", "state.db") in {(finding.part, finding.file) for finding in report.findings}
    assert "SQLite finds it damaged" in reasons(report)


def test_what_is_told_of_a_damaged_frame_is_its_offset_and_what_stands_before_it(whole):
    position, offset = place_of(whole, "record_stored.1", 4)
    flip(whole / FIRST, offset + 100)
    report = look(whole)
    assert found(report)[0] == ("log", FIRST, offset)
    assert report.events <= position
    assert report.status == "damaged"
    assert report.checkpoint is None
    checked = counts(report)
    assert checked["events"] == (report.events, report.events)
    assert checked["bodies"] == (17, 17)


def test_damage_behind_a_checkpoint_leaves_it_standing(whole):
    _, offset = place_of(whole, "record_stored.1", -1)
    flip(whole / FIRST, offset + 100)
    report = look(whole)
    first, second = sorted(int(note.name) for note in (whole / "checkpoints").iterdir())
    assert (report.checkpoint, report.events) == (first, first)
    assert found(report) == [("log", FIRST, offset)]
    assert counts(report)["checkpoints"] == (1, 2)
    assert second > first


@pytest.mark.parametrize("number", range(4))
def test_a_damaged_body_is_told_and_the_others_are_looked_at(whole, number):
    path = whole / "bodies" / ("0" * 20 + ".seg")
    data = path.read_bytes()
    starts = [at for at in range(0, len(data), 64) if data[at : at + 4] == b"EGB1"]
    flip(path, starts[4 * number] + 80)
    report = look(whole)
    assert ("bodies", f"bodies/{path.name}", starts[4 * number]) in found(report)
    assert counts(report)["bodies"] == (16, 17)
    assert report.checkpoint == report.events  # what is signed is of the log, and that holds


# -- what is lost, swapped, or more than there was --------------------------------------------------------------------


@pytest.mark.parametrize("part", ["events", "bodies", "checkpoints"])
@pytest.mark.parametrize("cut", [1, 8, 64, 80, 700])
def test_what_is_lost_at_an_end_is_told(folder, part, cut):
    last = max((folder / part).iterdir())
    last.write_bytes(last.read_bytes().rstrip(b"\0")[:-cut])
    report = look(folder)
    assert report.status == "damaged"
    assert independent.audit(folder).status != "sound"
    assert any(file.split("/")[0] == part for _, file, _ in found(report))


def test_a_torn_tail_is_torn_and_named(folder):
    for note in (folder / "checkpoints").iterdir():
        note.unlink()
    (folder / "state.db").unlink()
    shutil.rmtree(folder / "trie")
    last = max((folder / "events").iterdir())
    data = last.read_bytes().rstrip(b"\0")
    start = data.rindex(b"EGL1")
    last.write_bytes(data[: start + 70])
    report = look(folder)
    assert (report.status, independent.audit(folder).status) == ("torn", "torn")
    assert ("log", f"events/{last.name}", start) in found(report)


def test_a_torn_body_that_no_event_names_is_torn(folder):
    path = max((folder / "bodies").iterdir())
    end = len(path.read_bytes().rstrip(b"\0")) + 63 & ~63
    frame = _core.encode_body(1, hashlib.sha256(b'{"a":1}').digest(), b'{"a":1}')
    path.write_bytes(path.read_bytes()[:end] + frame[:66])
    report = look(folder)
    assert (report.status, independent.audit(folder).status) == ("torn", "torn")
    assert found(report) == [("bodies", f"bodies/{path.name}", end)]


@pytest.mark.parametrize("part", ["events", "bodies"])
def test_a_missing_segment_is_told(folder, part):
    names = sorted((folder / part).iterdir())
    names[len(names) // 2].unlink()
    report = look(folder)
    assert report.status == "damaged"
    assert independent.audit(folder).status == "damaged"


@pytest.mark.parametrize("part", ["events", "bodies"])
def test_swapped_segments_are_told(folder, part):
    first, second, *_ = sorted((folder / part).iterdir())
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    report = look(folder)
    if part == "events":
        assert found(report)[0] == ("log", f"events/{first.name}", 0)
    else:  # each is sound in itself, and the tables know other places
        assert ("tables", "state.db", None) in found(report)


def test_a_living_record_without_its_body_is_told_where_it_was_stored(whole):
    path = whole / "bodies" / ("0" * 20 + ".seg")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"EGB1")])
    report = look(whole)
    assert [part for part, *_ in found(report)] == ["bodies"]
    assert found(report)[0][1:] == (FIRST, place_of(whole, "record_stored.1", -1)[1])
    assert "which lives, is in no body segment" in reasons(report)


# -- lies under right checksums ---------------------------------------------------------------------------------------


def other_deleted(frames):
    events = [msgspec.msgpack.decode(data) for some in frames for data in some]
    cids = [event["cid"] for event in events if event["type"] == "record_stored.1"]
    return changed("record_deleted.1", 1, cid=cids[4])(frames)


@pytest.mark.parametrize(
    ("change", "part", "complaint"),
    [
        (changed("state_committed.1", 0, records={"root": bytes(32), "count": 7}), "commitments", "it commits to 7"),
        (changed("state_committed.1", 1, heads={"root": bytes(32), "count": 0}), "commitments", "0 heads under"),
        (changed("state_committed.1", 0, edges={"root": bytes(32), "count": 1}), "commitments", "1 edges under"),
        (changed("state_committed.1", 0, type="state_commItted.1"), "checkpoints", "is not state_committed"),
        (changed("record_stored.1", 2, payload=bytes(32)), "events", "payload hash is not that of the body"),
        (changed("record_stored.1", 2, signature=bytes(64)), "events", "signature does not verify"),
        (changed("record_stored.1", 2, ns=bytes(31)), "events", "of length >= 32"),
        (changed("record_stored.1", 2, issued_unix_ms=-1), "events", "malformed"),
        (changed("record_stored.1", 2, issued_unix_ms="soon"), "events", "malformed"),
        (changed("record_stored.1", 2, cid="v1::x"), "events", "not a CID"),
        (changed("record_stored.1", 2, ns=bytes(31) + b"x"), "events", "no namespace"),
        (changed("namespace_created.1", 0, model_version="m/2"), "events", "in a namespace of m/2"),
        (changed("namespace_created.1", 0, dim=9), "events", "with 9"),
        (changed("namespace_created.1", 0, owner=bytes(32)), "events", "id is not that of its owner"),
        (changed("namespace_created.1", 0, name=bytes(32)), "events", "is in no body segment"),
        (changed("key_set.1", 0, K=bytes(32)), "events", "K is not that of its namespace"),
        (changed("key_set.1", 0, ns=bytes(31) + b"x"), "events", "no namespace"),
        (changed("namespace_deleted.1", 0, ns=bytes(32)), "events", "cannot be deleted"),
        (changed("recall_measured.1", 0, ns=bytes(31) + b"x"), "events", "no namespace"),
        (changed("key_set.1", 2, cid=""), "commitments", "it commits to 1 heads"),
        (other_deleted, "commitments", "records under"),
        (lambda frames: [*frames, frames[0]], "events", "created once"),
    ],
)
def test_a_forged_log_with_right_roots_and_signatures_is_told(whole, change, part, complaint):
    forge(whole, change)
    report = look(whole)
    assert complaint in reasons(report), report.findings
    [first] = [finding for finding in report.findings if complaint in finding.reason][:1]
    assert first.part == part
    assert first.file == (FIRST if part != "checkpoints" else first.file)
    if part != "checkpoints":
        frames = rich_folder.frames_of(whole)
        assert 0 <= first.position < sum(map(len, frames))
        assert first.offset in {place[1] for place in all_places(whole)}


def all_places(path):
    data = (path / FIRST).read_bytes()
    return [(first, offset) for offset, _, first, *_ in _core.LogState().scan(data, True, 0)[0]]


def test_a_wrong_commitment_names_its_event_and_the_checkpoint_does_not_hold(whole):
    forge(whole, changed("state_committed.1", 1, records={"root": bytes(32), "count": 7}))
    report = look(whole)
    position, offset = place_of(whole, "state_committed.1", 1)
    [commitment, checkpoint] = sorted(report.findings, key=lambda one: one.part != "commitments")
    assert (commitment.position, commitment.file, commitment.offset) == (position, FIRST, offset)
    assert checkpoint.file == f"checkpoints/{position + 1:020}"
    assert "other state tries" in checkpoint.reason
    assert report.checkpoint == min(int(note.name) for note in (whole / "checkpoints").iterdir())
    assert independent.audit(whole).status == "damaged"


def test_an_event_of_a_type_unknown_here_is_no_fault(whole):
    strange = msgspec.msgpack.encode({"type": "dream_dreamt.1", "who": b"x"})
    forge(whole, lambda frames: [*frames, [strange]])
    assert look(whole).status == "sound"


def test_a_body_that_is_not_what_its_id_says_is_told_under_a_right_checksum(whole):
    path = whole / "bodies" / ("0" * 20 + ".seg")
    data = path.read_bytes()
    last = data.rindex(b"EGB1")
    body_id, size = data[last + 16 : last + 48], int.from_bytes(data[last + 8 : last + 12], "little")
    other = bytearray(data[last + 64 : last + 64 + size])
    other[70] ^= 1  # of its vector
    path.write_bytes(data[:last] + _core.encode_body(0, body_id, bytes(other)))
    report = look(whole)
    assert ("bodies", f"bodies/{path.name}", last) in found(report)
    assert "the record's id is not its CID" in reasons(report)
    assert independent.audit(whole).status == "damaged"


# -- checkpoints ------------------------------------------------------------------------------------------------------


def note_of(path, *, key=None, size=None, root=None):
    """Sign what the largest checkpoint says, with something changed."""
    own = NodeKey((path / "keys" / "node.key").read_bytes())
    file = max((path / "checkpoints").iterdir())
    said = checkpoints.parse(file.read_bytes(), own.public)
    return file, checkpoints.sign(Checkpoint(size or said.size, root or said.root), key or own)


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"key": NodeKey(bytes(32))}, "not of this node's key"),
        ({"root": bytes(32)}, "another root"),
        ({"size": 3}, "holds the checkpoint of size 3"),
    ],
)
def test_a_checkpoint_that_is_another_is_told(folder, other, complaint):
    file, note = note_of(folder, **other)
    file.write_bytes(note)
    report = look(folder)
    assert [finding.file for finding in report.findings] == [f"checkpoints/{file.name}"]
    assert complaint in reasons(report)
    assert counts(report)["checkpoints"] == (1, 2)
    assert independent.audit(folder).status == "damaged"


def test_a_checkpoint_within_a_frame_is_of_another_history(folder):
    _, note = note_of(folder, size=4)
    (folder / "checkpoints" / f"{4:020}").write_bytes(note)
    assert "no frame of the log ends at its size" in reasons(look(folder))


def test_a_log_that_was_rolled_back_is_told_by_its_checkpoint_and_by_the_tables(folder):
    frames = rich_folder.frames_of(folder)
    forge(folder, lambda frames: frames[:-2], sign=False)
    report = look(folder)
    size = sum(map(len, frames))
    assert ("checkpoints", f"checkpoints/{size:020}", 0) in found(report)
    assert ("tables", "state.db", None) in found(report)
    assert reasons(report).count("rolled back") == 2
    assert report.checkpoint is not None


def test_a_checkpoint_that_somebody_kept_shows_what_was_rolled_back_or_signed_twice(folder):
    file, _ = note_of(folder)
    kept = GivenCheckpoint("kept", file.read_bytes())
    assert counts(look(folder, given=[kept]))["checkpoints"] == (3, 3)
    _, forged = note_of(folder, root=bytes(32))
    report = look(folder, given=[kept, GivenCheckpoint("other", forged)])
    assert [(finding.file, finding.part) for finding in report.findings] == [("other", "checkpoints")]
    assert "signed two histories" in reasons(report)
    _, ahead = note_of(folder, size=1000)
    assert "rolled back" in reasons(look(folder, given=[GivenCheckpoint("ahead", ahead)]))
    _, foreign = note_of(folder, key=NodeKey(bytes(32)))
    assert "not of this node's key" in reasons(look(folder, given=[GivenCheckpoint("foreign", foreign)]))
    assert "not a signed note" in reasons(look(folder, given=[GivenCheckpoint("junk", b"\xff\0")]))


# -- signatures in events ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [NodeKey(b"k" * 32), Hotkey(b"h" * 32)], ids=["ed25519", "sr25519"])
def test_signatures_in_events_are_verified(whole, key):
    frames = [msgspec.msgpack.decode(data) for some in rich_folder.frames_of(whole) for data in some]
    put, deleted, named = (
        next(event for event in frames if event["type"] == kind)
        for kind in ("record_stored.1", "record_deleted.1", "key_set.1")
    )
    own, zeros, issued = key.public, bytes(32), 1 << 41
    digest = bytes.fromhex(put["cid"][4:])
    signed = [
        (put, put_message(zeros, put["ns"], digest, issued), {}),
        (deleted, tombstone_message(zeros, put["ns"], digest, issued + 1), {"cid": put["cid"]}),
        (named, set_key_message(zeros, named["ns"], named["K"], zeros, digest, issued), {"cid": "", "expect": digest}),
    ]
    out = [
        event | more | {"signer": own, "issued_unix_ms": issued + (event is deleted), "signature": key.sign(message)}
        for event, message, more in signed
    ]
    forge(whole, lambda frames: [*frames, [msgspec.msgpack.encode(event) for event in out]])
    report = look(whole)
    assert (report.status, counts(report)["signatures"]) == ("sound", (3, 3))
    wrong = [event | {"issued_unix_ms": event["issued_unix_ms"] + 1} for event in out]
    forge(whole, lambda frames: [*frames[:-1], [msgspec.msgpack.encode(event) for event in wrong]])
    report = look(whole)
    assert (len(report.findings), counts(report)["signatures"]) == (3, (0, 3))


# -- erased bodies ----------------------------------------------------------------------------------------------------


def erase_body(path, digest):
    file = path / "bodies" / ("0" * 20 + ".seg")
    data = bytearray(file.read_bytes())
    at = data.index(b"EGB1")
    while data[at + 16 : at + 48] != digest:
        at = data.index(b"EGB1", at + 64)
    size = int.from_bytes(data[at + 8 : at + 12], "little")
    frame = _core.encode_body(2, bytes(digest), bytes(size))
    data[at : at + len(frame)] = frame
    file.write_bytes(data)


def event_of(path, kind, number):
    found = [msgspec.msgpack.decode(data) for some in rich_folder.frames_of(path) for data in some]
    return [event for event in found if event["type"] == kind][number]


def test_an_erased_body_of_a_record_that_lives_is_told(whole):
    erase_body(whole, bytes.fromhex(event_of(whole, "record_stored.1", -1)["cid"][4:]))
    assert "which lives, was erased" in reasons(look(whole))


def test_a_body_may_be_erased_only_where_a_deletion_asked_for_it(whole):
    last = event_of(whole, "record_stored.1", -1)
    ended = {"type": "record_deleted.1", "erase": False, "issued_unix_ms": 1 << 41}
    ended |= {name: last[name] for name in ("ns", "cid", "signer")}
    forge(whole, lambda frames: [*frames, [msgspec.msgpack.encode(ended)]])
    assert look(whole).status == "sound"
    erase_body(whole, bytes.fromhex(last["cid"][4:]))
    assert "no deletion in the log asked for that" in reasons(look(whole))
    forge(whole, lambda frames: [*frames[:-1], [msgspec.msgpack.encode(ended | {"erase": True})]])
    assert look(whole).status == "sound"


# -- the tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE memberships SET issued = issued + 1 WHERE alive", "not those of its digest"),
        ("DELETE FROM heads", "not those of its digest"),
        ("UPDATE projection SET digest = x'00'", "not those of its digest"),
        ("UPDATE projection SET root = zeroblob(32)", "another root at its position"),
        ("UPDATE projection SET position = 1000000", "rolled back"),
        ("UPDATE projection SET body_tail = 1 << 40", "they end before it"),
        ("UPDATE projection SET body_tail = 64", "cannot be folded into tables"),
        ("UPDATE projection SET skipped = x'ff'", "state.db"),
        ("UPDATE projection SET position = 'x'", "state.db"),
        ("DROP TABLE heads", "its schema is not"),
        ("DROP TABLE projection", "no table `projection`"),
        ("CREATE TRIGGER t AFTER INSERT ON heads BEGIN SELECT 1; END", "its schema is not"),
    ],
)
def test_tables_that_are_not_the_logs_are_told(folder, statement, complaint):
    connection = sqlite3.connect(folder / "state.db", isolation_level=None)
    connection.execute(statement)
    connection.close()
    report = look(folder)
    assert {(part, file) for part, file, _ in found(report)} == {("tables", "state.db")}
    assert complaint in reasons(report) + "state.db"


def test_rows_that_are_wrong_under_their_own_digest_are_told_by_the_table(folder):
    """Who changes the rows can write their digest too; what the log folds to he cannot change."""
    digests = importlib.import_module("engram.store._digest")
    tables = importlib.import_module("engram.store._tables")
    connection = sqlite3.connect(folder / "state.db", isolation_level=None)
    connection.execute("UPDATE memberships SET location = location + 64 WHERE alive")
    connection.execute("UPDATE projection SET digest = ?", (digests.digest_of(connection, tables.FOLDED),))
    connection.close()
    assert "not those that the log folds to, in memberships" in reasons(look(folder))


def test_tables_of_another_fold_are_said_to_be_folded_anew(folder):
    connection = sqlite3.connect(folder / "state.db", isolation_level=None)
    connection.execute("UPDATE projection SET fold_version = fold_version - 1")
    connection.close()
    report = look(folder)
    assert report.status == "sound"
    assert "another build's fold" in next(part.note for part in report.parts if part.name == "tables")


@pytest.mark.parametrize("junk", [b"", b"SQLite format 3\0", b"no database" * 1000])
def test_a_file_that_is_no_database_is_told(folder, junk):
    (folder / "state.db").write_bytes(junk)
    assert {(part, file) for part, file, _ in found(look(folder))} == {("tables", "state.db")}


def test_pages_of_noise_are_told(folder):
    data = bytearray((folder / "state.db").read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    (folder / "state.db").write_bytes(data)
    assert {(part, file) for part, file, _ in found(look(folder))} == {("tables", "state.db")}


# -- what others fold -------------------------------------------------------------------------------------------------


def manifest_of(position, root, segments):
    data = msgspec.msgpack.encode({"format": 1, "position": position, "root": root, "segments": segments})
    return hashlib.sha256(data).digest() + data


def test_the_index_is_held_against_the_log_and_its_own_names(folder):
    index = folder / "index"
    index.mkdir()
    root = bytes.fromhex(look(folder).root)
    head = b"EGSG" + bytes(28)
    part = head + hashlib.sha256(head + b"rows").digest() + b"rows"
    name = f"{part[32:64].hex()}.seg"
    (index / name).write_bytes(part)
    manifest = manifest_of(look(folder).events, root, {bytes(32): [part[32:64]]})
    (index / "MANIFEST").write_bytes(manifest)
    report = look(folder)
    assert (report.status, counts(report)["index"]) == ("sound", (2, 2))
    flip(index / name, len(part) - 1)
    assert found(look(folder)) == [("index", f"index/{name}", None)]
    (index / name).unlink()
    assert "cannot be read" in reasons(look(folder))
    (index / "MANIFEST").write_bytes(manifest_of(3, root, {}))
    assert "of another log" in reasons(look(folder))
    flip(index / "MANIFEST", 40)
    assert "checksum" in reasons(look(folder))


def test_the_hashes_of_the_logs_tree_are_held_against_its_events(folder):
    log = Log.open(RealDisk(), folder / "events")
    log.append([msgspec.msgpack.encode({"type": "dream_dreamt.1", "n": n}) for n in range(600)], NOW * 3)
    LogTree(RealDisk(), folder / "tree", log).catch_up()
    log.close()
    report = look(folder)
    assert (report.status, counts(report)["projections"]) == ("sound", (2, 2))
    for level, number in ((0, 600), (1, 1)):
        flip(folder / "tree" / str(level), 32 * number + 5)
        report = look(folder)
        assert found(report) == [("projections", f"tree/{level}", 32 * number)]
        assert counts(report)["projections"] == (1, 2)
        flip(folder / "tree" / str(level), 32 * number + 5)
    (folder / "tree" / "1").write_bytes(b"")  # behind the log, and made when it is asked for
    assert look(folder).status == "sound"
    with (folder / "tree" / "0").open("ab") as file:
        file.write(bytes(32))
    assert "and the log has" in reasons(look(folder))


def test_the_snapshot_of_the_tries_is_held_against_the_log(folder):
    path = folder / "trie" / "tries"
    kept = path.read_bytes()
    assert counts(look(folder))["projections"] == (1, 1)
    flip(path, len(kept) - 3)
    report = look(folder)
    assert (found(report), counts(report)["projections"]) == ([("projections", "trie/tries", None)], (0, 1))
    assert "its checksum does not hold" in reasons(report)
    size = int.from_bytes(kept[32:36])
    header, tries = msgspec.msgpack.decode(kept[36 : 36 + size]), kept[36 + size :]
    first = min(int(note.name) for note in (folder / "checkpoints").iterdir())
    root = checkpoints.parse(
        (folder / "checkpoints" / f"{first:020}").read_bytes(), NodeKey(bytes(range(32))).public
    ).root
    for fields, complaint in (
        ({"position": first}, "another root at its position"),
        ({"position": first, "root": root}, "not those that the log folds to"),
        ({"position": 10**6}, "another root at its position"),
        ({"records": bytes(32)}, "other roots than it says"),
        ({"records_bytes": 10**6}, ""),
        ({"fold_version": 1}, None),
    ):
        head = msgspec.msgpack.encode(header | fields)
        rest = len(head).to_bytes(4) + head + tries
        path.write_bytes(hashlib.sha256(rest).digest() + rest)
        report = look(folder)
        assert (complaint is None) == (report.status == "sound"), fields
        assert (complaint or "") in reasons(report)


def test_what_others_say_that_they_folded_is_held_against_the_log(folder):
    report = look(folder)
    root = bytes.fromhex(report.root)
    claims = [
        Claim("projections/a.snapshot", report.events, root),
        Claim("projections/b.snapshot", report.events, bytes(32)),
        Claim("projections/c.cursor", report.events + 1, root),
        Claim("projections/d.cursor", fault="torn"),
    ]
    report = look(folder, claims=claims)
    assert [file for _, file, _ in found(report)] == [claim.file for claim in claims[1:]]
    assert counts(report)["projections"] == (2, 5)


# -- beside a node ----------------------------------------------------------------------------------------------------


def test_a_folder_that_is_open_and_never_was_closed_is_sound(tmp_path):
    store = rich_folder.open_store(tmp_path / "data")
    try:
        rich_folder.fill(store)
        report = look(tmp_path / "data")
        assert (report.status, report.events) == ("sound", store.published.position)
        assert counts(report)["tables"] == (1, 1)
        assert report.checkpoint is None
    finally:
        store.close(NOW * 2)


def test_a_folder_that_is_written_to_meanwhile_is_sound(tmp_path):
    path = tmp_path / "data"
    store = rich_folder.open_store(path)
    stop, failed = threading.Event(), []

    def write():
        for number in range(10_000):
            if stop.is_set():
                return
            store.commit([rich_folder.text_put(store, f"more {number}")], NOW + number)

    rich_folder.fill(store)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(8):
            with tempfile.TemporaryDirectory() as scratch:
                order = AuditOrder(path, Path(scratch))
                report = audit(ReadOnlyDisk(), order, lambda *_: None, lambda: time.sleep(0.01))
            failed += report.findings
    finally:
        stop.set()
        writer.join()
        store.close(NOW * 2)
    assert not failed
    assert report.events > 25


class Moving(ReadOnlyDisk):
    """Calls `move` between the copy of the database and that of its WAL, once."""

    def __init__(self, move):
        self.opened = 0
        self._move = move

    def open(self, path, **how):
        if path.name == "state.db-wal":
            self.opened += 1
            if self.opened == 2:
                self._move()
        return super().open(path, **how)


def test_tables_whose_wal_began_anew_while_they_were_copied_are_copied_again(tmp_path):
    store = rich_folder.open_store(tmp_path / "data")

    def move():
        connection = sqlite3.connect(tmp_path / "data" / "state.db")
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        connection.close()
        store.commit([rich_folder.text_put(store, f"more {number}") for number in range(20)], NOW * 2)

    rich_folder.fill(store)
    disk = Moving(move)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            report = audit(disk, AuditOrder(tmp_path / "data", Path(scratch)), lambda *_: None, lambda: None)
    finally:
        store.close(NOW * 3)
    assert (report.findings, counts(report)["tables"]) == ([], (1, 1))
    assert disk.opened > 3


@pytest.mark.parametrize(
    "change", [changed("recall_measured.1", 0, found=29), lambda frames: frames[:-1]], ids=["another", "shorter"]
)
def test_a_log_that_changes_while_it_is_read_is_told(whole, change):
    def tell(part, *_):
        if part == "bodies":
            forge(whole, change, sign=False)

    with tempfile.TemporaryDirectory() as scratch:
        report = audit(ReadOnlyDisk(), AuditOrder(whole, Path(scratch)), tell, lambda: None)
    assert "it changed while it was read" in reasons(report)


# -- hostile folders --------------------------------------------------------------------------------------------------


def link(path):
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def directory(path):
    path.unlink()
    path.mkdir()


def huge(path):
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def empty(path):
    path.write_bytes(b"")


def noise(path):
    path.write_bytes(random.Random(5).randbytes(200_000))


def headers(path):
    """Fill a file with what looks like the headers of large frames."""
    log = b"EGL1" + bytes(4) + (1 << 20).to_bytes(4, "little") + bytes(52)
    body = b"EGB1" + bytes(4) + (1 << 18).to_bytes(4, "little") + bytes(52)
    path.write_bytes((log + body) * 10_000)


@pytest.mark.parametrize("harm", [link, pipe, directory, huge, empty, noise, headers], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("part", ["events", "bodies", "checkpoints", "state.db", "keys", "trie"])
def test_a_file_that_is_none_is_told(folder, part, harm):
    path = folder / part
    path = max(path.iterdir()) if path.is_dir() else path
    harm(path)
    started = time.perf_counter()
    report = look(folder)
    assert report.status == "damaged"
    name = str(path.relative_to(folder))
    assert name in {file for _, file, _ in found(report)} or part in {"events", "bodies"}
    assert time.perf_counter() - started < 20


def test_a_torn_tail_full_of_headers_of_large_frames_costs_no_more_than_reading_it(whole):
    """The CRC of each would be a mebibyte: of 4 MiB of them, a hundred gigabytes."""
    for note in (whole / "checkpoints").iterdir():
        note.unlink()
    path = whole / FIRST
    data = path.read_bytes().rstrip(b"\0")
    start = data.rindex(b"EGL1")
    torn = data[:start] + bytes(1024 - start % 8)
    claim = b"EGL1" + bytes(4) + (1 << 20).to_bytes(4, "little") + bytes([1, 0, 0, 0]) + (1 << 40).to_bytes(8, "little")
    path.write_bytes(torn + claim * ((4 << 20) // len(claim)))
    report = look(whole)
    assert found(report)[0] == ("log", FIRST, start)
    assert "before more that look like frames" in reasons(report)


@pytest.mark.parametrize("harm", [link, pipe, directory, empty], ids=lambda harm: harm.__name__)
def test_a_folder_without_a_format_is_refused(folder, harm):
    harm(folder / "FORMAT")
    try:
        assert found(look(folder))[0][:2] == ("format", "FORMAT")
    except FolderRefused as error:
        assert str(folder) in error.message  # noqa: PT017 (either will do)


@pytest.mark.parametrize("name", ["events", "bodies", "checkpoints", "index", "projections", "keys", "tree", "trie"])
def test_a_file_in_the_place_of_a_folder_is_no_traceback(folder, name):
    if (folder / name).exists():
        shutil.rmtree(folder / name)
    (folder / name).write_bytes(b"x")
    try:
        look(folder)
    except EngramError:
        assert name == "events"


def test_junk_in_the_folder_is_passed_over(folder):
    for part in ("events", "bodies", "checkpoints"):
        for number in range(2000):
            (folder / part / f"junk-{number}").write_bytes(b"")
    assert look(folder).status == "sound"


def test_findings_are_bounded(folder):
    for number in range(10**6, 10**6 + 1500):
        (folder / "checkpoints" / f"{number:020}").write_bytes(b"x")
    report = look(folder)
    assert (len(report.findings), report.findings_left_out) == (1000, 500)
    assert report.status == "damaged"


def test_what_is_no_data_folder_is_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FolderRefused, match="is not a data folder"):
            look(path)
    (tmp_path / "FORMAT").write_bytes(b'{"format": 9, "writer": "future"}\n')
    (tmp_path / "events").mkdir()
    with pytest.raises(FolderRefused, match="format 9"):
        look(tmp_path)


def test_the_first_events_are_proved_though_the_first_event_is_malformed(whole):
    forge(whole, changed("log_created.1", node_key=b"short"), sign=False)
    report = look(whole)
    assert "names no node key" in reasons(report)
    assert report.node_key == ""
