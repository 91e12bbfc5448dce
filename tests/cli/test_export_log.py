"""`engram-node export`, as it is run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import small_folder
from cli.conftest import Ran
from tiles_reader import of_folder

from engram.cli._shell import run
from engram.cli.node import build


@pytest.fixture
def export(capsys):
    def call(*arguments):
        code = run(build(), ["export", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def folder(tmp_path):
    small_folder.make(tmp_path / "data")
    return tmp_path / "data"


def test_an_export_is_read_by_others_and_says_what_it_is(export, folder, tmp_path):
    ran = export(folder, tmp_path / "out")
    reader = of_folder(tmp_path / "out")
    size, root = reader.checkpoint()
    assert len(reader.check()) == size == 12
    first, second = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert first == f"{tmp_path / 'out'}: 12 events in 4 tiles, 2 checkpoints, root {root.hex()}"
    assert second == f"6 files written; verify with {reader.get('vkey').decode().strip()}"


def test_done_again_it_writes_nothing_and_mends_what_is_wrong(export, folder, tmp_path):
    export(folder, tmp_path / "out")
    assert json.loads(export(folder, tmp_path / "out", "--json").out)["written"] == 0
    (tmp_path / "out" / "tile" / "0" / "000.p" / "12").write_bytes(b"")
    assert "1 file written, 1 of them over wrong ones; verify" in export(folder, tmp_path / "out").out
    of_folder(tmp_path / "out").check()


def test_json_has_what_was_exported(export, folder, tmp_path):
    ran = export(folder, tmp_path / "out", "--json")
    told = json.loads(ran.out)
    reader = of_folder(tmp_path / "out")
    assert told["size"], told["root"] == (12, reader.checkpoint()[1].hex())
    assert set(told) == {"out", "size", "root", "vkey", "checkpoints", "tiles", "written", "mended", "seconds"}


def test_no_text_is_in_it(export, folder, tmp_path):
    export(folder, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"text " not in path.read_bytes().replace(b"text/plain", b"")


def test_a_folder_that_is_none_is_refused(export, folder, tmp_path):
    ran = export(tmp_path / "nowhere", tmp_path / "out")
    assert (ran.code, ran.out) == (3, "")
    assert "no memory in" in ran.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    ran = export(folder, tmp_path / "mine")
    assert (ran.code, ran.out) == (3, "")
    assert "'letter' and no export" in ran.err
    (tmp_path / "file").write_text("")
    ran = export(folder, tmp_path / "file")
    assert ran.code in {1, 3}
    assert "Traceback" not in ran.err


def test_a_damaged_log_is_told_with_its_place(export, folder, tmp_path):
    segment = next((folder / "events").glob("*.log"))
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    ran = export(folder, tmp_path / "out", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "offset" in json.loads(ran.err)["error"]["message"]
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_names_of_any_kind_are_taken(export, folder, tmp_path):
    assert export(folder, tmp_path / "out of ï\x1b[2J").code == 0
    assert "\x1b" not in export(folder, tmp_path / "out of ï\x1b[2J").out


def test_it_reads_beside_a_process_that_has_the_folder_open(folder, tmp_path):
    hold = "import engram, sys\nwith engram.open(sys.argv[1]):\n    print('open', flush=True)\n    sys.stdin.read()"
    held = subprocess.Popen([sys.executable, "-c", hold, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert held.stdout.readline() == b"open\n"
        done = subprocess.run(
            [sys.executable, "-c", "from engram.cli.node import main; main()", "export", folder, tmp_path / "out"],
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert len(of_folder(tmp_path / "out").check()) == 12
    finally:
        held.communicate(b"")
