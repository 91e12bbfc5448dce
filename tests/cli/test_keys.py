"""`key`, `ingest --key`, `events` and `namespace delete`, against a data folder."""

from __future__ import annotations

import io
import json
import sys

import pytest
from cli.conftest import Ran

import engram
from engram.cli.user import run_user


@pytest.fixture
def run(capsys, tmp_path):
    """Run `engram` against a data folder of the test's own."""

    def run(*arguments):
        return Ran(run_user([*arguments, "--data", str(tmp_path / "data")]), *capsys.readouterr())

    return run


@pytest.fixture
def cids(tmp_path, model_files):
    with engram.open(tmp_path / "data") as memory:
        memory.namespaces.create("clips", dim=2, model="clip/b32")
        memory.ingest_embedding([0.1, 0.2], namespace="clips")
        return [memory.ingest_embedding([0.1 * n] * 384, {"n": n}) for n in (1, 2)]


# -- key --------------------------------------------------------------------------------------------------------------


def test_a_key_names_one_memory_after_another(run, cids):
    first, second = cids
    assert run("key", "set", "doc", first) == (0, f"doc names {first}\n", "")
    assert run("key", "set", "doc", first).out == f"doc named this already: {first}\n"
    assert run("key", "set", "doc", second, "--expect", first).code == 0
    assert run("key", "get", "doc").out.splitlines()[2] == f"cid\t{second}"
    document = json.loads(run("key", "get", "doc", "--vector", "--json").out)
    assert document["record"]["metadata"] == {"n": 2}
    assert len(document["record"]["vector"]) == 384
    assert run("key", "delete", "doc") == (0, "doc names nothing more\n", "")
    history = [line.split("\t") for line in run("key", "history", "doc").out.splitlines()]
    assert [line[2] for line in history] == [first, second, "-"]
    versions = json.loads(run("key", "history", "doc", "--json").out)["versions"]
    assert [version["cid"] for version in versions] == [first, second, None]


def test_a_key_that_names_something_else_by_now_is_left_alone(run, cids):
    first, second = cids
    assert run("key", "set", "doc", first, "--expect", "none").code == 0
    ran = run("key", "set", "doc", second, "--expect", "none")
    assert (ran.code, ran.out) == (1, "")
    assert f"the key 'doc' names {first}" in ran.err
    error = json.loads(run("key", "delete", "doc", "--expect", second, "--json").err)["error"]
    assert (error["code"], error["current"]) == ("conflict", first)
    assert run("key", "get", "doc").out.splitlines()[2] == f"cid\t{first}"
    assert run("key", "get", "dog").code == 1


def test_keys_are_listed_by_prefix_in_order(run, cids, monkeypatch):
    for key in ("b/2", "a", "b/1", "b/\x1b[2J"):
        assert run("key", "set", key, cids[0]).code == 0
    assert [line.split("\t")[0] for line in run("key", "list").out.splitlines()] == ["a", "b/\\x1b[2J", "b/1", "b/2"]
    keys = json.loads(run("key", "list", "--prefix", "b/", "--limit", "2", "--json").out)["keys"]
    assert [info["key"] for info in keys] == ["b/\x1b[2J", "b/1"]
    assert run("key", "list", "--prefix", "c") == (0, "", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in run("key", "list").out
    assert "no keys here" in run("key", "list", "--prefix", "c").out
    head, _, row = run("key", "history", "a").out.splitlines()[:3]
    assert head.split() == ["position", "named", "since", "by"]
    assert row.split()[1].startswith(cids[0][:16])


def test_ingest_names_its_text(run, cids):
    cid = run("ingest", "a draft", "--key", "doc", "--expect", "none").out.strip()
    assert run("key", "get", "doc").out.splitlines()[2] == f"cid\t{cid}"
    ran = run("ingest", "another", "--key", "doc", "--expect", cids[0])
    assert ran.code == 1
    assert cid in ran.err
    assert run("ingest", "x", "--expect", "none").code == 2
    assert run("ingest", "--file", __file__, "--key", "doc").code == 2


@pytest.mark.parametrize("arguments", [("set", "k\udcff", "c"), ("get", "k\udcff"), ("list", "--prefix", "k\udcff")])
def test_a_key_that_is_not_utf8_is_refused(run, cids, arguments):
    ran = run("key", *arguments)
    assert ran.code == 2
    assert "byte 0xff after 1 characters" in ran.err


# -- events -----------------------------------------------------------------------------------------------------------


def test_events_are_lines(run, cids, monkeypatch):
    run("key", "set", "doc", cids[0])
    stored = [line.split("\t") for line in run("events", "--types", "record_stored").out.splitlines()]
    assert [line[2:5] for line in stored][1:] == [["record_stored.1", "public", cid] for cid in cids]
    last = [json.loads(line) for line in run("events", "--json").out.splitlines()][-2:]
    assert {event["type"] for event in last} <= {"key_set.1", "state_committed.1"}
    since = last[0]["position"]
    assert json.loads(run("events", "--json", "--since", str(since)).out.splitlines()[0])["position"] == since
    [event] = run("events", "--types", "key_set", "--namespace", "public").out.splitlines()
    assert event.endswith(f"\t{cids[0]}\tdoc")
    assert run("events", "--namespace", "clips", "--types", "key_set").out == ""
    ran = run("events", "--types", "key_sett")
    assert (ran.code, ran.out) == (1, "")
    assert "did you mean key_set?" in ran.err
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    assert f"Z  key_set            key doc  {cids[0][:16]}…" in run("events", "--types", "key_set").out
    monkeypatch.setenv("COLUMNS", "40")
    assert {len(line) for line in run("events").out.splitlines()} == {40}


# -- namespace delete -------------------------------------------------------------------------------------------------


def test_where_nobody_can_be_asked_yes_must_be_said(run, cids):
    ran = run("namespace", "delete", "clips")
    assert (ran.code, ran.out) == (2, "")
    assert "clips has 1 record, and they would be lost; --yes says that they may" in ran.err
    assert run("namespace", "delete", "clips", "--json").code == 2
    assert run("namespace", "delete", "clips", "--yes") == (0, "deleted clips and 1 record in it\n", "")
    ran = run("namespace", "delete", "clips", "--yes")
    assert ran.code == 1
    assert "clips" in ran.err
    assert run("namespace", "delete", "public", "--yes").code == 1


@pytest.mark.parametrize(("typed", "code"), [("clips\n", 0), ("yes\n", 1), ("", 1), ("clip", 1)])
def test_on_a_terminal_its_name_is_typed(run, cids, monkeypatch, typed, code):
    typist = io.StringIO(typed)
    for stream in (typist, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typist)
    ran = run("namespace", "delete", "clips")
    assert ran.code == code
    assert "clips has 1 record, and they would be lost. Delete it? Type its name: " in ran.err
    assert ("clips" in run("namespace", "list").out) == (code == 1)
