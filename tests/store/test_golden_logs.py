"""Every version of every event has a golden log, and it replays for ever: to the same root, and the same tables."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import golden
import msgspec
import pytest
from rich_folder import frames_of, look

from engram import events
from engram.events import Replay
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import Store

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
script = importlib.import_module("golden_logs")
independent = importlib.import_module("audit")

FOLDER = golden.DATA / "golden_logs"
EXPECTED = golden.load("golden_logs/expected")
EVERY_VERSION = {
    "log_created.1",
    "namespace_created.1",
    "record_stored.1",
    "record_deleted.1",
    "record_deleted.1+erase",
    "key_set.1",
    "namespace_deleted.1",
    "state_committed.1",
    "recall_measured.1",
    "challenge_judged.1",
    "unknown",
}
"""A line here is never removed: what no build writes any more, each still reads."""


@pytest.fixture(params=sorted(EVERY_VERSION))
def log(request, tmp_path):
    return request.param, Path(shutil.copytree(FOLDER / request.param, tmp_path / "data"))


def types_of(path):
    return [msgspec.msgpack.decode(data)["type"] for frame in frames_of(path) for data in frame]


def test_every_type_of_the_vocabulary_has_a_log_that_holds_it():
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == EVERY_VERSION == set(EXPECTED)
    assert events.known_types() <= EVERY_VERSION
    for name in EVERY_VERSION - {"unknown"}:
        assert name.removesuffix("+erase") in types_of(FOLDER / name)
    assert not any(map(events.is_known, set(types_of(FOLDER / "unknown")) - events.known_types()))


def test_it_is_read_event_by_event_to_the_root_that_it_had(log):
    name, path = log
    replay, entries = Replay(RealDisk(), path), []
    while some := replay.read():
        entries += some
    assert (replay.size, replay.root.hex()) == (EXPECTED[name]["events"], EXPECTED[name]["root"])
    assert replay.verdict().status == 0
    for _, _, data in entries:
        event = events.decode(data)
        if not isinstance(event, events.Unknown):
            assert events.encode(event) == data


def test_it_is_folded_to_the_tables_that_it_had(log):
    """Where the fold has come to mean something else: `python scripts/golden_logs.py --digests`."""
    name, path = log
    assert script.replayed(path) == EXPECTED[name]
    store = Store.open(RealDisk(), RealTables(), path, RealRng(), script.NOW * 2, "test")
    try:
        digest = store.published.state_digest
        store.refold()
        assert store.published.state_digest == digest
    finally:
        store.close(script.NOW * 2)


def test_both_audits_find_it_sound(log):
    name, path = log
    report, other = look(path), independent.audit(path)
    assert (report.status, other.status) == ("sound", "sound")
    assert report.events == other.counts["events"] == EXPECTED[name]["events"]
    assert report.checkpoint == (None if name == "log_created.1" else report.events)
    checked = {part.name: part.checked for part in report.parts}
    assert (checked.get("signatures", 0) > 0) == (name in SIGNED)


SIGNED = {"record_stored.1", "record_deleted.1", "key_set.1", "challenge_judged.1"}


def test_the_script_makes_the_same_bytes(log, tmp_path):
    name, path = log
    script.make(name, tmp_path / "again")
    assert files(tmp_path / "again") == files(path)


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
