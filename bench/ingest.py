"""Time the writing of texts against the embedder alone, in the same run; `index_ingest.py` has vectors.

Usage: python bench/ingest.py [--texts 2000]

Texts are WordNet glosses, into a fresh node each time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from folders import glosses
from node_process import ENGRAM, NodeProcess

from engram.embed import find_model, load_embedder
from engram.sdk import EngramClient

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3


def embedder_alone(texts: list[str]) -> Callable[[Path], float]:
    files = find_model(None)
    assert files is not None, "the model is not here: engram-node model fetch"
    embedder = load_embedder(files)

    def run(_: Path) -> float:
        started = time.perf_counter()
        for at in range(0, len(texts), 8):
            embedder.embed(texts[at : at + 8])
        return time.perf_counter() - started

    return run


def through_sdk(texts: list[str]) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        with NodeProcess(folder) as node, EngramClient(node.url) as client:
            node.wait_for_model()
            started = time.perf_counter()
            assert all(isinstance(cid, str) for cid in client.ingest_many(texts))
            return time.perf_counter() - started

    return run


def through_cli(memories: list[dict]) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        file = folder.with_suffix(".jsonl")
        file.write_text("".join(json.dumps(memory) + "\n" for memory in memories), "utf-8")
        with NodeProcess(folder) as node:
            node.wait_for_model()
            started = time.perf_counter()
            subprocess.run([*ENGRAM, "ingest", "--file", file, "--node", node.url], check=True, capture_output=True)
            return time.perf_counter() - started

    return run


def table(unit: str, count: int, contestants: dict[str, Callable[[Path], float]]) -> None:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(run(Path(folder) / "data"))
    print(f"\n{count} {unit}, median of {ROUNDS}{'':<26}{'per second':>12}{'times the baseline':>20}")
    baseline = statistics.median(next(iter(times.values())))
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:48}{count / median:>12.0f}{baseline / median:>19.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2000)
    options = parser.parse_args()
    memories = glosses(options.texts)
    texts = [memory["text"] for memory in memories]
    table(
        "texts",
        options.texts,
        {
            "embedder alone, one thread": embedder_alone(texts),
            "SDK, ingest_many": through_sdk(texts),
            "engram ingest --file, whole command": through_cli(memories),
        },
    )


if __name__ == "__main__":
    main()
