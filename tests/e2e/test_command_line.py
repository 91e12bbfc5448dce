"""`engram` as a process: pipes, locales, closed streams, Ctrl-C; and what it says to the clumsy."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess

import pytest
from e2e.processes import PATIENCE_S, USER, environ, unchanged

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A terminal that knows no letter beyond ASCII."""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ingst", "x"], 2, 'Did you mean "ingest"?'),
        (["ingest", "two", "words"], 2, "a text of several words goes in quotes"),
        (["ingest"], 2, "give one of: a TEXT, - for a text from standard input, or --file for many"),
        (["ingest", ""], 1, "text: it is empty"),
        (["ingest", "x", "--meta", "{a:1}"], 2, "--meta is not JSON"),
        (["ingest", "x", "--meta", '{"a":1,"a":2}'], 2, '--meta has the key "a" twice'),
        (["ingest", "x", "--meta", '{"engram.x":1}'], 1, "starts with 'engram.', which is ours"),
        (["ingest", "x", "--namespace", "nope"], 1, "no namespace 'nope' here; create it first"),
        (
            ["ingest", "cat " * 300, "--on-long", "reject"],
            1,
            "300 word pieces are over the limit of 254 for one record",
        ),
        (["ingest", b"\xff\xfe"], 2, "TEXT is not UTF-8: byte 0xff"),
        (["ingest", "--file", "/no/such"], 2, "/no/such is not there"),
        (["ingest", "--file", "/"], 2, "is a folder"),
        (["query", "x", "-k", "0"], 1, "top_k: 0 is not between 1 and 1000"),
        (["query", "x", "-k", str(2**70)], 1, "top_k"),
        (["query", "x", "--topk", "3"], 2, "Did you mean --top-k?"),
        (["query", "x", "--filter", "a ="], 1, "a =\n     ^"),
        (["query", "x", "--filter", '{"a":}'], 2, "--filter is not JSON"),
        (["get", "zzz"], 1, "not a CID"),
        (["get", "v1::" + "0" * 64], 1, "no record v1::000"),
        (["delete", "v1::" + "0" * 64], 1, "no record v1::000"),
        (["list", "--limit", "0"], 1, "limit: 0 is not between 1 and 1000"),
        (["status", "--node", "http://127.0.0.1:1"], 3, "start a node:        engram-node"),
        (["status", "--node", "ftp://127.0.0.1:1"], 2, "or http://127.0.0.1:8091"),
        (["status", "--node", "127.0.0.1:1"], 2, "one is engram://127.0.0.1:8090"),
        (["status", "--node", "engram://127.0.0.1:1"], 3, "start a node:        engram-node"),
        (["status", "--data", "/no/such"], 3, "no memory in /no/such"),
        (["status", "--data", "a", "--node", "b"], 2, "exclude each other"),
    ],
    ids=range(27),
)
def test_a_mistake_is_a_sentence(node, engram, arguments, code, said):
    with unchanged(node):
        ran = engram(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_memory_by_the_command_line_from_first_to_last(engram):
    text = "Wäre das 猫 here? \x1b[31mred\x1b[0m\ttab"
    kept = engram("ingest", "-", stdin=text.encode())
    assert (kept.code, kept.err) == (0, "")
    cid = kept.out.strip()
    assert engram("ingest", text).out.strip() == cid
    assert json.loads(engram("get", cid, "--json").out)["text"] == text
    assert "\x1b" not in engram("get", cid).out
    assert cid in engram("query", text, "-k", "1").out
    assert engram("delete", cid).out == f"deleted {cid}\n"
    again = engram("delete", cid)
    assert (again.code, again.out) == (1, "")
    assert f"no record {cid}" in again.err
    assert engram("ingest", text).out.strip() == cid


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, ASCII, {"PYTHONIOENCODING": "latin-1", "encoding": "latin-1"}])
def test_json_is_json_in_every_locale(client, engram, variables):
    r"""In one without the letters, `\x` and `\U` stood in it, which JSON does not know."""
    cid = client.ingest("wörld 👩‍👩‍👧 \u2028 猫", {"ключ": "é"})
    ran = engram("get", cid, "--json", **variables)
    assert (ran.code, ran.err) == (0, "")
    record = json.loads(ran.out)
    assert (record["text"], record["metadata"]) == ("wörld 👩‍👩‍👧 \u2028 猫", {"ключ": "é"})
    assert engram("get", cid, **variables).code == 0
    assert engram("query", "x", **variables).code == 0


def closed(node, *arguments, close):
    """Run a command with standard streams closed, as `>&-` does."""
    command = f'"$@" {close}'
    ran = subprocess.run(
        ["/bin/sh", "-c", command, "sh", *USER, *arguments], capture_output=True, env=environ(ENGRAM_NODE=node.url),
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


def test_closed_streams_are_no_traceback(node):
    """`engram list >&-` ended in an AttributeError of None."""
    assert closed(node, "status", close=">&-") == (0, "", "")
    assert closed(node, "get", "zzz", close=">&- 2>&-") == (1, "", "")
    code, out, err = closed(node, "ingest", "-", close="<&-")
    assert (code, out) == (2, "")
    assert "standard input is closed" in err


def test_a_reader_that_has_left_ends_it_quietly(node):
    code, out, err = closed(node, "list", "--limit", "1000", close="| true")
    assert (code, out, err) == (0, "", "")


def test_a_full_disk_under_standard_output_is_a_sentence(node):
    code, out, err = closed(node, "status", close="> /dev/full")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "No space left on device" in err


def lines_of(tmp_path, count):
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"text": f"bird {n} of the garden {n % 97}"}) + "\n" for n in range(count)))
    return path


def test_ctrl_c_in_the_middle_of_a_file_says_how_far_it_came(own_node, tmp_path):
    path = lines_of(tmp_path, 20_000)
    pid, terminal = pty.fork()
    if pid == 0:  # the child is a program on a terminal of its own
        os.execve(USER[0], [*USER, "ingest", "--file", str(path)], environ(ENGRAM_NODE=own_node.url, TERM="xterm"))
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
            if re.search(rb"[1-9]\d*/20000", shown) and b"^C" not in shown:
                os.write(terminal, b"\x03")
    except OSError:
        pass  # the terminal's other end is closed
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    said = shown.decode()
    assert "interrupted after line " in said
    assert "run the same again" in said
    assert "Traceback" not in said
    kept = int(said.split("interrupted after line ")[1].split(" ")[1].replace(",", ""))
    with own_node.client() as client:
        assert client.status().records >= kept > 0


def test_an_interrupted_command_in_a_pipe_exits_with_130(own_node, tmp_path):
    path = lines_of(tmp_path, 20_000)
    process = subprocess.Popen(
        [*USER, "ingest", "--file", str(path), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environ(ENGRAM_NODE=own_node.url),
    )  # fmt: skip
    assert json.loads(process.stdout.readline())["line"] == 1
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert b"interrupted after line" in err
    assert b"Traceback" not in err


@pytest.mark.parametrize("columns", ["20", "40", "80", "250"])
def test_any_width_of_a_terminal_is_drawn_in(node, client, columns):
    client.ingest(
        "a text that is far too long for one line of a narrow terminal, so that it is cut " * 3, {"k": "v" * 300}
    )
    for arguments in (["query", "text"], ["list"], ["status"], ["namespace", "list"], ["--help"], ["query", "--help"]):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(USER[0], [*USER, *arguments], environ(ENGRAM_NODE=node.url, TERM="xterm", COLUMNS=columns))
        shown = b""
        try:
            while chunk := os.read(terminal, 4096):
                shown += chunk
        except OSError:
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert b"Traceback" not in shown
