"""Time an audit beside what `sha256sum` needs for the same bytes.

Usage: python bench/audit.py [--events 1000000] [--records 100000] [--dim 16] [--rounds 3] [--folder FOLDER]

The folder is that of `bench/restart.py`: the records, then deletes and puts of them again, and a checkpoint. The
baseline is coreutils' `sha256sum` over every file of `events/` and `bodies/`, from the same page cache; the ratios are
of processor time, since on a busy machine the other says how busy it is. An audit proves
log and bodies, holds every event against its body and what stands before it, and the state tries at every commitment;
with `state.db` it folds the log into fresh tables too, which is where most of its time goes. With --folder one that is
there is used, and kept.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from engram.runtime import ReadOnlyDisk
from engram.store import AuditOrder, audit

sys.path.append(str(Path(__file__).parent))

from restart import make


class Times(NamedTuple):
    """What something took, by the clock and of the processor."""

    seconds: float
    processor: float


def now() -> Times:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Times(time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime)


def since(started: Times) -> Times:
    return Times(*(after - before for after, before in zip(now(), started, strict=True)))


def sha256sum(path: Path) -> Times:
    files = [file for part in ("events", "bodies") for file in sorted((path / part).iterdir())]
    started = now()
    subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)
    return since(started)


def audited(path: Path) -> dict[str, Times]:
    """Audit the folder; give the times of all of it, and of each part that tells how far it is."""
    started = last = now()
    parts: dict[str, Times] = {}

    def tell(part: str, *_: int) -> None:
        nonlocal last
        spent, before = since(last), parts.get(part, Times(0.0, 0.0))
        parts[part] = Times(before.seconds + spent.seconds, before.processor + spent.processor)
        last = now()

    with tempfile.TemporaryDirectory() as scratch:
        report = audit(ReadOnlyDisk(), AuditOrder(path, Path(scratch)), tell, lambda: time.sleep(0.2))
    assert report.status == "sound", report.findings
    return {"all": since(started), **parts}


def without_tables(path: Path, at: Path) -> Path:
    """Give a folder that has the same log and bodies, and no state.db."""
    at.mkdir()
    shutil.copy(path / "FORMAT", at)
    for part in ("events", "bodies", "checkpoints"):
        (at / part).symlink_to(path / part)
    return at


def measure(path: Path, rounds: int) -> None:
    times: dict[str, list[Times]] = {}

    def note(what: str, taken: Times) -> None:
        times.setdefault(what, []).append(taken)

    with tempfile.TemporaryDirectory() as scratch:
        bare = without_tables(path, Path(scratch) / "bare")
        for _ in range(rounds):
            note("sha256sum of log and bodies (baseline)", sha256sum(path))
            found = audited(bare)
            note("audit without state.db", found.pop("all"))
            for part, taken in found.items():
                note(f"  of it {part}", taken)
            note("audit with state.db: folded again and compared", audited(path)["all"])
    size = sum(file.stat().st_size for part in ("events", "bodies") for file in (path / part).iterdir())
    median = {what: Times(*map(statistics.median, zip(*all_, strict=True))) for what, all_ in times.items()}
    baseline = next(iter(median.values())).processor
    print(f"\n{size / 1e6:.0f} MB, median of {rounds}{'':<30}{'seconds':>8}{'of processor':>14}{'MB/s':>7}{'ratio':>8}")
    for what, (seconds, processor) in median.items():
        rate = size / 1e6 / processor
        print(f"{what:<52}{seconds:>8.2f}{processor:>14.2f}{rate:>7.0f}{processor / baseline:>7.1f}x")


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
