"""What the README prints must be what happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import engram

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_ci_runs_the_test_command_as_printed():
    [command] = [block.strip() for block in blocks("sh") if "pytest" in block]
    ci = (ROOT / ".ci" / "run").read_text().replace(" --quiet", "")
    assert command in ci


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_every_page_is_one_to_read_on():
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)]+)\)", README))


def test_every_script_that_it_names_is_there():
    for script in set(re.findall(r"scripts/\w+\.py", README)):
        assert (ROOT / script).is_file(), script


def test_every_command_that_it_names_exists():
    from engram.cli._target import open_target
    from engram.cli.node import build as build_node
    from engram.cli.user import build as build_user

    apps = {"engram": build_user(open_target), "engram-node": build_node()}
    named = re.findall(
        r"`?(engram(?:-node)?) ([a-z]+)\b(?=[ `\n])", "\n".join([*blocks("sh"), *re.findall(r"`[^`\n]+`", README)])
    )
    assert len(set(named)) > 8
    for app, command in named:
        assert command in apps[app], f"{app} {command}"


@pytest.mark.usefixtures("model_files")
def test_its_python_for_an_embedded_memory_runs_as_printed(tmp_path):
    [code] = [block for block in blocks("python") if "engram.open" in block]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("The user prefers short answers.\n", "")


@pytest.mark.usefixtures("model_files")
def test_its_python_for_a_client_runs_as_printed(tmp_path, capsys):
    [code] = [block for block in blocks("python") if "EngramClient(" in block]
    with engram.open(tmp_path) as memory:
        code = code.replace('client = EngramClient("engram://127.0.0.1:8090")', "")
        exec(compile(code, "README.md", "exec"), {"client": memory})
        assert memory.namespaces.list()[1].records == 1
    assert "Attention is a weighted average." in capsys.readouterr().out


@pytest.mark.usefixtures("model_files")
def test_the_cid_that_it_draws_is_the_one_that_every_machine_gets(tmp_path):
    [text] = {*re.findall(r'^ +"(.+)"$', README, flags=re.MULTILINE)}
    drawn = {*re.findall(r"v1::([0-9a-f]{12})…", README)}
    with engram.open(tmp_path) as memory:
        cid = memory.ingest(text)
        [hit] = memory.query("how does attention work?")
    assert drawn == {cid.removeprefix("v1::")[:12]}
    assert f"{hit.score:.4f}  {cid[:16]}…" in README


def test_sources_without_their_native_core_say_what_to_do(tmp_path):
    """A shell in a clone, with Engram installed elsewhere: Python takes the sources of the folder it stands in."""
    clone = shutil.copytree(ROOT / "engram", tmp_path / "engram", ignore=shutil.ignore_patterns("*.so", "target"))
    done = subprocess.run(
        [sys.executable, "-c", "import engram.sdk"], cwd=clone.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"not built for the sources in {tmp_path}" in done.stderr
    assert "pip install -e ." in done.stderr
