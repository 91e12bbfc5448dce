"""`engram-node replay`: what it prints, where it stops, what it says of a log that is not sound, and how it follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import msgspec
import pytest
import small_folder
from cli.conftest import Ran

from engram import events
from engram.cli import _replay
from engram.cli._shell import run
from engram.cli.node import build
from engram.events import Log
from engram.runtime import RealDisk

STRANGE = {"type": "dream_dreamt.1", "who": b"\1\2", "odd": "a\x1b[2J", "much": [1.5, None, {"deep": b"\xff"}]}


@pytest.fixture
def replay(capsys, monkeypatch):
    monkeypatch.setattr(_replay, "POLL_S", 0.0)

    def call(*arguments):
        code = run(build(), ["replay", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def folder(tmp_path):
    """A data folder of 12 events, then one of a type unknown here."""
    path = tmp_path / "data"
    small_folder.make(path)
    log = Log.open(RealDisk(), path / "events")
    log.append([msgspec.msgpack.encode(STRANGE)], 0)
    log.close()
    return path


def segment(folder):
    return folder / "events" / events.segment_name(0)


def test_every_event_is_a_line_and_the_last_line_has_the_root(replay, folder):
    log = Log.open(RealDisk(), folder / "events")
    ran = replay(folder)
    *lines, last = ran.out.splitlines()
    assert (ran.code, ran.err, len(lines)) == (0, "", 13)
    assert [int(line.split()[0]) for line in lines] == list(range(13))
    assert lines[0].split()[1:3] == ["2023-11-14T22:13:20.000000Z", "log_created.1"]
    assert "cid=v1::" in lines[2]
    assert f"ns={bytes(32).hex()}" in lines[2]
    assert lines[12].endswith("who=0102  odd=a\\x1b[2J  much=[1.5 null {deep=ff}]  of a type unknown here")
    assert last == f"# 13 events proved, root {log.root.hex()}, sound"


def test_json_has_one_object_a_line_with_every_field(replay, folder):
    *lines, end = map(json.loads, replay(folder, "--json").out.splitlines())
    assert [line["position"] for line in lines] == list(range(13))
    assert lines[12]["event"] == STRANGE | {"who": "0102", "much": [1.5, None, {"deep": "ff"}]}
    assert lines[2]["event"]["payload"] == events.decode(dict(_read(folder))[2]).payload.hex()
    assert (end["end"]["events"], end["end"]["state"]) == (13, "sound")


def _read(folder):
    return Log.open(RealDisk(), folder / "events").read()


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        (["--until", "3"], [0, 1, 2]),
        (["--until", "0"], []),
        (["--until", "99", "--events", "record_deleted"], [10]),
        (["--events", "record_deleted.1", "state_committed"], [9, 10, 11]),
        (["--events", "dream_dreamt"], [12]),
        (["--events", "record"], []),
    ],
)
def test_events_are_chosen_by_position_and_type(replay, folder, arguments, positions):
    ran = replay(folder, "--json", *arguments)
    *lines, _ = map(json.loads, ran.out.splitlines())
    assert ran.code == 0
    assert [line["position"] for line in lines] == positions


def test_a_type_that_never_came_is_said(replay, folder):
    ran = replay(folder, "--events", "record_store")
    assert (ran.code, ran.err) == (0, "error: no event here is of type record_store\n")


def test_a_torn_tail_is_said_and_is_no_failure(replay, folder):
    path = segment(folder)
    data = path.read_bytes()
    last = data.rindex(b"EGL1")
    path.write_bytes(data[: last + 80])
    ran = replay(folder)
    assert ran.code == 0
    assert f", torn in {path.name} at offset {last}: the last write was not finished" in ran.out
    assert path.stat().st_size == last + 80


def test_damage_is_named_behind_the_events_that_are_trustworthy(replay, folder):
    path = segment(folder)
    data = bytearray(path.read_bytes())
    second = data.index(b"EGL1", 300)
    data[second + 70] ^= 1
    path.write_bytes(data)
    ran = replay(folder)
    *lines, last = ran.out.splitlines()
    assert ran.code == 1
    assert len(lines) == int(last.split()[1]) > 0
    assert f"damaged in {path.name} at offset {second}: an unsound frame" in last
    assert f"{path}, offset {second}: an unsound frame" in ran.err
    assert json.loads(replay(folder, "--json").out.splitlines()[-1])["end"]["state"] == "damaged"


def test_an_empty_log_has_no_events(replay, tmp_path):
    (tmp_path / "events").mkdir()
    (tmp_path / "FORMAT").write_text("{}")
    ran = replay(tmp_path)
    assert (ran.code, ran.out) == (0, f"# 0 events proved, root {events._log._core.LogState().root.hex()}, sound\n")


@pytest.mark.parametrize("make", [None, "folder", "file"])
def test_a_place_without_a_memory_is_refused(replay, tmp_path, make):
    path = tmp_path / "there"
    if make == "folder":
        path.mkdir()
    elif make == "file":
        path.write_text("hello")
    ran = replay(path)
    assert (ran.code, ran.out) == (3, "")
    assert f"no memory in {path}" in ran.err


def test_a_position_below_zero_is_refused(replay, folder):
    assert replay(folder, "--until", "-1").code == 2


def test_a_terminal_sees_hashes_cut_and_types_in_colour(replay, folder, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    first = replay(folder).out.splitlines()[0]
    assert "\x1b[36mlog_created.1" in first
    assert first.endswith("03a107bff3ce…")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in replay(folder).out


def test_following_shows_what_a_writer_appends_until_it_is_interrupted(folder):
    code = "from engram.cli.node import main; main()"
    command = [sys.executable, "-c", code, "replay", folder, "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as child:
        seen = [json.loads(child.stdout.readline())["position"] for _ in range(13)]
        log = Log.open(RealDisk(), folder / "events", segment_bytes=4096)
        for number in range(40):
            log.append([msgspec.msgpack.encode({"type": "example.1", "number": number, "pad": bytes(400)})], 0)
        seen += [json.loads(child.stdout.readline())["position"] for _ in range(40)]
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    assert seen == list(range(53))
    assert len(list((folder / "events").glob("*.log"))) > 2
    assert (child.returncode, errors) == (130, "")
