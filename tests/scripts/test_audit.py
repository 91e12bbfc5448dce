"""The auditor against golden bytes, a whole folder, and every kind of lie that a folder can tell."""

from __future__ import annotations

import fcntl
import importlib
import itertools
import json
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import golden
import msgspec
import pytest
import rfc8785
import small_folder
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import EngramError
from engram.native import _core
from engram.runtime import RealDisk, RealTables
from engram.store import PUBLIC, Store

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.append(str(SCRIPTS))  # where a script finds what it imports when it is run
SCRIPT = SCRIPTS / "audit.py"
GOLDEN = golden.DATA / "folder"
LOG, BODIES = golden.FORMATS["log"], golden.FORMATS["bodies"]
SEGMENT = bytes.fromhex(LOG["segment_hex"])
BODY_SEGMENT = bytes.fromhex(BODIES["segment_hex"])
STATUS = {"sound": 0, "torn": 1, "damaged": 2}


audit = importlib.import_module("audit")
bodies_reader, canonical, events_reader, framing, log_reader, notes, state = (
    importlib.import_module(f"auditing.{name}")
    for name in ("bodies", "canonical", "events", "framing", "log", "notes", "state")
)


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "folder"))


# -- golden bytes -----------------------------------------------------------------------------------------------------


def judge(read, segments, more):
    found = []
    try:
        result = read(iter(segments), more, found.append)
    except framing.Damage as damage:
        found.append(damage)
        result = None
    return result, found


def check(found, expect):
    assert max((STATUS[one.status] for one in found), default=0) == expect["status"], found
    assert "offset" not in expect or found[0].offset == expect["offset"], found


@pytest.mark.parametrize("case", LOG["cases"], ids=lambda case: case["name"])
def test_golden_logs_are_judged_as_written(case):
    covered = 6 if case["with_checkpoint"] else 0
    log, found = judge(log_reader.read_log, [(LOG["segment"], golden.edited(SEGMENT, case), True)], covered)
    if case["expect"]["status"] != 3:
        check(found, case["expect"])
        assert log is None or len(log.events) == case["expect"]["events"]
    else:
        with pytest.raises(framing.Damage, match="rolled back"):
            notes.check_note(
                "0" * 19 + "6", golden.FORMATS["checkpoint"]["note"].encode(), log_reader.node_key_of(log), log
            )


@pytest.mark.parametrize("case", LOG["segments"], ids=lambda case: case["name"])
def test_golden_chains_of_segments_are_judged_as_written(case):
    files = {}
    for name, (start, length) in case["files"].items():
        data = b"" if start is None else SEGMENT[start : start + length]
        files[name] = data + bytes(length - len(data))
    check(judge(log_reader.read_log, [(name, files[name], name == max(files)) for name in files], 0)[1], case["expect"])


@pytest.mark.parametrize("case", golden.load("refused_events"), ids=lambda case: case["why"])
def test_malformed_events_are_refused(case):
    with pytest.raises(framing.Wrong):
        events_reader.decode(bytes.fromhex(case["event_hex"]))


@pytest.mark.parametrize("case", BODIES["cases"], ids=lambda case: case["name"])
def test_golden_bodies_are_judged_as_written(case):
    segments = [(BODIES["segment"], golden.edited(BODY_SEGMENT, case), "a_segment_follows" not in case)]
    segments += [("1", b"", True)] * ("a_segment_follows" in case)
    named = None
    if "named_frames" in case:
        named = log_reader.Named(log_reader.Log())
        named.ids = {bytes.fromhex(BODIES["frames"][number]["id_hex"]) for number in case["named_frames"]}
    bodies, found = judge(bodies_reader.read_bodies, segments, named)
    check(found, {"status": case["expect"]["status"]} | ({} if bodies else case["expect"]))
    assert bodies is None or len(bodies) == case["expect"]["frames"]


@pytest.mark.parametrize("case", BODIES["good_crc_but_wrong"], ids=lambda case: case["why"])
def test_bodies_that_lie_under_a_right_crc_are_damage(case):
    check(
        judge(bodies_reader.read_bodies, [(BODIES["segment"], bytes.fromhex(case["frame_hex"]), True)], None)[1],
        case["expect"],
    )


