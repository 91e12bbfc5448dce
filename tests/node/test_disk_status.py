from __future__ import annotations

import sqlite3

import pytest
import structlog.testing

import engram
from engram.cli._results import status_rows
from engram.errors import LogCorrupt
from engram.events import Log
from engram.node import Config, real_world, running
from engram.node._disk_status import scrub_status
from engram.runtime import RealDisk
from engram.store import Finding, Pass, Place, Scrub, Stepped
from engram.wire import Status

FINDING = Finding("bodies", "bodies/00000000000000000001.seg", 4096, 128, "the record's id is not its CID", 10**18)


def test_no_scrub_is_off():
    assert scrub_status(None).state == "off"


def test_a_folder_that_was_never_read_whole_says_so():
    assert scrub_status(Place()).state == "waiting"
    assert scrub_status(Place()).last_pass_unix_ms == 0


def test_findings_are_counted_and_a_hundred_are_shown():
    place = Place(findings=[FINDING] * 250, last=Pass(10**18, 10**18 + 10**15, 10**9), part="log", size_bytes=77)
    status = scrub_status(place)
    assert (status.state, status.checked_bytes, status.last_pass_bytes) == ("log", 77, 10**9)
    assert (status.damages, len(status.damage)) == (250, 100)
    assert status.damage[0].found_unix_ms == 10**12
    assert (status.damage[0].file, status.damage[0].offset) == (FINDING.file, 4096)


async def test_a_node_says_what_it_knows_of_its_disk(tmp_path):
    async with running(Config(data_dir=tmp_path / "data"), real_world(), embedded=True) as service:
        status = await service.call(Status())
        assert status.scrub.state == "waiting"
        rows = dict(status_rows(status))
    assert rows["disk"] == "not read whole yet, nothing wrong"
    async with running(Config(data_dir=tmp_path / "data", scrub_mb_s=0), real_world(), embedded=True) as service:
        assert (await service.call(Status())).scrub.state == "off"


async def test_what_opening_made_of_a_folder_is_said_in_the_log(tmp_path):
    """An older build's tables; and events of a newer one's, which a fold of this build passes over."""
    config = Config(data_dir=tmp_path / "data")
    async with running(config, real_world(), embedded=True):
        pass
    events = Log.open(RealDisk(), tmp_path / "data" / "events")
    events.append([b"\x81\xa4type\xacfrom_later.7"], 1)
    events.close()
    tables = sqlite3.connect(tmp_path / "data" / "state.db", isolation_level=None)
    tables.execute("UPDATE projection SET fold_version = fold_version - 1")
    tables.close()
    with structlog.testing.capture_logs() as said:
        async with running(config, real_world(), embedded=True):
            pass
    named = {entry["event"]: entry for entry in said}
    assert named["tables_refolded"]["log_level"] == "info"
    assert (named["unknown_events_skipped"]["log_level"], named["unknown_events_skipped"]["types"]) == (
        "warning",
        ["from_later.7"],
    )
    assert "format_upgraded" not in named


async def test_the_status_shows_each_damage(tmp_path):
    async with running(Config(data_dir=tmp_path / "data"), real_world(), embedded=True) as service:
        place = Place(findings=[FINDING], last=Pass(0, 1_763_755_200 * 10**9, 1 << 30))
        service._scrub.place = place
        rows = status_rows(await service.call(Status()))
    assert ("disk", "read whole 2025-11-21 20:00 UTC (1.0 GiB), 1 damaged") in rows
    assert ("damage", f"{FINDING.file}, offset 4,096: {FINDING.reason}") in rows


async def test_damage_in_the_log_closes_an_embedded_memory(tmp_path, monkeypatch):
    """Not even reads are answered from a log that is known to be damaged."""
    monkeypatch.setattr("engram.actors._scrubber.IDLE_S", 0.0)
    found = Finding("log", "events/00000000000000000000.log", 64, 0, "an unsound frame", 10**18)
    monkeypatch.setattr(Scrub, "step", lambda *_: Stepped(findings=(found,)))
    memory = engram.open(tmp_path / "data")
    memory._home._thread.join(10)
    with pytest.raises(LogCorrupt, match="offset 64: an unsound frame"):
        memory.status()
    memory.close()
