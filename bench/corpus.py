"""Put the 117,659 glosses of WordNet through a node at full speed, twice, and query it meanwhile.

Usage: python bench/corpus.py [--every N] [--kernels avx512 avx2]

The first run embeds with the first kernel and sends the glosses in order, 100 a call; the second embeds with the second
kernel and sends them shuffled, 37 a call. The CIDs of both must be equal. All the while another process asks a query by
text, a query by vector, and waits 50 ms. The baseline is the embedder alone, on one thread, before each run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from folders import glosses
from node_process import NodeProcess

from engram.embed import find_model, load_embedder
from engram.sdk import EngramClient

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

PAUSE_S = 0.05
IN_FLIGHT = 4
QUESTIONS = ("small furry pets", "where do rivers end?", "to give up hope", "an instrument that measures time")
LIMITS_MS = {"by text": 50, "by vector": 10}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every N-th gloss only")
    parser.add_argument("--kernels", nargs=2, default=("avx512", "avx2"), help="of the two runs (%(default)s)")
    options = parser.parse_args()
    memories = glosses(None)[:: options.every]
    shuffled = random.Random(4).sample(memories, len(memories))
    first = measure(memories, 100, options.kernels[0])
    second = measure(shuffled, 37, options.kernels[1])
    different = sum(first[key] != second[key] for key in first)
    print(f"\n{len(first):,} CIDs, two runs, two kernels, two orders, two batch sizes: {different} differ")
    return 1 if different else 0


def measure(memories: list[dict[str, Any]], batch: int, kernel: str) -> dict[str, str]:
    """Ingest all; print the table; give each gloss's CID by its key."""
    alone = embedder_alone([memory["text"] for memory in random.Random(1).sample(memories, 1000)], kernel)
    with tempfile.TemporaryDirectory() as temporary, NodeProcess(Path(temporary) / "data", kernel=kernel) as node:
        node.wait_for_model()
        spawn = multiprocessing.get_context("spawn")
        stop, (ours, theirs) = spawn.Event(), spawn.Pipe()
        asker = spawn.Process(target=ask, args=(node.url, stop, theirs))
        asker.start()
        ours.recv()
        started = time.perf_counter()
        cids = ingest(node.url, memories, batch)
        taken = time.perf_counter() - started
        stop.set()
        times = ours.recv()
        asker.join()
    print(f"\n{len(memories):,} glosses, {kernel}, {batch} a call: {taken:.0f} s")
    print(f"{'':44}{'per second':>12}{'times the baseline':>20}")
    print(f"{'embedder alone, one thread (baseline)':44}{alone:>12.0f}{1:>19.2f}x")
    rate = len(memories) / taken
    print(f"{'through the node, durable, being queried':44}{rate:>12.0f}{rate / alone:>19.2f}x")
    print(f"{'meanwhile':44}{'queries':>12}{'p50 ms':>10}{'p99 ms':>10}{'limit ms':>10}")
    for name, found in times.items():
        p50, p99 = np.percentile(found, [50, 99]) * 1e3
        print(f"{'query ' + name:44}{len(found):>12,}{p50:>10.2f}{p99:>10.2f}{LIMITS_MS[name]:>10}")
    sys.stdout.flush()
    return cids


def embedder_alone(texts: list[str], kernel: str) -> float:
    files = find_model()
    assert files is not None, "the model is not here: engram-node model fetch"
    embedder = load_embedder(files, kernel=kernel)
    started = time.perf_counter()
    for at in range(0, len(texts), 8):
        embedder.embed(texts[at : at + 8])
    return len(texts) / (time.perf_counter() - started)


def ingest(url: str, memories: list[dict[str, Any]], batch: int) -> dict[str, str]:
    """Send batches, several in flight; raise the first error."""
    with EngramClient(url) as client, ThreadPoolExecutor(IN_FLIGHT) as pool:
        parts = [memories[at : at + batch] for at in range(0, len(memories), batch)]
        outcomes = [outcome for part in pool.map(client.ingest_many, parts) for outcome in part]
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    keys = [f"{memory['metadata']['pos']} {memory['metadata']['offset']}" for memory in memories]
    return {key: str(cid) for key, cid in zip(keys, outcomes, strict=True)}


def ask(url: str, stop: Event, answers: Any) -> None:
    """Query until told to stop; send the seconds that each took."""
    times: dict[str, list[float]] = {name: [] for name in LIMITS_MS}
    with EngramClient(url) as client:
        vector = client.embed(QUESTIONS[0])
        answers.send(None)
        while not stop.is_set():
            question = QUESTIONS[len(times["by text"]) % len(QUESTIONS)]
            started = time.perf_counter()
            client.query(question)
            between = time.perf_counter()
            client.query_by_vector(vector)
            times["by text"].append(between - started)
            times["by vector"].append(time.perf_counter() - between)
            stop.wait(PAUSE_S)
    answers.send(times)


if __name__ == "__main__":
    sys.exit(main())
