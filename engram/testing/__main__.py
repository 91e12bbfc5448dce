"""`python -m engram.testing`: run the simulation of a seed, or of many; replay a failing one, smaller."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from engram.testing._every_call import EveryCall, crash_every_call
from engram.testing._plan import draw
from engram.testing._shrink import shrink, without
from engram.testing._simulation import Report, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHRINK_S = 60.0
_CHUNK = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say; 0 if everything held, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m engram.testing", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed")
    parser.add_argument("--without", default="", help="parts of its plan to leave out, such as step:3,life:0,fault:1.0")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a smaller run that fails alike")
    parser.add_argument("--seeds", type=_range, help="run many, such as 0..1000 (the last one not included)")
    parser.add_argument("--until-failed", action="store_true", help="end --seeds at the first that fails")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for --seeds [all cores]")
    parser.add_argument(
        "--every-call", type=int, metavar="OPERATIONS", help="crash at every disk call of a run of so many operations"
    )
    options = parser.parse_args(arguments)
    if options.seeds is not None:
        return _many(options.seeds, options.jobs, until_failed=options.until_failed)
    if options.seed is None:
        parser.error("give --seed or --seeds")
    if options.every_call is not None:
        return _every_call(options.seed, options.every_call)
    names = [name for name in options.without.split(",") if name]
    return _one(simulate(without(draw(options.seed), names)), names, trace=options.trace, small=options.no_shrink)


def _range(text: str) -> range:
    first, _, behind = text.partition("..")
    return range(int(first), int(behind))


def _one(report: Report, names: list[str], *, trace: bool, small: bool) -> int:
    if report.failure and not small and not names:
        until = time.monotonic() + _SHRINK_S
        report, names = shrink(report, lambda: time.monotonic() < until)
    if trace or report.failure:
        _print_trace(report)
    print(_summary(report))
    if report.failure:
        print(f"FAILED: {report.failure}\nreplay: {_replay(report.plan.seed, names)}")
    return 1 if report.failure else 0


def _print_trace(report: Report) -> None:
    for step, (at, who, what) in enumerate(report.trace):
        print(f"{step:5} {at:10.4f} s  {who:10} {what}")


def _summary(report: Report) -> str:
    return (
        f"seed {report.plan.seed}: {report.calls} calls, {report.lives} lives, {report.virtual_s:.1f} s of virtual "
        f"time, digest {report.digest[:16]}"
    )


def _replay(seed: int, names: Iterable[str]) -> str:
    left_out = ",".join(names)
    return f"python -m engram.testing --seed {seed}" + (f" --without {left_out}" if left_out else "")


def _many(seeds: range, jobs: int, *, until_failed: bool) -> int:
    started, done, failed = time.monotonic(), 0, 0
    size = min(_CHUNK, max(1, len(seeds) // jobs)) if not until_failed else 1
    chunks = [seeds[at : at + size] for at in range(0, len(seeds), size)]
    with ProcessPoolExecutor(jobs) as pool:
        for failures in pool.map(_failures, chunks):
            done += min(size, len(seeds) - done)
            failed += len(failures)
            for seed, failure in failures:
                print(f"seed {seed} FAILED: {failure}\n  replay: {_replay(seed, [])}", flush=True)
            _progress(f"{done} of {len(seeds)} seeds, {failed} failed, {done / (time.monotonic() - started):.0f}/s")
            if failed and until_failed:
                pool.shutdown(cancel_futures=True)
                break
    print(f"{done} seeds in {time.monotonic() - started:.0f} s, {failed} failed")
    return 1 if failed else 0


def _failures(seeds: range) -> list[tuple[int, str]]:
    found = []
    for seed in seeds:
        report = simulate(seed)
        if report.failure:
            found.append((seed, report.failure))
    return found


def _every_call(seed: int, operations: int) -> int:
    started = time.monotonic()

    def told(outcome: EveryCall) -> None:
        if outcome.calls % 50 == 0:
            _progress(f"{outcome.calls} calls, {outcome.crashes} crashes, {outcome.restarts} different images opened")

    outcome = crash_every_call(seed, operations, told=told)
    print(
        f"seed {seed}, {operations} operations: {outcome.calls} disk calls, {outcome.crashes} crashes, "
        f"{outcome.restarts} different images opened, {time.monotonic() - started:.0f} s"
    )
    print(f"FAILED: {outcome.failure}" if outcome.failure else "0 acknowledged writes lost")
    return 1 if outcome.failure else 0


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
