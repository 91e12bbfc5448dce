"""The planted bugs: each patch still fits the code that it breaks, and the simulation finds what it plants.

Here a few are run; `scripts/mutants.py` runs all of them, and so does `-m slow`.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
mutants = importlib.import_module("mutants")

PATCHES = sorted(mutants.MUTANTS.glob("*.patch"))
QUICK = ("log-not-synced", "deletion-not-refolded", "mailbox-grows")


def test_there_are_twenty_at_least():
    assert len(PATCHES) >= 20


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_patch_applies_to_the_tree_as_it_is(patch):
    checked = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    prose, _, diff = patch.read_text("utf-8").partition("--- a/")
    assert prose.strip(), "what does it break?"
    assert diff.startswith("engram/"), "a planted bug is one of the package"


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name, tmp_path):
    patch = mutants.MUTANTS / f"{name}.patch"
    assert mutants.red_seed(patch, mutants.planted(patch, tmp_path), seeds=40, jobs=1) is not None


def test_without_a_bug_the_same_seeds_are_green():
    green, found = mutants.simulate(ROOT, range(8), jobs=1)
    assert green, found


@pytest.mark.slow
def test_every_planted_bug_is_found_within_200_seeds():
    ran = subprocess.run([sys.executable, str(ROOT / "scripts" / "mutants.py")], check=False)
    assert ran.returncode == 0
