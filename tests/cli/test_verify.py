from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from proof_mutants import cid_of, receipt_of
from proof_world import NODE, VALIDATOR, payload, state_of, world

from engram import proofs
from engram.cli.user import run_user

STATE = state_of([payload(number) for number in range(5)])
PROOF = proofs.write(proofs.prove_record(STATE, cid_of(payload(2))))


@pytest.fixture
def folder(tmp_path):
    of = world(5)
    (tmp_path / "proof.json").write_bytes(PROOF)
    (tmp_path / "false.json").write_bytes(PROOF.replace(b'"present":true', b'"present":false'))
    (tmp_path / "receipt.json").write_bytes(proofs.write(receipt_of(STATE)))
    (tmp_path / "transcript.json").write_bytes(proofs.write(of.run(of.challenger())))
    (tmp_path / "checkpoint").write_bytes(STATE.note)
    (tmp_path / "junk").write_bytes(b"\x1b[2Jjunk")
    return tmp_path


def verify(folder, *arguments: str) -> int:
    return run_user(["verify", *(str(folder / each) if "." in each or each.isalpha() else each for each in arguments)])


def test_what_holds_is_said_in_words(folder, capsys):
    assert verify(folder, "proof.json", "transcript.json", "checkpoint") == 0
    out = capsys.readouterr().out
    assert f"proof.json: holds: a proof of {NODE.address}" in out
    assert "The node held the record v1::" in out
    assert "Not shown: that it has the record's bytes" in out
    assert "The verdict is PASS" in out
    assert "its log had 2 events" in out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["proof.json"], 0),
        (["proof.json", "--node", NODE.address], 0),
        (["proof.json", "--node", VALIDATOR.address], 1),
        (["false.json"], 1),
        (["junk"], 2),
        (["missing.json"], 2),
        (["proof.json", "false.json"], 1),
        (["false.json", "junk", "proof.json"], 2),
        (["receipt.json"], 2),
        (["receipt.json", "--node", NODE.address], 0),
        (["proof.json", "--node", "nobody"], 2),
        ([], 2),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else None,
)
def test_the_exit_code_is_that_of_the_worst(folder, arguments, code):
    assert verify(folder, *arguments) == code


def test_a_reason_is_given_where_it_does_not_hold(folder, capsys):
    verify(folder, "false.json", "junk")
    first, second = capsys.readouterr().out.splitlines()
    assert "does not hold: it says absent" in first
    assert "cannot be read: neither a checkpoint nor the JSON of a document" in second


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"junk", "a value was expected at byte 0"),
        (b'{"a": 1, "a": 2}', "a key that comes twice"),
        (b"{} {}", "something that follows it"),
        (b'{"a": "\xff"}', "bytes that are not UTF-8"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b"[" * 200, "nested too deep"),
    ],
)
def test_why_a_document_cannot_be_read_is_said_in_words(folder, capsys, written, said):
    (folder / "written").write_bytes(written)
    assert verify(folder, "written") == 2
    assert said in capsys.readouterr().out


def test_a_line_of_json_each(folder, capsys):
    verify(folder, "proof.json", "false.json", "missing.json", "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["holds"] for line in lines] == [True, False, None]
    assert lines[0]["facts"]["size"] == 2
    assert lines[0]["node"] == NODE.address
    assert "No such file" in lines[2]["reason"]


def test_standard_input_and_a_folder(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PROOF)))
    assert run_user(["verify", "-"]) == 0
    assert run_user(["verify", str(folder)]) == 2
    assert "Is a directory" in capsys.readouterr().out


def test_what_is_printed_does_not_act_on_a_terminal(folder, capsys):
    key = "\x1b[2J"
    (folder / "key.json").write_bytes(proofs.write(proofs.prove_key(STATE, bytes(32), key)))
    assert verify(folder, "key.json") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_it_loads_neither_a_node_nor_a_store(folder):
    code = (
        "import sys; from engram.cli.user import run_user; "
        f"assert run_user(['verify', {str(folder / 'proof.json')!r}]) == 0; "
        "print(sorted({'trio', 'sqlite3', 'numpy', 'engram.store', 'engram.node', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
