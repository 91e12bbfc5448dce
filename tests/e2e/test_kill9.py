"""A real node under real clients, killed with SIGKILL at random moments: see `scripts/kill9.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import golden
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill9.py"


def kill9(*arguments):
    ran = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice():
    said = kill9("--rounds", "3", "--clients", "3", "--longest", "1.0", "--seed", "7")
    assert "3 rounds:" in said
    assert said.splitlines()[-1].startswith("all held")


def test_an_ingest_that_was_killed_is_finished_by_running_it_again(tmp_path):
    glosses = [json.loads(line) for line in (golden.DATA / "glosses.jsonl").read_text("utf-8").splitlines()]
    many = [{**gloss, "text": f"{gloss['text']} ({number})"} for number in range(5) for gloss in glosses]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(memory) + "\n" for memory in many), "utf-8")
    said = kill9("--cli", "--corpus", tmp_path / "corpus.jsonl", "--texts", "1000", "--seed", "3")
    acknowledged = int(re.search(r"killed in the middle: (\d+) of 1000", said)[1])
    assert 0 < acknowledged < 1000
    assert "run again: 1000 lines, 1000 records" in said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_rounds():
    assert "20 rounds:" in kill9("--rounds", "20", "--seed", "1")
