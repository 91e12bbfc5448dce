"""The edge, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTING = """
import sys
sys.path.insert(0, "tests")
from cli.small_memory import SmallMemory, opener_of
from engram.cli.user import run_user
memory = SmallMemory()
for number in range(20_000):
    memory.ingest(f"text {number}")
sys.exit(run_user(["list", "--limit", "20000"], opener_of(memory)))
"""
SHORT = LISTING.replace("20_000", "1")
HELP = 'import sys; sys.argv[1:] = ["--help"]; from engram.cli.user import main; main()'
TAUGHT = """
import contextlib, io, sys
from engram.cli import node, user
from engram.cli._shell import run
from engram.cli._target import open_target
program = {"engram": lambda: user.build(open_target), "engram-node": node.build}[sys.argv[1]]()
with contextlib.redirect_stdout(io.StringIO()):
    assert run(program, sys.argv[2:]) == 0
heavy = {"msgspec", "sqlite3", "trio", "ssl", "cryptography", "structlog", "tomllib"}
print(sorted((heavy | {"engram.record", "engram.node", "engram.sdk", "engram.wire"}) & set(sys.modules)))
"""
USER = "from engram.cli.user import main; main()"
LATIN = """
import sys
from cyclopts import App
from engram.cli._shell import run, say
app = App()
app.default(lambda: say("ü 日本"))
sys.exit(run(app, []))
"""
LOADED = """
import sys
sys.path.insert(0, "tests")
from cli.small_memory import SmallMemory, opener_of
from engram.cli.user import run_user
assert run_user(["query", "x"], opener_of(SmallMemory())) == 0
heavy = {"rich", "trio", "numpy", "cryptography", "structlog", "asyncio", "tomllib", "importlib.metadata"}
print(sorted(heavy & set(sys.modules)))
"""


def test_a_node_whose_folder_is_no_memory_exits_as_the_help_says(tmp_path):
    (tmp_path / "FORMAT").write_text("of something else")
    ran = subprocess.run(
        [sys.executable, "-c", "from engram.cli.node import main; main()", "--data", tmp_path, "--port", "0"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 3, ran.stderr
    assert ran.stderr.startswith("error: ")


@pytest.mark.parametrize("columns", ["0", "00", "1", "2", "3", "-1", "x", "٣"])
def test_a_terminal_of_hardly_any_columns_gets_its_help(columns):
    """A help text of two columns or none never came to its end, and took all the memory there was."""
    ran = subprocess.run(
        [sys.executable, "-c", HELP],
        check=False,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": columns},
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 0
    assert b"ingest" in ran.stdout


def test_a_reader_that_leaves_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-c", LISTING], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("code", [SHORT, HELP])
def test_a_reader_that_was_never_there_is_no_error(code):
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, env=buffered, check=False
    )
    os.close(writer)
    assert ran.stderr == b""
    assert ran.returncode != 0


def test_a_query_in_a_pipe_loads_nothing_heavy():
    ran = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    ["engram --help", "engram query --help", "engram key set --help", "engram export --help", "engram-node --help",
     "engram-node doctor --help", "engram-node replay --help"],
)  # fmt: skip
def test_help_loads_nothing_that_only_a_call_needs(command):
    ran = subprocess.run(
        [sys.executable, "-c", TAUGHT, *command.split()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_output_that_the_encoding_lacks_is_escaped():
    ran = subprocess.run(
        [sys.executable, "-c", LATIN],
        cwd=ROOT,
        capture_output=True,
        check=True,
        env={"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT)},
    )
    assert ran.stdout == b"\xfc \\u65e5\\u672c\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("--help >/dev/full", 1, b"error: No space left on device\n"),
        ("--help >/dev/full 2>/dev/full", 1, b""),
        ("no-such-command 2>/dev/full", 2, b""),
    ],
)
def test_full_disks_under_the_streams_are_no_traceback(arguments, code, said):
    """The interpreter's own last flush failed, and ended in a traceback and the exit code 120."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = ["/bin/sh", "-c", f'"$@" {arguments}', "sh", sys.executable, "-c", USER]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, env=buffered, check=False)
    assert (ran.returncode, ran.stderr) == (code, said)
