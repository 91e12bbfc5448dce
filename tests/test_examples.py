from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.usefixtures("model_files")
def test_an_agent_remembers_and_keeps_nothing_twice(tmp_path):
    command = [sys.executable, EXAMPLES / "agent_memory.py", tmp_path / "memory", "what should I cook tonight?"]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == again.stdout
    assert first.stdout.startswith("5 memories; the three nearest")
    assert "vegetarian" in first.stdout
    assert "peanuts" not in first.stdout
    assert first.stderr == again.stderr == ""


def test_an_actor_of_ones_own_follows_a_memory_and_is_tested_in_virtual_time(tmp_path):
    command = [sys.executable, "-W", "error", EXAMPLES / "plugin_actor.py", tmp_path / "memory"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1].split() == ["census", "running", "0", "crashes"]
        assert done.stderr == ""
