"""The commands of `engram` against a small memory in this process."""

from __future__ import annotations

import io
import json
import sys

import pytest

from engram.cli._shell import explain
from engram.cli._target import Unreachable
from engram.errors import Unavailable

ESCAPE = "\x1b[2J\x1b]0;owned\x07"


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def three(memory):
    return [
        memory.ingest("the cat sat on the mat", {"pos": "noun", "lemmas": ["cat", "true cat"]}),
        memory.ingest("a dog barks", {"n": 1}),
        memory.ingest("nothing at all"),
    ]


# -- ingest -----------------------------------------------------------------------------------------------------------


def test_ingest_prints_the_cid_alone(engram, memory):
    ran = engram("ingest", "a text")
    assert ran == (0, f"{next(iter(memory.records))}\n", "")


def test_ingest_json_is_one_object(engram, memory):
    answer = json.loads(engram("ingest", "a text", "--json").out)
    assert answer == {"cid": next(iter(memory.records)), "tokens": 2, "chunks": 0}


def test_ingest_passes_metadata_and_namespace(engram, memory):
    engram("ingest", "a text", "--meta", '{"a": [1, {"b": null}]}', "--namespace", "ns")
    (record,) = memory.records.values()
    assert record.metadata == {"a": [1, {"b": None}]}
    assert record.cid == memory.ingest("a text", {"a": [1, {"b": None}]}, "ns")


def test_ingest_reads_one_text_from_standard_input(engram, memory, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("zwei\nZeilen ü\n".encode())))
    assert engram("ingest", "-").code == 0
    assert [record.text for record in memory.records.values()] == ["zwei\nZeilen ü\n"]


def test_a_lone_hyphen_behind_two_is_a_text(engram, memory):
    assert engram("ingest", "--", "-").code == 0
    assert [record.text for record in memory.records.values()] == ["-"]


