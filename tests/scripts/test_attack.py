"""The attacks, for some seconds each; the minutes that docs/benchmarks.md has are of the same script."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))  # where a script finds what it imports when it is run

from attacking.attacks import ATTACKS  # noqa: E402


def attack(*arguments):
    """Run the script; give its exit code and what it printed."""
    command = [sys.executable, ROOT / "scripts" / "attack.py", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_a_node_lives_and_serves_beside_each_attack():
    code, said = attack("--seconds", 0.7, "--random-s", 2, "--records", 500)
    assert code == 0, said
    for door in ("rpc", "http"):
        assert [line.split()[1] for line in said.splitlines() if f"| {door} |" in line] == list(ATTACKS)


def test_memory_over_what_is_allowed_is_found():
    code, said = attack("--seconds", 0.5, "--records", 5, "--only", "silence", "--door", "rpc", "--rss-mib", 10)
    assert code == 1
    assert "MiB, over 10" in said


@pytest.mark.slow  # half an hour
@pytest.mark.timeout(3600)
def test_ten_minutes_of_random_bytes_at_each_door():
    code, said = attack()
    assert code == 0, said
