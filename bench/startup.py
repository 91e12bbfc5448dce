"""Time how long a user waits: for `engram query` from the shell, and for a node that starts.

Usage: python bench/startup.py [--texts FOLDER] [--vectors FOLDER] [--rounds 10]

       python bench/startup.py --help-texts [--rounds 10]

Folders as `bench/folders.py` makes them; without --texts one of 5,000 glosses is made. Each round takes every
contestant in turn, so that a busy machine slows them alike. The baseline is what Python takes to do nothing.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from folders import NAMESPACE, make_texts, random_vectors
from node_process import ENGRAM, NodeProcess

from engram.cli import node, user
from engram.cli._target import open_target
from engram.sdk import EngramClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyclopts import App

ENGRAM_NODE = (sys.executable, "-c", "from engram.cli.node import main; main()")
BASELINE = "python -c pass"
QUERY = "small furry animals that people keep"


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def first_answer(folder: Path, ask: Callable[[EngramClient], object]) -> None:
    with NodeProcess(folder) as node, EngramClient(node.url) as client:
        assert ask(client)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--help-texts", action="store_true", help="time --help of every command, and nothing else")
    options = parser.parse_args()
    if options.help_texts:
        measure_help(options.rounds)
        return
    with tempfile.TemporaryDirectory() as temporary:
        texts = options.texts or Path(temporary) / "texts"
        if options.texts is None:
            make_texts(texts, 5000)
        measure(texts, options.vectors, options.rounds)


def measure(texts: Path, vectors: Path | None, rounds: int) -> None:
    python, vector = sys.executable, random_vectors(1, seed=2)[0]
    starts = {
        BASELINE: (None, lambda: run(python, "-c", "pass")),
        "python -c 'import engram.sdk'": (None, lambda: run(python, "-c", "import engram.sdk")),
    }
    ends = {
        "node start to first text query": (1.0, lambda: first_answer(texts, lambda client: client.query(QUERY))),
        "node start to first vector query": (
            1.0,
            lambda: first_answer(texts, lambda client: client.query_by_vector(vector)),
        ),
    }
    if vectors is not None:
        ends["node start to first vector query, large folder"] = (
            1.0,
            lambda: first_answer(vectors, lambda client: client.query_by_vector(vector, namespace=NAMESPACE)),
        )
    times: dict[str, list[float]] = {}
    with NodeProcess(texts) as process:
        process.wait_for_model()
        shell = {"engram query, from the shell": (0.3, lambda: run(*ENGRAM, "query", QUERY, "--node", process.url))}
        rounds_of(starts | shell, rounds, times)
    rounds_of(ends, rounds, times)
    show({name: limit_s for name, (limit_s, _) in (starts | shell | ends).items()}, times)


def measure_help(rounds: int) -> None:
    contestants = {BASELINE: (None, lambda: run(sys.executable, "-c", "pass"))}
    for program, app in ((ENGRAM, user.build(open_target)), (ENGRAM_NODE, node.build())):
        for words in commands(app):
            name = " ".join([app.name[0], *words, "--help"])
            contestants[name] = (0.25, functools.partial(run, *program, *words, "--help"))
    times: dict[str, list[float]] = {}
    rounds_of(contestants, rounds, times)
    show({name: limit_s for name, (limit_s, _) in contestants.items()}, times)


def commands(app: App) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name in app:
        if not name.startswith("-"):
            found += [(name, *rest) for rest in commands(app[name])]
    return found


def show(limits_s: dict[str, float | None], times: dict[str, list[float]]) -> None:
    print(f"{'':48}{'median ms':>10}{'best ms':>10}{'limit ms':>10}{'times the baseline':>20}")
    baseline = statistics.median(times[BASELINE])
    for name, limit_s in limits_s.items():
        median = statistics.median(times[name])
        limit = f"{limit_s * 1e3:.0f}" if limit_s else ""
        best = min(times[name])
        print(f"{name:48}{median * 1e3:>10.0f}{best * 1e3:>10.0f}{limit:>10}{median / baseline:>19.1f}x")


def rounds_of(contestants: dict, rounds: int, times: dict[str, list[float]]) -> None:
    for _ in range(rounds):
        for name, (_, call) in contestants.items():
            started = time.perf_counter()
            call()
            times.setdefault(name, []).append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
