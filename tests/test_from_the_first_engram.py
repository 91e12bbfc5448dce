"""`docs/from-the-first-engram.md`: every row of its table, tried against a real node."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest
from e2e.processes import Node, environ

from engram.embed import fetch_model, find_model
from engram.errors import BadRequest
from engram.node import env_file, load_config

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "from-the-first-engram.md").read_text("utf-8")
STATES = ("runs as printed", "runs", "not yet", "of others")
_CODE = re.compile(r"(`+)\s?(.*?)\s?\1(?!`)")


class Row(NamedTuple):
    where: str
    printed: str
    write: str | None
    state: str
    error: str

    def __str__(self):
        return f"{self.where}: {self.printed[:50]}"


def code(cell):
    found = _CODE.fullmatch(cell)
    return None if found is None else found[2]


def rows():
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("| ") or cells[0] == "where":
            continue
        assert len(cells) == 4, line
        where, printed, write, state = cells
        kind = next(name for name in STATES if state.startswith(name))
        error = code(state.partition(": ")[2]) or "" if kind == "not yet" else ""
        yield Row(where, code(printed), code(printed) if write == "as printed" else code(write), kind, error)


ROWS = list(rows())


def of(where, *states):
    return [row for row in ROWS if row.where == where and (not states or row.state in states)]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    find_model() or fetch_model(lambda *_: None)
    node = Node(tmp_path_factory.mktemp("first") / "data")
    node.wait_for("model ready")
    yield node
    node.stop()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, node):
    """What is checked out, where files may be written, and the commands as they stand once it is installed."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in (".git", ".env.miner", ".env.validator", "data"):
            (folder / path.name).symlink_to(path)
    (folder / "data").mkdir()
    lines = '{"text": "One line.", "metadata": {"n": 1}}\n{"text": "Another line."}\n'
    for name in ("data/corpus.jsonl", "corpus.jsonl"):
        (folder / name).write_text(lines)
    tools = tmp_path_factory.mktemp("tools")
    for name, words in {
        "python": "",
        "pip": " -m pip",
        "engram": " -c 'from engram.cli.user import main; main()'",
    }.items():
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        (tools / name).chmod(0o755)
    variables = environ(
        ENGRAM_NODE=node.url,
        ENGRAM_PORT="0",
        ENGRAM_HTTP_PORT="0",
        ENGRAM_DATA_DIR=str(tools / "data"),
        PATH=os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
    )
    return folder, variables


def test_the_table_is_whole():
    assert len(ROWS) > 100
    assert {row.where for row in ROWS} == {"python", "shell", "HTTP", "variable"}
    for row in ROWS:
        assert row.printed, row
        assert (row.state == "not yet") == bool(row.error), row
        assert row.state != "runs as printed" or row.write in (row.printed, None) or row.where == "variable", row
    assert len({(row.where, row.printed) for row in ROWS}) == len(ROWS)


# -- python -----------------------------------------------------------------------------------------------------------

