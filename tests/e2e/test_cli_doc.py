"""Every line of docs/cli.md, run as printed, one after the other."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.processes import ROOT, Node, environ

PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")
BLOCKS = re.findall(r"## (.+?)\n.*?```sh\n(.*?)```", PAGE, flags=re.DOTALL)
ENDLESS = re.compile(r"^.* (?:--watch|--follow).*\n", flags=re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with both programs, and what the page reads."""
    place = tmp_path_factory.mktemp("page")
    (place / "bin").mkdir()
    for name, module in (("engram", "user"), ("engram-node", "node")):
        program = place / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from engram.cli.{module} import main; main()" "$@"\n')
        program.chmod(0o755)
    if shutil.which("jq") is None:  # what the page asks of it, by Python
        jq = place / "bin" / "jq"
        jq.write_text(
            f'#!/bin/sh\nexec {sys.executable} -c \'import json, sys; print(json.load(sys.stdin)["hits"][0]["cid"])\'\n'
        )
        jq.chmod(0o755)
    (place / "letter.txt").write_text("Dear Ada, the cat is well. " * 200)
    (place / "corpus.jsonl").write_text('{"text": "one"}\n{"text": "two", "key": "second", "metadata": {"n": 2}}\n')
    return place


@pytest.fixture(scope="module")
def page_node(tmp_path_factory, weights):
    """A node for the page alone."""
    node = Node(tmp_path_factory.mktemp("page-node") / "data")
    node.wait_for("model ready")
    yield node
    node.stop()


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[heading for heading, _ in BLOCKS])
def test_a_block_runs_as_printed(page_node, place, block):
    node = page_node
    if not (place / "engram-data").exists():
        (place / "engram-data").symlink_to(node.data)
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # where the model is
    variables = {
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place),
        "XDG_CACHE_HOME": cache,
        "ENGRAM_NODE": node.url,
        "ENGRAM_PORT": str(node.port),
        "ENGRAM_HTTP_PORT": "0",
        "ENGRAM_DATA_DIR": str(node.data),
    }
    bash = ["bash", "-euo", "pipefail", "-c"]
    done = subprocess.run(
        [*bash, ENDLESS.sub("", block)],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=environ(**variables),
    )
    assert done.returncode == 0, done.stderr
    for line in ENDLESS.findall(block):
        with subprocess.Popen(
            [*bash, f"exec {line}"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ(**variables)
        ) as endless:
            assert endless.stdout.readline()
            endless.send_signal(signal.SIGINT)
            assert endless.stderr.read() == b""
        assert endless.returncode == 0


def test_every_command_is_on_the_page():
    from engram.cli._target import open_target
    from engram.cli.node import build as build_node
    from engram.cli.user import build

    for app in (build(open_target), build_node()):
        for name in app:
            if name in ("--help", "-h", "--version"):
                continue
            command = f"{app.name[0]} {name}"
            if command == "engram-node model":
                continue
            assert re.search(rf"\b{re.escape(command)}\b", PAGE), command
            group = app[name]
            for inner in group:
                if not inner.startswith("-") and name != "model":
                    assert f"{command} {inner}" in PAGE, f"{command} {inner}"
