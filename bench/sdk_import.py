"""Time what it costs to import the client, beside others, and count what it brings along.

Usage: python bench/sdk_import.py [--rival PYTHON] [--wheel FILE] [--rounds 20]

`--rival`: a Python that has qdrant_client; `--wheel`: Engram's wheel, whose size is told. Each round takes every
contestant in turn, each in a process of its own, so that a busy machine slows them alike. The baseline is `import
httpx`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

BASELINE = "import httpx"
NOTHING = "pass"
LOADED = """
import sys
before = set(sys.modules)
{what}
import importlib.metadata, json
tops = {{name.split(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)
named = importlib.metadata.packages_distributions()
tops = {{top for top in tops if top != "engram" and not top.startswith("_")}}
print(json.dumps([len(set(sys.modules) - before), sorted({{named.get(top, [top])[0] for top in tops}})]))
"""


def took_s(python: str, what: str) -> float:
    started = time.perf_counter()
    subprocess.run([python, "-c", what], check=True)
    return time.perf_counter() - started


def loaded(python: str, what: str) -> tuple[int, list[str]]:
    code = LOADED.format(what=what)
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    count, names = json.loads(done.stdout)
    return count, names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival")
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    contestants = {
        NOTHING: sys.executable,
        BASELINE: sys.executable,
        "import engram.sdk": sys.executable,
        "from engram.sdk import AsyncEngramClient": sys.executable,
    }
    if options.rival:
        contestants["import qdrant_client"] = options.rival
    times: dict[str, list[float]] = {what: [] for what in contestants}
    for _ in range(options.rounds):
        for what, python in contestants.items():
            times[what].append(took_s(python, what))
    print("| in a process of its own, over an empty one | median ms | best ms | best, times `import httpx` | modules |")
    print("|---|---:|---:|---:|---:|")
    over = {
        what: [1000 * (of(taken) - of(times[NOTHING])) for of in (statistics.median, min)]
        for what, taken in times.items()
    }
    brought = {}
    for what, python in contestants.items():
        if what != NOTHING:
            count, brought[what] = loaded(python, what)
            median, best = over[what]
            print(f"| `{what}` | {median:.0f} | {best:.0f} | {best / over[BASELINE][1]:.2f} | {count} |")
    print()
    for what, names in brought.items():
        print(f"`{what}` loads {', '.join(names)}.")
    if options.wheel:
        print(f"\nThe wheel has {options.wheel.stat().st_size / 1e6:.2f} MB.")


if __name__ == "__main__":
    main()