def test_standard_input_that_is_not_utf8_is_refused(engram, memory, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff")))
    ran = engram("ingest", "-")
    assert ran.code == 2
    assert "0xff at 2" in ran.err
    assert not memory.records


@pytest.mark.parametrize("arguments", [(), ("a", "--file", "b"), ("a", "-"), ("-", "--file", "b")])
def test_ingest_wants_exactly_one_source(engram, arguments):
    ran = engram("ingest", *arguments)
    assert ran.code == 2
    assert "give one of" in ran.err


@pytest.mark.parametrize(
    ("meta", "complaint"),
    [
        ("{a: 1}", "Expecting property name enclosed in double quotes, at character 2\n  {a: 1}\n   ^"),
        ('{"a": 1', "at character 8"),
        ('{\n"a": tru}', 'at line 2, character 6\n  "a": tru}\n       ^'),
        ('{"a": 1, "a": 2}', 'the key "a" twice'),
        ('{"b": {"a": 1, "a": 2}}', 'the key "a" twice'),
        ("[1]", "it is a list"),
        ("null", "it is null"),
        ("7", "it is a number"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1e999}', "1e999"),
        (f'{{"a": {2**64 + 1}}}', "no double equals"),
        (f'{{"a": 1{"0" * 5000}}}', "over what a double holds"),
        ('{"a": "\\ud800"}', "lone surrogate"),
        ("[" * 100_000, "nested too deeply"),
        ("", "at character 1"),
    ],
)
def test_bad_metadata_is_pointed_at(engram, memory, meta, complaint):
    ran = engram("ingest", "a text", "--meta", meta)
    assert ran.code == 2
    assert ran.err.startswith("error: --meta ")
    assert complaint in ran.err
    assert not memory.records


def test_an_integer_that_a_double_equals_is_taken(engram, memory):
    assert engram("ingest", "a", "--meta", f'{{"a": {2**70}, "b": {2**53}}}').code == 0
    assert [record.metadata for record in memory.records.values()] == [{"a": 2**70, "b": 2**53}]


def test_arguments_that_are_not_utf8_are_refused(engram, memory):
    for arguments in (("a\udcff",), ("a", "--meta", "{\udcff"), ("a", "--namespace", "n\udcff")):
        ran = engram("ingest", *arguments)
        assert ran.code == 2
        assert "byte 0xff after 1 characters" in ran.err
    assert not memory.records


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = ['{"text": "one"}', "nonsense", '{"text": ""}', '{"text": "two", "metadata": {"n": 2}}', '{"text": "one"}']
    path.write_text("\n".join(rows))
    return path


def test_a_file_reports_errors_by_line_and_sums_up(engram, memory, corpus):
    ran = engram("ingest", "--file", str(corpus))
    assert ran.code == 1
    assert ran.err == "error: line 2: not an object with a text\nerror: line 3: the text is empty\n"
    assert ran.out.startswith("5 lines: 2 new, 1 known already, 2 errors, ")
    assert ran.out.endswith("/s\n")
    assert len(memory.records) == 2


def test_a_file_without_errors_exits_with_0(engram, tmp_path):
    (tmp_path / "c").write_text('{"text": "one"}\n')
    ran = engram("ingest", "--file", str(tmp_path / "c"))
    assert ran.code == 0
    assert ran.out.startswith("1 line: 1 new, 0 known already, 0 errors, ")


def test_a_file_as_json_gives_every_line_and_a_summary(engram, corpus):
    ran = engram("ingest", "--file", str(corpus), "--json")
    *each, last = lines(ran.out)
    assert [line["line"] for line in each] == [1, 2, 3, 4, 5]
    assert each[0]["cid"] == each[4]["cid"]
    assert each[2]["error"] == {"code": "unprocessable", "message": "the text is empty", "field": "text"}
    assert last["summary"].pop("seconds") >= 0
    assert [line.get("new") for line in each] == [True, None, None, True, False]
    assert last == {"summary": {"lines": 5, "new": 2, "known": 1, "errors": 2}}
    assert (ran.code, ran.err) == (1, "")


def test_only_the_first_20_errors_are_listed(engram, tmp_path):
    (tmp_path / "c").write_text("x\n" * 25)
    ran = engram("ingest", "--file", str(tmp_path / "c"))
    assert ran.err.count("error: line ") == 20
    assert ran.err.endswith("error: and 5 more lines; --json lists all\n")


def test_the_number_of_a_line_is_said_once():
    error = Unavailable("line 19: no node answers at engram://127.0.0.1:8090", field="url")
    assert explain(error, "line 19") == "url: no node answers at engram://127.0.0.1:8090"


def test_a_file_that_lost_its_node_says_what_was_kept(engram, memory, corpus):
    """A node killed in the middle: what it kept until then is told all the same."""
    memory.gone_after = 1
    ran = engram("ingest", "--file", str(corpus))
    assert ran.code == 1
    assert "1 new, 0 known already" in ran.out
    assert ran.out.rstrip().endswith("the node is gone")
    assert "no node answers" in ran.err
    memory.records, memory.gone_after = {}, 1
    summary = json.loads(engram("ingest", "--file", str(corpus), "--json").out.splitlines()[-1])["summary"]
    assert summary["new"] == 1


def test_an_interrupted_file_says_how_far_it_came(engram, memory, corpus):
    memory.interrupt_after = 4
    ran = engram("ingest", "--file", str(corpus))
    assert ran.code == 130
    assert "interrupted after line 4: 2 kept, 2 errors" in ran.err
    assert "run the same again" in ran.err


def test_a_file_that_is_not_there_is_named(engram, tmp_path):
    for path, what in ((tmp_path / "none", "not there"), (tmp_path, "a folder")):
        ran = engram("ingest", "--file", str(path))
        assert ran.code == 2
        assert f"{path} is {what}" in ran.err


def test_metadata_beside_a_file_is_refused(engram, corpus):
    assert engram("ingest", "--file", str(corpus), "--meta", "{}").code == 2


# -- query ------------------------------------------------------------------------------------------------------------


def test_query_in_a_pipe_gives_a_line_a_hit(engram, three):
    ran = engram("query", "a dog", "-k", "1")
    assert ran == (0, f'1.000000\t{three[1]}\t{{"n": 1}}\ta dog barks\n', "")


def test_query_json_is_one_document(engram, three):
    document = json.loads(engram("query", "nothing at all", "-k", "2", "--json").out)
    assert document["hits"][0] == {
        "cid": three[2],
        "score": 1.0,
        "metadata": {},
        "text": "nothing at all",
        "chunk": None,
    }
    assert len(document["hits"]) == 2


def test_query_without_text_leaves_it_out(engram, three):
    assert "barks" not in engram("query", "dog", "--no-text").out
    assert "text" not in json.loads(engram("query", "dog", "--no-text", "--json").out)["hits"][0]


def test_a_filter_is_passed_as_text_or_as_an_object(engram, memory):
    engram("query", "x", "--filter", 'pos = "noun"')
    engram("list", "--filter", ' {"pos": "noun"}')
    assert memory.filters == ['pos = "noun"', {"pos": "noun"}]


def test_a_bad_filter_object_is_a_usage_error(engram):
    ran = engram("query", "x", "--filter", "{pos}")
    assert ran.code == 2
    assert "--filter is not JSON" in ran.err


def test_a_value_that_the_node_refuses_is_shown_with_its_field(engram):
    ran = engram("query", "x", "-k", "0")
    assert ran == (1, "", "error: top_k must be 1 to 1000, not 0\n")


def test_nothing_found_in_a_pipe_prints_nothing(engram):
    assert engram("query", "x") == (0, "", "")


def test_a_node_that_is_gone_exits_with_3(engram, memory, monkeypatch):
    def gone(text, **_):
        raise Unreachable("no node answers")

    monkeypatch.setattr(memory, "query", gone)
    assert engram("query", "x") == (3, "", "error: no node answers\n")


def test_a_failed_call_exits_with_1(engram, memory, monkeypatch):
    def stopping():
        raise Unavailable("the node is stopping")

    monkeypatch.setattr(memory, "status", stopping)
    assert engram("status") == (1, "", "error: the node is stopping\n")


def test_query_explain_is_an_aligned_table_beside_the_lines(engram, memory, three):
    ran = engram("query", "cat", "--explain", "-k", "1")
    assert ran.err == (
        "mode fast    rows left       µs\n"
        "  namespace  1,234,567      0.2\n"
        "  re-rank            1  1,038.0\n"
    )  # fmt: skip
    assert ran.out == engram("query", "cat", "-k", "1").out
    assert memory.exact is False


def test_query_explain_stands_above_the_table_on_a_terminal(engram, three, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = engram("query", "cat", "--explain").out
    assert out.startswith("mode fast    rows left       µs\n")
    assert out.index("re-rank") < out.index("memory")


def test_query_explain_is_part_of_the_document(engram, three):
    document = json.loads(engram("query", "cat", "--explain", "--exact", "-k", "1", "--json").out)
    assert document["mode"] == "exact"
    assert document["explain"][1] == {"name": "re-rank", "rows": 1, "us": 1038.04}
    assert len(document["hits"]) == 1
    assert set(json.loads(engram("query", "cat", "--json").out)) == {"hits"}


def test_query_exact_is_passed_on(engram, memory, three):
    assert engram("query", "cat", "--exact").code == 0
    assert memory.exact is True


# -- the others -------------------------------------------------------------------------------------------------------


def test_get_shows_a_record(engram, three):
    out = engram("get", three[0]).out
    rows = dict(line.split("\t") for line in out.splitlines())
    assert rows["cid"] == three[0]
    assert rows["text"] == "the cat sat on the mat"
    assert "vector" not in rows


def test_get_json_has_every_field_and_the_vector_on_demand(engram, three):
    record = json.loads(engram("get", three[1], "--json").out)
    assert set(record) == {
        "cid", "content_cid", "text", "metadata", "model_version", "dim", "vector", "others", "chunks",
    }  # fmt: skip
    assert record["vector"] is None
    assert json.loads(engram("get", three[1], "--json", "--vector").out)["vector"] == [0.5, -0.25]


def test_get_of_an_unknown_cid_exits_with_1(engram):
    ran = engram("get", "v1::00")
    assert ran == (1, "", "error: cid: no memory v1::00 in this namespace\n")


def test_delete_says_what_it_did(engram, three, memory):
    assert engram("delete", three[0]) == (0, f"deleted {three[0]}\n", "")
    assert three[0] not in memory.records
    ran = engram("delete", three[0])
    assert ran.code == 1
    assert ran.err == f"error: cid: no record {three[0]} in this namespace\n"
    assert json.loads(engram("delete", three[1], "--json").out) == {"cid": three[1], "deleted": True}


def test_delete_with_erase_says_whether_the_bytes_are_gone(engram, three, memory):
    assert engram("delete", three[0], "--erase") == (0, f"deleted and erased {three[0]}\n", "")
    memory.held_elsewhere = True
    ran = engram("delete", three[1], "--erase")
    assert ran == (0, f"deleted {three[1]}; its bytes stay while another namespace or key holds the same\n", "")
    ran = engram("delete", three[2], "--erase", "--json")
    assert json.loads(ran.out) == {"cid": three[2], "deleted": True, "erased": False}


def test_list_pages(engram, three):
    out = engram("list", "--limit", "1", "--offset", "1").out
    assert out == f'{three[1]}\t{{"n": 1}}\ta dog barks\n'
    document = json.loads(engram("list", "--json", "--offset", "2").out)
    assert [record["cid"] for record in document["records"]] == three[2:]
    assert document["offset"] == 2


def test_status_in_a_pipe_is_names_and_values(engram):
    rows = dict(line.split("\t") for line in engram("status").out.splitlines())
    assert rows["engram"] == "0.1.0, miner, up 1 h 2 min"
    assert rows["model"] == "v1, 384 numbers, ready, avx2 kernel"
    assert rows["public index"] == "117,659 rows in 1 sealed part and a head of 52,123, mode fast"


def test_status_json_has_every_field(engram):
    status = json.loads(engram("status", "--json").out)
    assert status["model"]["state"] == "ready"
    assert status["queue_length"] == 0


def test_embed_gives_a_number_a_line(engram):
    assert engram("embed", "x").out == "0.5\n-0.25\n"
    assert json.loads(engram("embed", "x", "--json").out) == {"dim": 2, "vector": [0.5, -0.25]}


def test_namespaces_are_created_and_listed(engram):
    assert engram("namespace", "create", "clips", "--dim", "512", "--model", "clip/b32").out == (
        "created clips: clip/b32, dim 512\n"
    )
    assert engram("namespace", "list").out.splitlines()[1].split("\t")[:4] == ["clips", "0", "clip/b32", "512"]
    assert [n["name"] for n in json.loads(engram("namespace", "list", "--json").out)["namespaces"]] == [
        "public", "clips",
    ]  # fmt: skip
    ran = engram("namespace", "create", "clips")
    assert ran == (1, "", "error: name: the namespace clips exists\n")


# -- what users stored never acts on the terminal ---------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [False, True])
def test_stored_control_characters_are_escaped(engram, memory, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "dumb")  # colours are escapes too
    cid = memory.ingest(f"red {ESCAPE}\u202e[bold]x[/bold]\r\n", {f"k{ESCAPE}": f"v{ESCAPE}", "l": [ESCAPE]})
    memory.namespaces.create(f"n{ESCAPE}")
    for arguments in (["query", "red"], ["list"], ["get", cid], ["namespace", "list"]):
        for form in ([], ["--json"]):
            out = engram(*arguments, *form).out
            assert not set("\x1b\x07\u202e\r") & set(out)
            assert "x1b[2J" in out or "u001b[2J" in out
    assert "[bold]x[/bold]" in engram("query", "red").out


def test_errors_are_escaped_too(engram):
    ran = engram("get", f"v1::{ESCAPE}")
    assert "\x1b" not in ran.err
    ran = engram("query", f"--{ESCAPE}")
    assert "\x1b" not in ran.err
    ran = engram("query", "x", f"[red]{ESCAPE}")
    assert "\x1b" not in ran.err
    assert "[red]" in ran.err


def test_json_says_exactly_what_was_stored(engram, memory):
    text = f"{ESCAPE}\u202eü\u200d\x7f\x85日本\U000e0001"
    memory.ingest(text)
    assert json.loads(engram("query", "x", "--json").out)["hits"][0]["text"] == text
    assert "日本" in engram("query", "x", "--json").out


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        [], ["ingest"], ["query"], ["get"], ["delete"], ["list"], ["status"], ["embed"],
        ["namespace"], ["namespace", "create"], ["namespace", "list"], ["namespace", "delete"], ["key"], ["key", "set"],
        ["key", "get"], ["key", "list"], ["key", "history"], ["key", "delete"], ["export"], ["import"], ["events"],
        ["reindex"], ["model"], ["--install-completion"],
    ],
)  # fmt: skip
def test_every_help_text_teaches_with_examples(engram, command):
    ran = engram(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: {' '.join(['engram', *command])}")
    assert "Exit codes: 0 done" in ran.out
    assert command in ([], ["namespace"], ["key"], ["model"]) or f"  {' '.join(['engram', *command])}" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["quer"], 'Did you mean "query"?'),
        (["query"], "TEXT requires an argument"),
        (["query", "two", "words"], "a text of several words goes in quotes"),
        (["query", "x", "-k", "many"], 'unable to convert "many" into int'),
        (["query", "x", "--fliter", "y"], "Did you mean --filter?"),
        (["ingest", "- a list"], "goes behind --"),
    ],
)
def test_a_wrong_command_line_is_a_sentence_and_exits_with_2(engram, arguments, complaint):
    ran = engram(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert complaint in ran.err
    assert "--help" in ran.err


def test_the_version_is_printed(engram):
    ran = engram("--version")
    assert ran.code == 0
    assert ran.out.strip()


@pytest.mark.parametrize("command", ["fetch", "verify", "path"])
def test_the_model_is_fetched_verified_and_found_by_the_users_program_too(engram, model_files, command):
    ran = engram("model", command)
    assert (ran.code, ran.err) == (0, "")
    assert str(model_files.folder) in ran.out
    assert f"engram model {command}" in engram("model", command, "--help").out.split("Examples:")[1]


# -- reindex ----------------------------------------------------------------------------------------------------------


def test_an_interrupted_reindex_says_how_far_it_came(engram, memory, three):
    memory.interrupt_after = 2
    ran = engram("reindex", "public", "--into", "new", "--model", "m/1")
    assert ran.code == 130
    assert ran.out == "".join(f"{cid}\t{cid.replace('v1::', 'm1::')}\n" for cid in three[:2])
    assert "interrupted after record 2: 2 kept, 0 errors" in ran.err
    assert "run the same again" in ran.err


def test_a_reindex_whose_node_goes_says_how_far_it_came(engram, memory, three, monkeypatch):
    seen = []

    def answer():
        seen.append(1)
        if len(seen) > 1:
            raise Unavailable("no node answers", field="url")

    monkeypatch.setattr(memory, "_answer", answer)
    ran = engram("reindex", "public", "--into", "new")
    assert ran.code != 0
    assert "ended after record 1: 1 kept" in ran.err
    assert "no node answers" in ran.err


def test_reindex_needs_to_know_where_to(engram):
    ran = engram("reindex", "public")
    assert ran.code == 2
    assert "--into" in ran.err
