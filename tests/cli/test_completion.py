"""Completion, in the shell that it is for."""

from __future__ import annotations

import subprocess

import pytest
from cli.conftest import Ran

from engram.cli._shell import run
from engram.cli.node import build as build_node
from engram.cli.user import build, open_target

COMPLETE = """
. "$1"; shift
line="$*"; words=("$@")
COMP_LINE=$line COMP_POINT=${#line} COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
function=$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function "$1" "${words[-1]}" "${words[-2]}"
echo "${COMPREPLY[*]}"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def install(home, capsys):
    """Install completion of a program for a shell; give what it said and the script."""

    def install(shell, app, *more):
        code = run(app, ["--install-completion", "--shell", shell, *more])
        said = Ran(code, *capsys.readouterr())
        return said, said.out.splitlines()[0].removeprefix("wrote ")

    return install


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["engram", "name"], "namespace"),
        (["engram", "key", ""], "set get list history delete"),
        (["engram", "namespace", "del"], "delete"),
        (["engram", "query", "--fi"], "--filter"),
        (["engram", "ingest", "--on-long", ""], "chunk reject"),
        (["engram-node", "do"], "doctor"),
        (["engram-node", "--http"], "--http-port"),
    ],
)
def test_bash_completes_commands_options_and_values(install, words, offered):
    said, script = install("bash", build_node() if words[0] == "engram-node" else build(open_target))
    assert (said.code, said.err) == (0, "")
    done = subprocess.run(["bash", "-c", COMPLETE, "bash", script, *words], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (offered, "")


@pytest.mark.parametrize(("shell", "file", "line"), [("bash", ".bashrc", "engram"), ("zsh", ".zshrc", "fpath=(")])
def test_the_shells_own_file_gets_a_line_once(install, home, shell, file, line):
    for _ in range(2):
        _, script = install(shell, build(open_target))
    text = (home / file).read_text()
    assert line in text
    assert len(text.splitlines()) == 2
    assert script.startswith(str(home))


def test_with_output_the_shells_own_files_are_left_alone(install, home):
    for shell in ("bash", "zsh", "fish"):
        said, _ = install(shell, build(open_target), "--output", str(home / shell))
        assert said.code == 0
        assert "namespace" in (home / shell).read_text()
    assert sorted(path.name for path in home.iterdir()) == ["bash", "fish", "zsh"]


def test_a_shell_that_nobody_knows_is_asked_for(home, capsys, monkeypatch):
    def unknown():
        from cyclopts.completion.detect import ShellDetectionError

        raise ShellDetectionError

    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", unknown)
    assert run(build(open_target), ["--install-completion"]) == 2
    assert "name it with --shell" in capsys.readouterr().err