_RUN = """
import json, sys
from types import SimpleNamespace
from bittensor_wallet import Keypair
names = {"my_vector": [0.5] * 384, "wallet": SimpleNamespace(hotkey=Keypair.create_from_seed("0x" + "a1" * 32))}
for code in json.load(sys.stdin):
    try:
        exec(code, names)
        print(json.dumps(None), file=sys.stderr)
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def pythons(node, checkout):
    """What each line of Python came to, all in one interpreter as a reader would type them."""
    steps = [(row, text) for row in of("python") for text in lines_of(row)]
    folder, variables = checkout
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps([text.replace("http://127.0.0.1:8091", node.http_url) for _, text in steps]),
        capture_output=True,
        text=True,
        cwd=folder,
        env=variables,
        timeout=120,
        check=True,
    )
    return dict(zip(steps, map(json.loads, done.stderr.splitlines()), strict=True))


def lines_of(row):
    """Give what is tried of a row: what it says runs, and what it says does not."""
    printed = [row.printed] if row.state in ("runs as printed", "not yet") else []
    written = [row.write] if row.write and row.write not in printed and row.state != "of others" else []
    return printed + written


@pytest.mark.parametrize("row", of("python", "runs as printed", "runs", "not yet"), ids=str)
def test_python(row, pythons):
    for text in lines_of(row):
        wanted = row.error if row.state == "not yet" and text == row.printed else None
        assert pythons[row, text] == wanted, text


# -- shell ------------------------------------------------------------------------------------------------------------

_STAND_FOR = {
    "pytest tests/ -q": "true",  # it is what runs this
    "pip install -e .": "pip install --dry-run --quiet --no-deps --no-build-isolation -e .",
    "cargo test": "cargo metadata --no-deps --format-version 1",
}
"""What is tried in place of what would take minutes, or change the environment that the tests run in."""


@pytest.mark.parametrize("row", of("shell", "runs as printed", "runs", "not yet"), ids=str)
def test_shell(row, checkout):
    for text in lines_of(row):
        for long, short in _STAND_FOR.items():
            text = text.replace(long, short)  # noqa: PLW2901
        needs = {"cargo": "cargo", "pip": "maturin"}.get(text.split()[0])
        if needs and not (shutil.which(needs) or Path(sys.executable).with_name(needs).exists()):
            pytest.skip(f"{needs} is not here")
        code, said = run(text, *checkout)
        if row.state == "not yet" and text == row.printed:
            assert code
            assert row.error in said.splitlines()
        else:
            assert code == 0, said


def run(text, folder, variables):
    """Run a line of shell to its end, which a node reaches when it is told to stop once it listens."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {text}" if "neurons" in text and "=" not in text.split()[0] else text],
        cwd=folder,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("listening: "):
            os.killpg(process.pid, signal.SIGTERM)
    process.stdout.close()
    return process.wait(60), "".join(said)


# -- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", of("HTTP", "runs as printed", "runs", "not yet"), ids=str)
def test_http(row, node):
    for text in lines_of(row):
        status, answer = ask(node.http_url, text)
        if row.state == "not yet" and text == row.printed:
            error = json.loads(answer)
            assert f"{status} {error['code']} {error['error']}" == row.error
        else:
            assert status == 200, answer


def challenge(cid):
    return f'POST /ChallengeSynapse {{"cid": "{cid}", "nonce_hex": "NONCE", "expires_at": SOON}}'


def ask(url, text):
    verb, path, body = [*text.split(" ", 2), ""][:3]
    if "CID" in text:
        _, kept = ask(url, "POST /IngestSynapse " + json.dumps({"text": path.lower()}))
        cid = json.loads(kept)["cid"]
        path, body = path.replace("CID", cid.replace(":", "%3A")), body.replace("CID", cid)
    if "HASH" in body:
        _, answered = ask(url, challenge(cid))
        body = body.replace("HASH", json.loads(answered)["embedding_hash"])
    body = body.replace("NONCE", "0" * 64).replace("SOON", str(int(time.time()) + 30))
    request = urllib.request.Request(
        url + path,
        data=body.encode() if body else None,
        headers={"Content-Type": "application/json"} if body else {},
        method=verb,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


# -- variables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", of("variable"), ids=str)
def test_variables(row, tmp_path):
    if row.printed.startswith("ENV_FILE"):
        assert (ROOT / ".env.example").exists()
        assert load_config(None, None, {"ENV_FILE": str(ROOT / ".env.example")}) == load_config()
        return
    file, toml = tmp_path / ".env.miner", tmp_path / "node.toml"
    file.write_text(row.printed + "\n")
    toml.write_text((row.write or "") + "\n")
    named = {"ENV_FILE": str(file)}
    if row.state == "runs as printed":
        assert load_config(None, None, named) == load_config(toml)
        assert not env_file(named).not_applied
        return
    assert said_of(named) == row.error.replace("DP_EPSILON", f"{file}, line 1: DP_EPSILON")


def said_of(named):
    try:
        load_config(None, None, named)
    except BadRequest as error:
        return error.message
    [idle] = env_file(named).not_applied
    return f"{idle.name}: not applied; {idle.why}"
