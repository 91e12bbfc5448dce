"""Plant a bug, and see that the simulation finds it: every patch in `tests/mutants/`, one after another.

    python scripts/mutants.py [NAME …] [--seeds 200]

Each patch breaks one promise on purpose. It is applied to a copy of the package, and the seeds run on the copy until
one of them is red. First the package as it is must be green on the same seeds: a simulation that is always red finds
nothing. A patch says in its first lines what it breaks; one that touches the Rust core has it built anew.

Exit codes: 0 the package is green and every mutant is red, 1 not so.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTANTS = ROOT / "tests" / "mutants"
_RED = re.compile(r"seed (\d+)[^\n]*")
_SKIPPED = shutil.ignore_patterns("target", "__pycache__")


def main() -> int:
    """Run the mutants that are named, or all; print a line for each."""
    arguments = parsed()
    patches = sorted(MUTANTS.glob("*.patch"))
    if arguments.names:
        unknown = set(arguments.names) - {patch.stem for patch in patches}
        if unknown:
            print(f"no mutant {', '.join(sorted(unknown))}; there are: {', '.join(patch.stem for patch in patches)}")
            return 1
        patches = [patch for patch in patches if patch.stem in arguments.names]
    survived = [] if arguments.no_baseline or baseline(arguments.seeds) else ["the package as it is"]
    survived += [patch.stem for patch in patches if not killed(patch, arguments.seeds)]
    print(f"{len(patches) - len([name for name in survived if name != 'the package as it is'])} of {len(patches)} red")
    if survived:
        print(f"not as they should be: {', '.join(survived)}")
    return 1 if survived else 0


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Plant bugs, and see that the simulation finds them.")
    parser.add_argument("names", nargs="*", help="mutants to run; all if left out")
    parser.add_argument("--seeds", type=int, default=200, help="seeds within which a mutant must be red")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the package as it is first")
    return parser.parse_args()


def baseline(seeds: int) -> bool:
    """Run the seeds on the package as it is; give whether all are green."""
    started = time.monotonic()
    ran = simulate(ROOT, seeds)
    green = ran.returncode == 0
    print(f"{'green' if green else 'RED':9} {time.monotonic() - started:6.1f} s  the package as it is", flush=True)
    if not green:
        print(ran.stdout[-4000:] + ran.stderr[-4000:])
    return green


def killed(patch: Path, seeds: int) -> bool:
    """Run the seeds on a copy with the patch; give whether one of them is red."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="engram-mutant-") as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "engram", copy / "engram", ignore=_SKIPPED)
        subprocess.run(["git", "apply", str(patch)], cwd=copy, check=True)
        if ".rs" in patch.read_text("utf-8"):
            build(copy)
        ran = simulate(copy, seeds)
    found = _RED.search(ran.stdout + ran.stderr)
    red = ran.returncode == 1 and found is not None
    verdict = "red" if red else "SURVIVED" if ran.returncode == 0 else f"exit {ran.returncode}"
    said = found[0][:100] if found else ""
    print(f"{verdict:9} {time.monotonic() - started:6.1f} s  {patch.stem}: {said}", flush=True)
    if ran.returncode not in {0, 1}:
        print(ran.stdout[-2000:] + ran.stderr[-2000:])
    return red


def simulate(tree: Path, seeds: int) -> subprocess.CompletedProcess[str]:
    """Run the seeds with the package that stands in `tree`, up to the first that is red."""
    command = [sys.executable, "-m", "engram.testing", "--seeds", f"0..{seeds - 1}", "--no-shrink"]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def build(copy: Path) -> None:
    """Build the copy's native core; what is built of the crates it stands on is kept for the next."""
    target = Path(tempfile.gettempdir()) / f"engram-mutants-target-{os.getuid()}"
    command = ["cargo", "build", "--release", "--quiet", "--features", "python"]
    native = copy / "engram" / "native"
    subprocess.run(command, cwd=native, env=os.environ | {"CARGO_TARGET_DIR": str(target)}, check=True)
    [library] = [path for path in (target / "release").iterdir() if path.suffix in {".so", ".dylib"}]
    (native / "_core.abi3.so").unlink()
    shutil.copy(library, native / "_core.abi3.so")


if __name__ == "__main__":
    sys.exit(main())
