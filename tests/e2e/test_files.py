"""Files of JSON lines: whatever a line is, it costs that line alone, and its error has its number."""

from __future__ import annotations

import json
import re

import pytest

from engram.errors import EngramError

LINES = [
    b'\xef\xbb\xbf{"text": "first, behind a BOM"}\r\n',
    b"\r\n",
    b'{"text": "third", "metadata": {"n": 1}}\r\n',
    b"   \t \n",
    b'{"text": "broken\n',
    b"[1, 2]\n",
    b'"only a string"\n',
    b'{"txet": "misspelt"}\n',
    b'{"text": "twice", "text": "twice"}\n',
    b'{"text": "twice below", "metadata": {"k": 1, "k": 2}}\n',
    b'{"text": "\xff\xfe"}\n',
    b'{"text": "\\ud800"}\n',
    b'{"text": "nan", "metadata": {"x": NaN}}\n',
    b'{"text": ""}\n',
    b'{"metadata": {}}\n',
    b'{"text": "long", "metadata": ' + b"[" * 100_000 + b"\n",
    b'{"text": "' + b"x" * 20_000_000 + b'"}\n',
    b'{"text": "' + b"cat " * 300 + b'", "metadata": {"note": "' + b"x" * 4080 + b'"}}\n',
    b'{"vector": [1, 2, 3]}\n',
    b'{"vector": [' + b", ".join([b"0.5"] * 384) + b"]}\n",
    b'{"text": "last, with no end of line"}',
]
REFUSED = {
    5: ("bad_request", "not JSON: Invalid control character at column 17"),
    6: ("bad_request", "expected an object"),
    7: ("bad_request", "expected an object"),
    8: ("bad_request", "no field 'txet'"),
    9: ("bad_request", "the key 'text' comes twice"),
    10: ("bad_request", "the key 'k' comes twice"),
    11: ("bad_request", "not UTF-8 at byte 10"),
    12: ("unprocessable", "lone surrogate"),
    13: ("unprocessable", "NaN is not a number that JSON has"),
    14: ("unprocessable", "it is empty"),
    15: ("bad_request", "a memory needs a `text`, a `vector`, or both"),
    16: ("bad_request", "nested too deep"),
    17: ("too_large", "the line has 20000013 bytes, and the limit is 8388608"),
    18: ("too_large", "left for a text of 2 chunks"),
    19: ("unprocessable", "3 numbers, and the namespace 'public' has dim 384"),
}
KEPT = [1, 3, 20, 21]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b"".join(LINES))
    return path


def test_a_file_of_every_kind_of_line(client, corpus):
    outcomes = dict(client.iter_ingest_file(corpus))
    assert sorted(outcomes) == sorted([*KEPT, *REFUSED])
    for line in KEPT:
        assert client.get(outcomes[line].cid).cid == outcomes[line].cid
    assert client.get(outcomes[1].cid).text == "first, behind a BOM"
    for line, (code, said) in REFUSED.items():
        error = outcomes[line]
        assert isinstance(error, EngramError)
        assert error.code == code, error
        assert error.message.startswith(f"line {line}: ")
        assert said in error.message
        assert len(error.message) < 400


def test_the_same_file_by_the_command_line(client, engram, corpus):
    before = client.status().position
    ran = engram("ingest", "--file", corpus)
    assert ran.code == 1
    said = re.match(r"(\d+) lines: (\d+) new, (\d+) known already, (\d+) errors", ran.out)
    lines, new, known, errors = map(int, said.groups())
    assert (lines, new + known, errors) == (len(KEPT) + len(REFUSED), len(KEPT), len(REFUSED))
    for line, (_, said) in REFUSED.items():
        assert any(row.startswith(f"error: line {line}: ") and said in row for row in ran.err.splitlines())
    again = engram("ingest", "--file", corpus)
    assert f": 0 new, {len(KEPT)} known already" in again.out
    assert client.status().position <= before + len(KEPT)


def test_a_file_as_json_is_a_line_a_line_and_a_summary(engram, corpus):
    ran = engram("ingest", "--file", corpus, "--json")
    rows = [json.loads(row) for row in ran.out.splitlines()]
    assert [row["line"] for row in rows if "error" in row] == list(REFUSED)
    assert [row["line"] for row in rows if "cid" in row] == KEPT
    assert rows[-1]["summary"]["errors"] == len(REFUSED)


def test_a_file_from_standard_input(engram):
    ran = engram("ingest", "--file", "-", stdin=b'{"text": "by standard input"}\n')
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("1 line: 1 new, 0 known already, 0 errors")


@pytest.mark.parametrize("content", [b"", b"\n\n\r\n", b"\xef\xbb\xbf"])
def test_a_file_with_nothing_in_it(client, tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    assert client.batch_ingest_file(path) == []
