"""`status --watch`: looks at a node again and again."""

from __future__ import annotations

import json
import sys

import pytest

from engram.cli import _status as status
from engram.errors import Unavailable


@pytest.fixture
def looks(memory, monkeypatch):
    """Have three looks: a memory comes before the second, no node answers the third; then Ctrl-C."""
    now, slept = [100.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds
        if len(slept) == 1:
            memory.ingest("a text")
        if len(slept) == 2:
            monkeypatch.setattr(memory, "_answer", gone)
        if len(slept) == 3:
            raise KeyboardInterrupt

    def gone():
        raise Unavailable("no node answers\x1b[2J", field="url")

    monkeypatch.setattr(status.time, "sleep", sleep)
    monkeypatch.setattr(status.time, "monotonic", lambda: now[0])
    return slept


def test_in_a_pipe_a_look_is_a_line(engram, looks):
    ran = engram("status", "--watch", "0.5")
    assert (ran.code, ran.err) == (0, "")
    first, second, third = (line.split("\t")[1:] for line in ran.out.splitlines())
    assert first == ["0", "1", "0.0", "0"]
    assert second == ["1", "2", "2.0", "0"]
    assert third == ["no answer", "url: no node answers\\x1b[2J"]
    assert looks == [0.5, 0.5, 0.5]


def test_as_json_a_look_is_an_object_a_line(engram, looks):
    ran = engram("status", "-w", "--json")
    assert ran.code == 0
    first, second, third = map(json.loads, ran.out.splitlines())
    assert (first["records"], first["records_s"]) == (0, 0)
    assert (second["records"], second["records_s"], second["events_s"]) == (1, 0.5, 0.5)
    assert third["error"] == {"code": "unavailable", "message": "no node answers\x1b[2J", "field": "url"}
    assert looks == [2.0] * 3


def test_on_a_terminal_it_is_drawn_in_one_place(engram, looks, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    ran = engram("status", "--watch", "1")
    assert ran.code == 0
    assert "1.0 records/s (1.0 since the watch began), 1.0 events/s" in ran.out
    assert "no node answers\\x1b[2J" in ran.out
    assert "\x1b[1A" in ran.out  # up, to draw over what was there


def test_the_first_look_must_succeed(engram, memory, monkeypatch):
    monkeypatch.setattr(memory, "_answer", lambda: (_ for _ in ()).throw(Unavailable("no node answers")))
    assert engram("status", "--watch").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["0"], "0.1 to 3600"), (["nan"], "0.1 to 3600"), (["1", "2"], "one number"), (["x"], "float")],
)
def test_seconds_that_will_not_do_are_refused(engram, arguments, said):
    ran = engram("status", "--watch", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_a_folder_is_not_watched(engram):
    ran = engram("status", "--watch", "--data", "x")
    assert ran.code == 2
    assert "--watch looks at a node" in ran.err
