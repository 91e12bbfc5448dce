from __future__ import annotations

from typing import NamedTuple

import pytest
from cli.small_memory import SmallMemory, opener_of

from engram.cli.user import run_user


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def memory():
    return SmallMemory()


@pytest.fixture
def engram(memory, capsys):
    """Run `engram` with arguments against `memory`."""

    def run(*arguments):
        code = run_user(arguments, opener_of(memory))
        return Ran(code, *capsys.readouterr())

    return run
