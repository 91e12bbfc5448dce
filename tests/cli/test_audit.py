"""`engram-node audit`: its report in three forms, its exit codes, and what it cannot audit."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import rich_folder

import engram
from engram.cli import _audit_progress
from engram.cli._audit_report import _WHAT, as_table
from engram.cli._shell import run
from engram.cli.node import build
from engram.identity import NodeKey

OWN = NodeKey(bytes(range(32))).address


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def audited(capsys):
    def call(*arguments):
        code = run(build(), ["audit", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return rich_folder.make(tmp_path_factory.mktemp("rich") / "data")


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "data"))


def test_a_sound_folder_is_code_0_and_says_what_holds(audited, folder):
    ran = audited(folder)
    assert (ran.code, ran.err) == (0, "")
    first, *rest = ran.out.splitlines()
    assert re.fullmatch(rf"{re.escape(str(folder))}: sound \(.*\)", first)
    assert "  log: 28 of 28 sound, 6.6 KiB" in [re.sub(r"[\d.]+ KiB", "6.6 KiB", r) for r in rest]
    assert f"            of node {OWN}" in rest
    assert "            signed up to event 27, with the state tries there" in rest
    assert rest[-1] == "            17 of 17 bodies"


def test_json_is_one_object_with_every_field(audited, folder):
    ran = audited(folder, "--json")
    report = json.loads(ran.out)
    assert set(report) == {
        "folder", "status", "node_key", "events", "root", "time_unix_ns", "checkpoint", "parts", "findings",
        "findings_left_out", "seconds",
    }  # fmt: skip
    assert (report["status"], report["node_key"], report["checkpoint"]) == ("sound", OWN, report["events"])
    assert {part["name"] for part in report["parts"]} <= set(_WHAT)
    assert set(report["parts"][0]) == {"name", "checked", "sound", "size_bytes", "note"}


def test_a_finding_is_code_1_and_names_file_and_offset(audited, folder):
    last = max((folder / "events").iterdir())
    rich_folder.flip(last, 100)
    ran = audited(folder)
    assert ran.code == 1
    assert f"damaged: events/{last.name}, offset 0: " in ran.out
    assert "what holds: events 0 to" in ran.out
    [finding, *_] = [one for one in json.loads(audited(folder, "--json").out)["findings"] if one["part"] == "log"]
    assert (finding["file"], finding["offset"]) == (f"events/{last.name}", 0)
    assert set(finding) == {"part", "status", "file", "offset", "position", "reason"}


def test_more_findings_than_are_shown_are_counted(audited, folder):
    for number in range(1000, 1030):
        (folder / "checkpoints" / f"{number:020}").write_bytes(b"x")
    assert "and 10 more; --json has 30" in audited(folder).out


def test_a_checkpoint_that_was_kept_is_held_against_the_log(audited, folder, tmp_path):
    kept = tmp_path / "kept"
    shutil.copy(max((folder / "checkpoints").iterdir()), kept)
    assert audited(folder, "--checkpoint", kept, "--checkpoint", kept).code == 0
    shutil.rmtree(folder / "checkpoints")
    (folder / "state.db").unlink()
    rich_folder.forge(folder_of_one(folder), lambda frames: frames[:-2], sign=False)
    ran = audited(folder, "--checkpoint", kept)
    assert ran.code == 1
    assert f"{kept}, offset 0: it is of 28 events, and the log has 24: the log was rolled back" in ran.out
    assert audited(folder, "--checkpoint", tmp_path / "none").code == 2
    os.mkfifo(tmp_path / "pipe")
    assert audited(folder, "--checkpoint", tmp_path / "pipe").code == 2


def folder_of_one(folder):
    (folder / "checkpoints").mkdir()
    return folder


def test_the_node_key_may_be_given(audited, folder):
    assert audited(folder, "--node-key", OWN).code == 0
    other = audited(folder, "--node-key", NodeKey(bytes(32)).address)
    assert (other.code, "the log is of" in other.out) == (1, True)
    wrong = audited(folder, "--node-key", "5Nobody")
    assert (wrong.code, "--node-key: not an ss58 address" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (str, "No such file"),
        (lambda path: path.mkdir(), "is not a data folder: it has no FORMAT file"),
        (os.mkfifo, "neither a folder nor a file"),
        (lambda path: path.write_bytes(b"junk"), "is not a packed memory"),
        (lambda path: path.symlink_to(path), "Too many levels"),
    ],
)
def test_what_is_no_data_folder_is_code_3(audited, tmp_path, make, said):
    make(tmp_path / "it")
    ran = audited(tmp_path / "it")
    assert (ran.code, ran.out) == (3, "")
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert json.loads(audited(tmp_path / "it", "--json").err)["error"]["code"] == "unreachable"


def test_a_memory_in_one_file_is_audited_packed_and_left_as_it_is(audited, tmp_path):
    file = tmp_path / "one.engram"
    with engram.open(file) as memory:
        memory.namespaces.create("notes", dim=4, model="m/1")
        memory.put(vector=[1, 2, 3, 4], namespace="notes")
        while_open = audited(file)
    before = file.read_bytes()
    ran = audited(file)
    assert (while_open.code, ran.code) == (0, 0)
    assert f"{file}: sound" in ran.out
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    rich_folder.flip(file, 5000)
    assert audited(file).code == 3


def test_a_terminal_gets_a_table_and_bars(made, monkeypatch):
    monkeypatch.setattr(_audit_progress, "_PATIENCE_S", 0)
    parent, child = pty.openpty()
    with (
        os.fdopen(child, "w") as terminal,
        contextlib.redirect_stderr(terminal),
        contextlib.redirect_stdout(terminal),
    ):
        assert run(build(), ["audit", str(made)]) == 0
    os.set_blocking(parent, False)
    out = b""
    with contextlib.suppress(BlockingIOError, OSError):
        while some := os.read(parent, 1 << 16):
            out += some
    os.close(parent)
    drawn = out.decode()
    for words in ("proving the log", "proving the bodies", "folding the events", "checked", "what holds"):
        assert words in drawn


def test_the_table_has_a_row_a_part_and_the_findings_behind_it(folder):
    rich_folder.flip(max((folder / "bodies").iterdir()), 100)
    drawn = as_table(rich_folder.look(folder), folder, 0.5)
    assert "damaged (500 ms)" in drawn
    assert re.search(r"bodies +17 +16 +\d", drawn)
    assert "findings:" in drawn


def test_names_that_act_on_a_terminal_are_escaped(folder, tmp_path):
    strange = tmp_path / "a\x1b[2Jb"
    folder.rename(strange)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(build(), ["audit", str(strange)])
    assert "\x1b" not in out.getvalue()
    assert "a\\x1b[2Jb: sound" in out.getvalue()
