"""What the command line says of long texts: their chunks, and where in them a query found something."""

from __future__ import annotations

import json
import sys

import pytest

from engram.cli import _results as results
from engram.wire import Chunk, Hit

LONG = "one two three four five six seven eight nine ten eleven twelve"


@pytest.fixture
def long(memory):
    return memory.ingest(LONG, {"source": "numbers", "engram.splitter": "split/1"})


def test_ingest_prints_the_cid_alone_in_a_pipe(engram, memory):
    ran = engram("ingest", LONG)
    assert ran == (0, f"{next(iter(memory.records))}\n", "")


def test_ingest_tells_a_terminal_of_the_chunks(engram, memory, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for said in ("(4 chunks, 12 tokens)\n", "(4 chunks)\n"):
        ran = engram("ingest", LONG)
        assert (ran.code, ran.err) == (0, said)
    assert engram("ingest", "short").err == ""


def test_ingest_json_says_tokens_and_chunks(engram, memory, tmp_path):
    assert json.loads(engram("ingest", LONG, "--json").out) == {
        "cid": next(iter(memory.records)),
        "tokens": 12,
        "chunks": 4,
    }
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"text": LONG}) + '\n{"text": "a cat"}\n')
    lines = engram("ingest", "--file", str(tmp_path / "corpus.jsonl"), "--json").out.splitlines()
    assert [(line["tokens"], line["chunks"]) for line in map(json.loads, lines[:2])] == [(None, 4), (2, 0)]


def test_on_long_is_passed_on_and_checked(engram, memory, tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"text": "a cat"}\n')
    engram("ingest", "a text", "--on-long", "reject")
    engram("ingest", "--file", str(tmp_path / "corpus.jsonl"), "--on-long", "chunk")
    engram("ingest", "a text")
    assert memory.on_long == ["reject", "chunk", None]
    ran = engram("ingest", "a text", "--on-long", "cut")
    assert ran.code == 2
    assert "cut" in ran.err


def test_query_gives_the_chunks_text_and_its_place(engram, long):
    [hit] = json.loads(engram("query", "twelve", "--json").out)["hits"]
    start, end = hit["chunk"]["span"]
    assert (hit["cid"], hit["text"]) == (long, LONG[start:end])
    assert engram("query", "twelve").out.split("\t")[3] == "ten eleven twelve\n"


def test_a_terminal_sees_where_in_the_text_it_was_found():
    chunk = Chunk(cid="v1::" + "c" * 64, index=3, span=(812, 1690))
    hit = Hit(
        cid="v1::" + "d" * 64, score=0.5, text="part", metadata={"engram.splitter": "split/1", "n": 1}, chunk=chunk
    )
    drawn = results.hits_table([hit], text=True, width=100)
    assert "chunk 3, characters 812 to 1,690 · n=1" in drawn
    assert "engram." not in drawn
    assert "chunk" not in results.hits_table([Hit(cid=hit.cid, score=0.5, text="whole")], text=True, width=100)


def test_get_and_status_count_chunks(engram, long, memory):
    rows = dict(line.split("\t") for line in engram("get", long).out.splitlines())
    assert (rows["chunks"], rows["text"]) == ("4 chunks", LONG)
    memory.ingest("a cat")
    assert "chunks\t" not in engram("get", list(memory.records)[1]).out
    assert "records\t6 in 1 namespace, 4 of them chunks of long texts\n" in engram("status").out


def test_list_asks_for_chunks_only_when_told(engram, memory):
    engram("list")
    assert memory.with_chunks is False
    engram("list", "--chunks")
    assert memory.with_chunks is True