@pytest.mark.parametrize("case", golden.FORMATS["payload"]["refused_edits_of_text"], ids=lambda case: case["why"])
def test_payloads_that_no_encoder_gives_are_refused(case):
    text = bytes.fromhex(golden.FORMATS["payload"]["accepted"][0]["payload_hex"])
    with pytest.raises(framing.Wrong):
        bodies_reader.read_payload(golden.edited(text, case))


@pytest.mark.parametrize("case", golden.FORMATS["payload"]["accepted"], ids=lambda case: case["name"])
def test_the_cid_of_a_payload_is_recomputed(case):
    assert "v1::" + bodies_reader.read_payload(bytes.fromhex(case["payload_hex"]))[0].hex() == case["cid"]


@pytest.mark.parametrize("case", golden.FORMATS["checkpoint"]["refused_notes"], ids=lambda case: case["why"])
def test_notes_that_are_not_the_nodes_are_damage(case):
    log, _ = judge(log_reader.read_log, [(LOG["segment"], SEGMENT, True)], 6)
    note = case.get("note", golden.FORMATS["checkpoint"]["note"])
    note = note.replace(*case["replace_all"]) if "replace_all" in case else note
    with pytest.raises(framing.Damage):
        notes.check_note("0" * 19 + "6", note.encode(), log_reader.node_key_of(log), log)


@pytest.mark.parametrize("case", golden.load("trie")["trie"], ids=lambda case: str(case["n"]))
def test_tries_have_the_golden_roots(case):
    payloads = [b"record-%d" % number for number in range(case["n"])]
    leaves = {framing.sha(payload): framing.sha(payload) for payload in payloads}
    root, count = state.trie_root(leaves)
    assert (root.hex(), count) == (case["root"], case["n"])


def test_crc_is_rfc_3720s():
    assert framing.crc32c(b"123456789") == 0xE3069283


@given(st.integers(0, 2**64 - 1))
def test_numbers_print_as_an_independent_canonicaliser_prints_them(bits):
    [value] = struct.unpack("<d", struct.pack("<Q", bits))
    if value - value == 0:
        assert canonical._number(value).encode() == rfc8785.dumps(value)


# -- a whole folder ---------------------------------------------------------------------------------------------------


def files(path):
    kept = [found for found in path.rglob("*") if found.is_file() and not found.name.startswith(("state.db", "pid"))]
    return {str(found.relative_to(path)): found.read_bytes().rstrip(b"\0") for found in kept}


