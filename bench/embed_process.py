"""Start an embedder in a process of its own (`embed_contestant.py`) and ask it: for the embedder's two benchmarks."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = Path(__file__).with_name("embed_contestant.py")
FIRST = "Memories that can be proved"


class Process:
    """A running contestant. From its execution to its first vector: `started_s`; `starting_s` of the processor."""

    def __init__(self, backend: str, *, environ: Mapping[str, str] | None = None, **settings: Any) -> None:
        command = [sys.executable, str(PROGRAM), json.dumps({"backend": backend, **settings}), FIRST]
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # The `tokenizers` package has threads of its own, and what is compared here is one thread with one.
            env=os.environ | {"RAYON_NUM_THREADS": "1"} | (environ or {}),
        )
        first = self._answer()
        self.started_s = time.perf_counter() - started
        self.starting_s, self.peak_mib = first["processor_s"], first["peak_mib"]

    def ask(self, texts, *, batch=1, threads=1, alone=False, keep=False) -> dict[str, Any]:
        ask = {"texts": texts, "batch": batch, "threads": threads, "alone": alone, "keep": keep}
        self._process.stdin.write(json.dumps(ask) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"error: the contestant ended: {self._process.args}")
        return json.loads(line)


class Entry(NamedTuple):
    """A contestant, how it is asked, and which time counts."""

    name: str
    process: Process
    batch: int
    threads: int = 1
    clock: str = "processor_s"

    def time(self, texts: list[str]) -> float:
        return self.process.ask(texts, batch=self.batch, threads=self.threads)[self.clock]


def race(entries: list[Entry], texts: list[str], tokens: int, rounds: int) -> None:
    """Print a row for each; the first is the baseline."""
    taken = [[entry.time(texts) for entry in entries] for _ in range(rounds)]
    times = list(zip(*taken, strict=True))
    for entry, its in zip(entries, times, strict=True):
        name = entry.name + " (baseline)" * (its is times[0])
        best = min(its)
        row(name, f"{len(texts) / best:.1f}", f"{tokens / best:,.0f}", f"{ratio(times[0], its):.2f}")


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def table(*columns: str) -> None:
    print(flush=True)
    row(*columns)
    print("|---|" + "---:|" * (len(columns) - 1), flush=True)


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)
