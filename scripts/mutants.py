"""Plant a bug, and see that the simulation finds it: every patch in `tests/mutants/`, one after another.

    python scripts/mutants.py [NAME …] [--seeds 200] [--note]

Each patch breaks one promise on purpose. It is applied to a copy of the package, and the seeds run on the copy until
one of them is red. A patch says in its first lines what it breaks; a line `Seed: N` names the seed that found it last,
which is tried first, and after that all of them from 0 on: it saves time and finds nothing that they would not.
`--note` writes those lines anew. First the package as it is must be green on all the seeds: a simulation that is always
red finds nothing. A patch that touches the Rust core has it built anew.

Exit codes: 0 the package is green and every mutant is red, 1 not so.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTANTS = ROOT / "tests" / "mutants"
AS_IT_IS = "the package as it is"
LONGEST_S = 900.0
"""What one mutant may take; one that hangs the simulation for longer is not found."""

_RED = re.compile(r"^seed (\d+) FAILED: (.*)$", re.MULTILINE)
_SEED = re.compile(r"^Seed: (\d+)$", re.MULTILINE)
_SKIPPED = shutil.ignore_patterns("target", "__pycache__")


def main() -> int:
    """Run the mutants that are named, or all; print a line for each."""
    arguments = parsed()
    patches = sorted(MUTANTS.glob("*.patch"))
    if unknown := set(arguments.names) - {patch.stem for patch in patches}:
        print(f"no mutant {', '.join(sorted(unknown))}; there are: {', '.join(patch.stem for patch in patches)}")
        return 1
    patches = [patch for patch in patches if not arguments.names or patch.stem in arguments.names]
    wrong = [] if arguments.no_baseline or baseline(arguments) else [AS_IT_IS]
    survived = [patch.stem for patch in patches if not killed(patch, arguments)]
    print(f"{len(patches) - len(survived)} of {len(patches)} red")
    if wrong or survived:
        print(f"not as they should be: {', '.join(wrong + survived)}")
    return 1 if wrong or survived else 0


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Plant bugs, and see that the simulation finds them.")
    parser.add_argument("names", nargs="*", help="mutants to run; all if left out")
    parser.add_argument("--seeds", type=int, default=200, help="seeds within which a mutant must be red")
    parser.add_argument("--jobs", type=int, default=2, help="processes that run seeds")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the package as it is first")
    parser.add_argument("--note", action="store_true", help="note in each patch the seed that found it")
    return parser.parse_args()


def baseline(arguments: argparse.Namespace) -> bool:
    """Run the seeds on the package as it is; give whether all are green."""
    started = time.monotonic()
    green, found = simulate(ROOT, range(arguments.seeds), arguments.jobs)
    seconds = time.monotonic() - started
    print(f"{'green' if green else 'RED':9} {seconds:6.1f} s  {AS_IT_IS} {found or ''}", flush=True)
    return green


def killed(patch: Path, arguments: argparse.Namespace) -> bool:
    """Run the seeds on a copy with the patch; give whether one of them is red."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="engram-mutant-") as folder:
        found = red_seed(patch, planted(patch, Path(folder)), arguments.seeds, arguments.jobs)
    seconds = time.monotonic() - started
    if found is None:
        print(f"{'SURVIVED':9} {seconds:6.1f} s            {patch.stem}", flush=True)
        return False
    seed, sentence = found
    print(f"{'red':9} {seconds:6.1f} s  seed {seed:>3}  {patch.stem}: {sentence[:160]}", flush=True)
    if arguments.note:
        note(patch, seed)
    return True


def red_seed(patch: Path, tree: Path, seeds: int, jobs: int) -> tuple[int, str] | None:
    """Give the first seed that is red in a tree with a bug, and its sentence; that which the patch names goes first."""
    named = _SEED.search(patch.read_text("utf-8"))
    if named and int(named[1]) < seeds:
        _, found = simulate(tree, range(int(named[1]), int(named[1]) + 1), 1)
        if found:
            return found
    return simulate(tree, range(seeds), jobs)[1]


def planted(patch: Path, folder: Path) -> Path:
    """Copy the package into `folder`, with the bug; give the folder."""
    shutil.copytree(ROOT / "engram", folder / "engram", ignore=_SKIPPED)
    subprocess.run(["git", "apply", str(patch)], cwd=folder, check=True)
    if ".rs" in patch.read_text("utf-8"):
        build(folder)
    return folder


def simulate(tree: Path, seeds: range, jobs: int) -> tuple[bool, tuple[int, str] | None]:
    """Run seeds with the package that stands in `tree`; give whether all are green, and the first that is red."""
    command = [sys.executable, "-m", "engram.testing", "--seeds", f"{seeds.start}..{seeds.stop}"]
    command += ["--until-failed", "--jobs", str(jobs)]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = ran.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(ran.pid, signal.SIGKILL)  # the processes that run the seeds are its children
        said, errors = ran.communicate()
        print(f"the seeds {seeds.start} to {seeds.stop} have not ended after {LONGEST_S:.0f} s")
    red = _RED.search(said)
    if ran.returncode and not red:
        print(said[-2000:] + errors[-2000:])
    return ran.returncode == 0, (int(red[1]), red[2]) if red else None


def note(patch: Path, seed: int) -> None:
    """Write into a patch which seed has found it."""
    text = _SEED.sub("", patch.read_text("utf-8"))
    prose, _, diff = text.partition("--- a/")
    patch.write_text(f"{prose.rstrip()}\nSeed: {seed}\n\n--- a/{diff}", "utf-8")


def build(folder: Path) -> None:
    """Build the copy's native core; what is built of the crates it stands on is kept for the next."""
    target = Path(tempfile.gettempdir()) / f"engram-mutants-target-{os.getuid()}"
    command = ["cargo", "build", "--release", "--quiet", "--features", "python"]
    native = folder / "engram" / "native"
    subprocess.run(command, cwd=native, env=os.environ | {"CARGO_TARGET_DIR": str(target)}, check=True)
    [library] = [path for path in (target / "release").iterdir() if path.suffix in {".so", ".dylib"}]
    (native / "_core.abi3.so").unlink()
    shutil.copy(library, native / "_core.abi3.so")


if __name__ == "__main__":
    sys.exit(main())
