"""`export` and `import`: what comes out goes in again, with the same CIDs."""

from __future__ import annotations

import io
import json
import sys

import pytest
from cli.conftest import Ran

import engram
from engram.cli.user import run_user
from engram.errors import EngramError

LONG = "The cat sat on the mat, and the dog did not mind. " * 200
ODD = "hello wörld 👩‍👩‍👧 \u2028\x85 \x1b[2J \t end"


@pytest.fixture
def run(capsys):
    """Run `engram` against a data folder."""
    return lambda *arguments: Ran(run_user([*map(str, arguments)]), *capsys.readouterr())


@pytest.fixture
def folder(tmp_path, model_files):
    with engram.open(tmp_path / "old") as memory:
        memory.put(ODD, {"a": [1, None, 2**70, -0.0], "ß": {"x": 1.5}}, key="odd \x1b ключ")
        memory.keys.set("again", memory.put("two keys", key="first").cid)
        memory.put(LONG, {"long": True}, key="doc/long")
        memory.put(LONG + "Another.")
        memory.ingest_embedding([0.1] * 384, {"n": 1})
        gone = memory.put("gone", key="gone").cid
        memory.delete(gone)
        memory.namespaces.create("clips", dim=3, model="clip/b32")
        memory.ingest_embedding([0.1, -1e-40, 3.4e38], {"n": 2}, namespace="clips")
        memory.put("a text too", vector=[1.0, 2.0, 3.0], namespace="clips", key="c")
    return tmp_path / "old"


def held(folder, namespace=None):
    """Give all of a namespace: its memories, its chunks, its keys."""
    with engram.open(folder) as memory:
        records = [record.cid for record in memory.records(namespace=namespace)]
        chunks = {record.cid for record in memory.list(namespace=namespace, limit=1000, chunks=True)}
        return records, chunks, {info.key: info.cid for info in memory.keys.list(namespace=namespace)}


@pytest.mark.parametrize("vectors", [[], ["--vectors"]])
def test_there_and_back_gives_the_same_cids_chunks_and_keys(run, folder, tmp_path, vectors):
    file = tmp_path / "all.jsonl"
    ran = run("export", file, *vectors, "--data", folder)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"6 lines in {file}, ")
    assert [path.name for path in tmp_path.glob("*.part")] == []
    ran = run("import", file, "--data", tmp_path / "new")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("6 lines: ")
    records, chunks, keys = held(folder)
    assert held(tmp_path / "new") == (records, chunks, {key: cid for key, cid in keys.items() if key != "gone"})
    assert len(records) == 5
    assert len(chunks) > 20
    assert run("import", file, "--data", tmp_path / "new").out.startswith("6 lines: 0 new, 6 known already")


def test_a_namespace_of_another_model_is_made_where_it_is_not(run, folder, tmp_path):
    file = tmp_path / "clips.jsonl"
    assert run("export", file, "--namespace", "clips", "--vectors", "--data", folder).code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["model_version"] for line in lines] == ["clip/b32"] * 2
    ran = run("import", file, "--namespace", "clips", "--data", tmp_path / "new")
    assert ran.code == 0
    assert ran.err == "created clips: clip/b32, dim 3\n"
    assert held(tmp_path / "new", "clips") == held(folder, "clips")


def test_its_lines_are_lines_for_ingest_too(run, folder, tmp_path):
    file = tmp_path / "all.jsonl"
    run("export", file, "--data", folder)
    assert run("ingest", "--file", file, "--data", tmp_path / "new").code == 0
    assert held(tmp_path / "new")[0] == held(folder)[0]


def test_lines_of_another_model_are_refused_where_they_do_not_belong(run, folder, tmp_path):
    file = tmp_path / "clips.jsonl"
    run("export", file, "--namespace", "clips", "--vectors", "--data", folder)
    ran = run("import", file, "--data", tmp_path / "new")
    assert ran.code == 1
    assert "error: line 1: model_version: 'clip/b32', and the call is for 'v1'" in ran.err


def test_a_text_without_its_vector_is_left_to_the_new_nodes_model(run, folder):
    out = run("export", "-", "--namespace", "clips", "--data", folder).out
    assert ["vector" in json.loads(line) for line in out.splitlines()] == [True, False]


def test_standard_output_has_the_lines_alone(run, folder, tmp_path, monkeypatch):
    ran = run("export", "--filter", "n = 1", "--data", folder)
    [line] = [json.loads(line) for line in ran.out.splitlines()]
    assert (line["metadata"], len(line["vector"])) == ({"n": 1}, 384)
    assert ran.err.startswith("1 line, ")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ran.out.encode())))
    assert run("import", "-", "--data", tmp_path / "new").code == 0
    assert len(held(tmp_path / "new")[0]) == 1


def test_what_users_stored_does_not_act_on_the_terminal(run, folder):
    assert not {"\x1b", "\x85", "\u2028"} & set(run("export", "--data", folder).out)


def test_bad_lines_are_told_by_number_and_the_others_are_kept(run, model_files, tmp_path):
    (tmp_path / "f").write_bytes(b'\nnonsense\n{"text": "one"}\n\n{"text": "\xff"}\n{"txt": 1}\n{"text": "two"}')
    ran = run("import", tmp_path / "f", "--data", tmp_path / "new")
    assert ran.code == 1
    assert [line.split(":")[1] for line in ran.err.splitlines()] == [" line 2", " line 5", " line 6"]
    assert ran.out.startswith("5 lines: 2 new, 0 known already, 3 errors, ")


def test_a_file_stays_as_it_was_until_the_new_one_is_whole(run, folder, tmp_path, monkeypatch):
    file = tmp_path / "all.jsonl"
    file.write_text("mine")
    for error, code in ((EngramError("broken"), 1), (KeyboardInterrupt(), 130), (OSError(28, "No space left"), 1)):

        def broken(*_, error=error, **__):
            yield from ()
            raise error

        monkeypatch.setattr("engram.sdk.Api.records", broken)
        ran = run("export", file, "--data", folder)
        assert (ran.code, ran.out) == (code, "")
        assert file.read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "old"]


def test_a_link_is_written_through_and_a_folder_refused(run, folder, tmp_path):
    (tmp_path / "link").symlink_to("real")
    assert run("export", tmp_path / "link", "--data", folder).code == 0
    assert (tmp_path / "link").is_symlink()
    assert len((tmp_path / "real").read_text().splitlines()) == 6
    ran = run("export", tmp_path, "--data", folder)
    assert ran.code == 2
    assert "is a folder" in ran.err
    assert run("export", tmp_path / "no" / "file", "--data", folder).code == 1
    assert run("import", tmp_path / "none", "--data", folder).code == 2


def test_json_ends_with_a_summary(run, folder, tmp_path):
    file = tmp_path / "all.jsonl"
    summary = json.loads(run("export", file, "--data", folder, "--json").out)["summary"]
    assert (summary["file"], summary["lines"]) == (str(file), 6)
    *each, last = map(json.loads, run("import", file, "--data", folder, "--json").out.splitlines())
    assert [line["cid"] for line in each] == [
        each[0]["cid"],
        each[1]["cid"],
        each[1]["cid"],
        *[e["cid"] for e in each[3:]],
    ]
    assert last["summary"]["known"] == 6
