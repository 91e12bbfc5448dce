"""Time an audit beside what `sha256sum` needs for the same bytes.

Usage: python bench/audit.py [--events 1000000] [--records 100000] [--dim 16] [--rounds 3] [--folder FOLDER]

The folder is that of `bench/restart.py`: the records, then deletes and puts of them again, and a checkpoint. The
baseline is coreutils' `sha256sum` over every file of `events/` and `bodies/`, from the same page cache. An audit proves
log and bodies, holds every event against its body and what stands before it, and the state tries at every commitment;
with `state.db` it folds the log into fresh tables too, which is where most of its time goes. With --folder one that is
there is used, and kept.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engram.runtime import ReadOnlyDisk
from engram.store import AuditOrder, audit

sys.path.append(str(Path(__file__).parent))

from restart import make


def sha256sum(path: Path) -> float:
    files = [file for part in ("events", "bodies") for file in sorted((path / part).iterdir())]
    started = time.perf_counter()
    subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def audited(path: Path) -> dict[str, float]:
    """Audit the folder; give the seconds of all of it, and of each part that tells how far it is."""
    started = last = time.perf_counter()
    parts: dict[str, float] = {}

    def tell(part: str, *_: int) -> None:
        nonlocal last
        now = time.perf_counter()
        parts[part] = parts.get(part, 0.0) + now - last
        last = now

    with tempfile.TemporaryDirectory() as scratch:
        report = audit(ReadOnlyDisk(), AuditOrder(path, Path(scratch)), tell, lambda: time.sleep(0.2))
    assert report.status == "sound", report.findings
    return {"all": time.perf_counter() - started, **parts}


def without_tables(path: Path, at: Path) -> Path:
    """Give a folder that has the same log and bodies, and no state.db."""
    at.mkdir()
    shutil.copy(path / "FORMAT", at)
    for part in ("events", "bodies", "checkpoints"):
        (at / part).symlink_to(path / part)
    return at


def measure(path: Path, rounds: int) -> None:
    times: dict[str, list[float]] = {}

    def note(what: str, seconds: float) -> None:
        times.setdefault(what, []).append(seconds)

    with tempfile.TemporaryDirectory() as scratch:
        bare = without_tables(path, Path(scratch) / "bare")
        for _ in range(rounds):
            note("sha256sum of log and bodies (baseline)", sha256sum(path))
            found = audited(bare)
            note("audit without state.db", found.pop("all"))
            for part, seconds in found.items():
                note(f"  of it {part}", seconds)
            note("audit with state.db: folded again and compared", audited(path)["all"])
    size = sum(file.stat().st_size for part in ("events", "bodies") for file in (path / part).iterdir())
    baseline = statistics.median(next(iter(times.values())))
    print(f"\n{size / 1e6:.0f} MB, median of {rounds}{'':<30}{'seconds':>10}{'MB/s':>8}{'times the baseline':>20}")
    for what, taken in times.items():
        median = statistics.median(taken)
        print(f"{what:<52}{median:>10.2f}{size / 1e6 / median:>8.0f}{median / baseline:>19.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    path = (options.folder or Path(tempfile.mkdtemp(prefix="engram-audit-")) / "data").absolute()
    try:
        if not path.exists():
            make(path, options.events, options.records, options.dim)
        measure(path, options.rounds)
    finally:
        if options.folder is None:
            shutil.rmtree(path.parent)


if __name__ == "__main__":
    main()