def test_the_golden_folder_is_sound_and_is_what_this_build_writes(folder, tmp_path):
    ran = subprocess.run([sys.executable, SCRIPT, folder, "--json"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    facts = json.loads(ran.stdout)
    assert (facts["status"], facts["records"], facts["memberships"], facts["bodies"]) == ("sound", 6, 6, 8)
    assert (facts["namespaces"], facts["checkpoints"], facts["unnamed_bodies"]) == (2, 2, 0)
    small_folder.make(tmp_path / "made")
    assert files(tmp_path / "made") == files(GOLDEN)


def test_this_build_reads_the_golden_folder(folder):
    store = Store.open(RealDisk(), RealTables(), folder, small_folder.FixedRng(), small_folder.NOW * 2, "test")
    texts = [view.text for _, view in store.browse(PUBLIC.ns, None, 0, 10)[0]]
    assert [text[:6] for text in texts] == ["text 0", "text 2", "text 3"]
    store.close(small_folder.NOW * 2)
    assert audit.audit(folder).status == "sound"


def single_bits(path, count, seed):
    """Choose (file, offset, bit) of a folder: each byte that means something is as likely as any other."""
    places = []
    for name, data in files(path).items():
        end = len(b'{"format": 1, "writer": "') if name == "FORMAT" else len(data)
        places += [(name, offset) for offset in range(end)]
    rng = random.Random(seed)
    return [(*rng.choice(places), rng.randrange(8)) for _ in range(count)]


def test_any_single_bit_is_told(folder):
    untold = []
    for name, offset, bit in single_bits(folder, 400, seed=1):
        data = bytearray((folder / name).read_bytes())
        data[offset] ^= 1 << bit
        (folder / name).write_bytes(data)
        result = audit.audit(folder)
        told = [finding for finding in result.findings if Path(finding.file).parts[0] == Path(name).parts[0]]
        if not told and not (name == "FORMAT" and result.findings):
            untold.append((name, offset, bit, result.findings))
        data[offset] ^= 1 << bit
        (folder / name).write_bytes(data)
    assert not untold
    assert audit.audit(folder).status == "sound"


@pytest.mark.parametrize("part", ["events/" + "0" * 20 + ".log", "bodies/" + "0" * 20 + ".seg"])
@pytest.mark.parametrize("beyond", [1, 7, 64, 700, 4095])
def test_a_bit_in_the_empty_rest_of_a_segment_is_told(folder, part, beyond):
    data = (folder / part).read_bytes()
    rest = bytearray(4096)
    rest[beyond] = 1
    (folder / part).write_bytes(data + rest)
    assert audit.audit(folder).status in ("torn", "damaged")


@pytest.mark.parametrize("part", ["events", "bodies", "checkpoints"])
def test_what_is_lost_at_an_end_is_told(folder, part):
    last = max((folder / part).iterdir())
    last.write_bytes(last.read_bytes()[:-80])
    result = audit.audit(folder)
    assert result.status == "damaged"
    assert result.findings[0].file == f"{part}/{last.name}"


# -- lies that every checksum covers ----------------------------------------------------------------------------------


def forged(folder, change):
    """Write the folder's log anew with `change` done to its list of events; CRCs and roots are right again."""
    path = folder / "events" / ("0" * 20 + ".log")
    log = log_reader.read_log(iter([(path.name, path.read_bytes(), True)]), 0, None)
    sizes = [0, *log.ends]
    log_state, out = _core.LogState(), b""
    frames = change([log.events[low:high] for low, high in itertools.pairwise(sizes)])
    for number, events in enumerate(frames):
        out += log_state.encode(small_folder.NOW + number, events)
    path.write_bytes(out)


def replaced(old, new):
    def change(frames):
        flat = b"".join(itertools.chain(*frames))
        assert flat.count(old) >= 1
        return [[event.replace(old, new) for event in events] for events in frames]

    return change


def other_payload(frames):
    event = events_reader.decode(frames[2][0]) | {"payload": bytes(32)}
    return [*frames[:2], [msgspec.msgpack.encode(event), *frames[2][1:]], *frames[3:]]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda frames: frames[:-2] + frames[-1:], "commits to"),  # the deletion is left out
        (lambda frames: [frames[0], *frames[2:]], "no namespace"),
        (lambda frames: [*frames, frames[0]], "created once"),
        (replaced(b"state_committed.1", b"state_commItted.1"), "not state_committed"),
        (replaced(b"m/1", b"m/2"), "in a namespace of"),
        (replaced(b"\xa3dim\x08", b"\xa3dim\x09"), "in a namespace of"),
        (other_payload, "payload hash is not that of the body"),
    ],
)
def test_a_log_that_folds_to_something_else_is_damage(folder, change, complaint):
    forged(folder, change)
    for note in (folder / "checkpoints").iterdir():
        if complaint != "not state_committed":
            note.unlink()
    result = audit.audit(folder)
    assert result.status == "damaged"
    if complaint != "not state_committed":  # there, the root at the checkpoint is wrong first
        assert complaint in result.findings[0].reason


def behind(make):
    """Append a frame with an event about the folder's namespace, of its id and owner."""

    def change(frames):
        events = [events_reader.decode(event) for event in itertools.chain(*frames)]
        [created] = [event for event in events if event["type"] == "namespace_created.1"]
        return [*frames, [msgspec.msgpack.encode(event) for event in make(created["ns"], created["owner"], events)]]

    return change


