"""`engram-node actors`: a table for people, lines for a pipe, JSON for a program."""

from __future__ import annotations

import json

import pytest
from cli.conftest import Ran
from cli.small_memory import SmallMemory, opener_of

from engram.cli import _actors
from engram.cli._shell import run
from engram.cli.node import build


@pytest.fixture
def actors(capsys, monkeypatch):
    monkeypatch.setattr(_actors, "open_target", opener_of(SmallMemory()))
    return lambda *arguments: Ran(run(build(), ["actors", *arguments]), *capsys.readouterr())


def test_a_pipe_gets_a_line_an_actor_a_last_crash_and_a_dead_letter(actors):
    assert actors().out.splitlines() == [
        "store\trunning\t0/1,024\t1,234\t0\t0\t0\t",
        "census\tbacking_off\t3/64\t0\t0\t0\t0\t5/9",
        "last crash\tcensus\tx.Y at z:1\\x1b[2J",
        "dead letter\t2023-11-14T22:13:20Z\tcensus\tCount\tx.Y at z:1",
    ]


def test_json_has_every_field(actors):
    found = json.loads(actors("--json").out)
    assert [actor["name"] for actor in found["actors"]] == ["store", "census"]
    assert found["actors"][1]["applied"] == 7
    assert found["actors"][0]["reacted"] is None
    assert found["dead_letters"][0]["message"] == "Count"
    assert found["position"] == 9


def test_a_terminal_of_80_columns_sees_all_of_it(actors, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    ran = actors()
    for part in (
        "backing_off",
        "1,234",
        "5/9",
        "census: last crash x.Y at z:1\\x1b[2J",
        "2023-11-14T22:13:20Z",
    ):
        assert part in ran.out
    assert "…" not in ran.out


def test_no_node_is_exit_code_3(capsys):
    assert run(build(), ["actors", "--node", "engram://127.0.0.1:1"]) == 3
    assert "start a node" in capsys.readouterr().err