def deleted(ns, owner, _):
    return [{"type": "namespace_deleted.1", "ns": ns, "signer": owner, "issued_unix_ms": 1 << 41}]


def emptied_and_deleted(ns, owner, events):
    cids = dict.fromkeys(event["cid"] for event in events if event.get("ns") == ns and "cid" in event)
    about = {"ns": ns, "signer": owner, "issued_unix_ms": 1 << 41}
    ends = [{"type": "record_deleted.1", "cid": cid, "erase": False, **about} for cid in cids]
    return [*ends, *deleted(ns, owner, events)]


def key_of_none(ns, owner, _):
    about = {"key": bytes(32), "signer": owner, "issued_unix_ms": 1 << 41}
    return [{"type": "key_set.1", "ns": bytes(31) + b"x", "K": bytes(32), "cid": "", **about}]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (deleted, "with something in it"),
        (lambda *of: [*emptied_and_deleted(*of), *deleted(*of)], "was there to be deleted"),
        (lambda _, *rest: deleted(bytes(32), *rest), "was there to be deleted"),
        (key_of_none, "no namespace"),
    ],
)
def test_the_end_of_a_namespace_that_cannot_be_is_damage(folder, make, complaint):
    forged(folder, behind(make))
    for note in (folder / "checkpoints").iterdir():
        note.unlink()
    assert complaint in audit.audit(folder).findings[0].reason


def test_a_namespace_ends_when_all_in_it_has(folder):
    before = audit.audit(folder).counts["namespaces"]
    forged(folder, behind(emptied_and_deleted))
    for note in (folder / "checkpoints").iterdir():
        note.unlink()
    found = audit.audit(folder)
    assert (found.status, found.findings) == ("sound", [])
    assert found.counts["namespaces"] == before - 1


def test_a_living_record_without_its_body_is_damage(folder):
    path = folder / "bodies" / ("0" * 20 + ".seg")
    data = path.read_bytes()
    last = data.rindex(b"EGB1")
    path.write_bytes(data[:last])
    [finding] = audit.audit(folder).findings
    assert "is in no body segment" in finding.reason
    assert finding.file.startswith("events/")


def test_another_node_key_is_damage(folder):
    (folder / "keys" / "node.key").write_bytes(bytes(32))
    assert "not the key that event 0 names" in audit.audit(folder).findings[0].reason


def test_a_checkpoint_that_the_log_does_not_keep_is_damage(folder):
    forged(folder, lambda frames: frames[:-1])
    [finding] = audit.audit(folder).findings
    assert "rolled back" in finding.reason
    assert finding.file.startswith("checkpoints/")


def test_a_log_that_says_something_else_at_a_checkpoint_is_damage(folder):
    forged(folder, replaced(b"\xa5erase\xc2", b"\xa5erase\xc3"))
    [finding] = audit.audit(folder).findings
    assert "another root" in finding.reason


def test_a_folder_in_use_or_absent_is_no_folder(folder, tmp_path):
    with (folder / "FORMAT").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(audit.NoFolder, match="in use"):
            audit.audit(folder)
    ran = subprocess.run([sys.executable, SCRIPT, tmp_path / "none"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "is this a data folder?" in ran.stderr


def test_what_the_auditor_calls_damage_the_store_refuses(folder, tmp_path):
    """The other way round: two readers of one format, and neither is the looser one."""
    looser = []
    for number, (name, offset, bit) in enumerate(single_bits(folder, 60, seed=2)):
        copy = Path(shutil.copytree(folder, tmp_path / str(number)))
        data = bytearray((copy / name).read_bytes())
        data[offset] ^= 1 << bit
        (copy / name).write_bytes(data)
        try:
            Store.open(RealDisk(), RealTables(), copy, small_folder.FixedRng(), 2 * small_folder.NOW, "test").close(
                2 * small_folder.NOW
            )
        except EngramError:
            continue
        looser.append((name, offset, bit))
    smaller = min(path.name for path in (folder / "checkpoints").iterdir())
    assert {name for name, _, _ in looser} <= {f"checkpoints/{smaller}"}
