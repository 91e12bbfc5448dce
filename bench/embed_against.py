"""The native embedder against onnxruntime and sentence-transformers: accuracy, throughput, latency, start and memory.

Usage: python bench/embed_against.py WORK [--rounds 7] [--only PART ...]

WORK is a folder in which the model's folder, its ONNX graphs and the AVX2 onnxruntime are made once and kept (400 MB).
It wants an environment of its own, in which everything is installed (3 GB, with torch):

    python3 -m venv ../rivals
    ../rivals/bin/pip install -e . sentence-transformers onnxruntime onnx onnxscript

Each contestant is a process of its own; each round takes every contestant in turn; "times the baseline" is the median
of the rounds' ratios. The baseline is onnxruntime at its best: the graph, the batch and the way of using two threads
that were fastest in a first pass, texts sorted by length. Tokenising counts for all. One thread: processor time; two
threads, and starting: time of the clock.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from embed_process import Entry, Process, race, ratio, row, table
from embed_rivals import HIDDEN, LAYERS, avx2_onnxruntime, fused_graph, model_folder, plain_graph
from embed_texts import MOST_TOKENS, corpus_and_queries, glosses, of_tokens, real_texts
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THROUGHPUT_TEXTS, CORPUS, QUERIES, K, TIE = 500, 4000, 500, 10, 1e-6
LATENCY_TOKENS = (8, 32, 128, 256)
LATENCY_CALLS = 20
SIDE = 1536
ENGRAM_BATCH = 16
BATCHES, TORCH_BATCHES = (2, 4, 8, 16, 32), (4, 8, 32)


class Bench:
    def __init__(self, work: Path, rounds: int) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.rounds = work, rounds
        self.folder = str(model_folder(work))
        self.tokenizer = f"{self.folder}/tokenizer.json"
        self.graphs = {"exported": str(plain_graph(work)), "fused": str(fused_graph(work))}
        tokenizer = Tokenizer.from_file(self.tokenizer)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.count: Callable[[str], int] = lambda text: len(tokenizer.encode(text).ids)

    def engram(self, kernel: str | None = None) -> Process:
        return Process("engram", kernel=kernel)

    def onnxruntime(self, graph: str, threads: int = 1, *, avx2: bool = False) -> Process:
        path = os.pathsep.join([str(avx2_onnxruntime(self.work)), os.environ.get("PYTHONPATH", "")])
        environ = {"PYTHONPATH": path} if avx2 else {}
        settings = {"graph": self.graphs[graph], "tokenizer": self.tokenizer, "threads": threads}
        return Process("onnxruntime", environ=environ, **settings)

    def torch(self) -> Process:
        return Process("torch", folder=self.folder)


# -- accuracy ----------------------------------------------------------------------------------------------------------


def accuracy(bench: Bench) -> None:
    texts = real_texts(bench.count)
    corpus, queries = corpus_and_queries(CORPUS, QUERIES)
    with bench.engram() as ours, bench.torch() as torch:
        cosines = _cosines(_vectors(ours, texts, ENGRAM_BATCH), _vectors(torch, texts, 1))
        scores = [_vectors(p, queries, 32) @ _vectors(p, corpus, 32).T for p in (ours, torch)]
    same, tied = _same_top(*scores)
    table("against sentence-transformers", "", "bar")
    row(f"1 - cosine, the worst of {len(texts)} real texts of 3 to 256 tokens", f"{1 - min(cosines):.1e}", "1.0e-06")
    row(f"the farthest of {scores[0].size:,} scores from theirs", f"{np.abs(scores[0] - scores[1]).max():.1e}", "")
    row(f"queries of {QUERIES} with the same top {K} of {CORPUS}", f"{same}", f"{QUERIES}")
    row(f"of these, with a tie within {TIE:g} in another order", f"{tied}", "")


def _vectors(process: Process, texts: list[str], batch: int) -> np.ndarray:
    found = b"".join(map(bytes.fromhex, process.ask(texts, batch=batch, keep=True)["vectors"]))
    return np.frombuffer(found, "<f4").reshape(len(texts), -1).astype(np.float64)


def _cosines(one: np.ndarray, other: np.ndarray) -> list[float]:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return list((one * other).sum(axis=1) / norms)


def _same_top(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int]:
    """Count the queries whose top K is the same by their scores, ties aside, and how many of these have such a tie."""
    same = tied = 0
    for mine, score in zip(ours, theirs, strict=True):
        tops = [np.argsort(-scores, kind="stable")[:K] for scores in (mine, score)]
        same += bool(np.all(np.abs(score[tops[0]] - score[tops[1]]) <= TIE))
        tied += bool(np.any(tops[0] != tops[1]))
    return same, tied


# -- throughput --------------------------------------------------------------------------------------------------------


def one_thread(bench: Bench) -> None:
    for texts, tokens in _kinds(bench):
        graph, batch = _at_its_best(bench, texts, tokens)
        _avx2(bench, texts, tokens, graph, batch)


def _kinds(bench: Bench) -> Iterator[tuple[list[str], int]]:
    """Texts, with their tokens in all, under whose heading the rows that follow are printed."""
    mixed = real_texts(bench.count)[:THROUGHPUT_TEXTS]
    every = glosses()
    short = every[:: len(every) // THROUGHPUT_TEXTS][:THROUGHPUT_TEXTS]
    for texts, name in ((mixed, "mixed texts"), (short, "glosses")):
        tokens = sum(map(bench.count, texts))
        title = f"{len(texts)} {name}, {tokens / len(texts):.1f} tokens at the mean"
        table(title, "texts a second", "tokens a second", "times the baseline")
        yield texts, tokens


def _at_its_best(bench: Bench, texts: list[str], tokens: int) -> tuple[str, int]:
    """Race; return the graph and the batch that were onnxruntime's best."""
    sessions = {graph: bench.onnxruntime(graph) for graph in bench.graphs}
    ways = {(g, b): Entry(f"onnxruntime, {g} graph, by {b}", sessions[g], b) for g in sessions for b in BATCHES}
    torch = bench.torch()
    torches = {b: Entry(f"sentence-transformers, by {b}", torch, b) for b in TORCH_BATCHES}
    best, best_torch = _fastest(ways, texts), _fastest(torches, texts)
    engram = Entry("Engram", bench.engram(), ENGRAM_BATCH)
    race([ways[best], engram, torches[best_torch]], texts, tokens, bench.rounds)
    _close([*sessions.values(), torch, engram.process])
    return best


def _avx2(bench: Bench, texts: list[str], tokens: int, graph: str, batch: int) -> None:
    session = bench.onnxruntime(graph, avx2=True)
    theirs = Entry(f"onnxruntime held to AVX2, {graph} graph, by {batch}", session, batch)
    ours = Entry("Engram held to AVX2", bench.engram("avx2"), ENGRAM_BATCH)
    race([theirs, ours], texts, tokens, bench.rounds)
    _close([session, ours.process])


def two_threads(bench: Bench) -> None:
    for texts, tokens in _kinds(bench):
        ways = {}
        for graph, batch in itertools.product(bench.graphs, BATCHES):
            name = f"onnxruntime, {graph} graph, "
            ways[graph, batch, "own"] = (f"{name}threads of its own, by {batch}", (graph, 2), batch, 1)
            ways[graph, batch, "called"] = (f"{name}two callers, by {batch}", (graph, 1), batch, 2)
        sessions = {key: bench.onnxruntime(*key) for key in {way[1] for way in ways.values()}}
        entries = {key: Entry(n, sessions[s], b, t, "wall_s") for key, (n, s, b, t) in ways.items()}
        ours = Entry("Engram, two callers", bench.engram(), ENGRAM_BATCH, 2, "wall_s")
        race([entries[_fastest(entries, texts)], ours], texts, tokens, bench.rounds)
        _close([*sessions.values(), ours.process])


def _fastest(ways: dict[Any, Entry], texts: list[str]) -> Any:
    """Choose by the better of two passes over half of the texts; a busy moment spoils one pass of a way, not both."""
    part = texts[::2]
    passes = [{way: entry.time(part) for way, entry in ways.items()} for _ in range(2)]
    times = {way: min(taken[way] for taken in passes) for way in ways}
    log("; ".join(f"{entry.name}: {len(part) / times[way]:.1f}/s" for way, entry in ways.items()))
    return min(times, key=times.__getitem__)


def _close(processes: list[Process]) -> None:
    for process in processes:
        process.close()


# -- one text ----------------------------------------------------------------------------------------------------------


def latency(bench: Bench) -> None:
    table("one text, one thread, ms", "onnxruntime (baseline)", "Engram", "Engram's time, of the baseline's", "bar")
    kinds = (("", False), (", both held to AVX2", True))
    for label, avx2 in kinds:
        rivals = [bench.onnxruntime(graph, avx2=avx2) for graph in bench.graphs]
        ours = bench.engram("avx2" if avx2 else None)
        for tokens in LATENCY_TOKENS:
            texts = [of_tokens(tokens, bench.count)] * LATENCY_CALLS
            contestants = (*rivals, ours)
            rounds = [[p.ask(texts, alone=True)["processor_s"] for p in contestants] for _ in range(bench.rounds)]
            *others, mine = zip(*rounds, strict=True)
            theirs = min(others, key=statistics.median)
            ms = [min(times) / LATENCY_CALLS * 1e3 for times in (theirs, mine)]
            bar = "" if avx2 else "0.90"
            row(f"{tokens} tokens{label}", *(f"{t:.2f}" for t in ms), f"{ratio(mine, theirs):.2f}", bar)
        for process in (*rivals, ours):
            process.close()


# -- how near the core's limit ----------------------------------------------------------------------------------------


def ceiling(bench: Bench) -> None:
    """Compare with the largest products that numpy's library is good at, in the same unit: additions and products."""
    matrix = np.random.default_rng(4).standard_normal((SIDE, SIDE), dtype=np.float32)
    text = of_tokens(MOST_TOKENS, bench.count)
    matmul, engram, avx2 = [], [], []
    with bench.engram() as ours, bench.engram("avx2") as narrow:
        for _ in range(bench.rounds):
            begun = time.process_time()
            for _ in range(LATENCY_CALLS):
                matrix @ matrix
            matmul.append(time.process_time() - begun)
            engram.append(ours.ask([text] * LATENCY_CALLS, alone=True)["processor_s"])
            avx2.append(narrow.ask([text] * LATENCY_CALLS, alone=True)["processor_s"])
    table("one core", "GFLOP a second", "of the baseline's")
    name = f"numpy, a product of two {SIDE} x {SIDE} matrices (baseline)"
    kinds = ((name, 2 * SIDE**3, matmul), ("Engram, 256 tokens", _flop(), engram), ("the same, AVX2", _flop(), avx2))
    rates = {name: [flop * LATENCY_CALLS / seconds / 1e9 for seconds in times] for name, flop, times in kinds}
    for name, rate in rates.items():
        row(name, f"{max(rate):.0f}", f"{ratio(rate, next(iter(rates.values()))):.2f}")


def _flop() -> int:
    """Of the matrix products for a text of the most tokens: four of the hidden width, two of four times that, two of
    attention, in each layer.
    """
    a_token = 2 * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * 4 * HIDDEN) + 2 * 2 * MOST_TOKENS * HIDDEN
    return LAYERS * MOST_TOKENS * a_token


# -- start and memory --------------------------------------------------------------------------------------------------


def start(bench: Bench) -> None:
    makers = {f"onnxruntime, {graph} graph": lambda graph=graph: bench.onnxruntime(graph) for graph in bench.graphs}
    makers |= {"Engram": bench.engram, "sentence-transformers": bench.torch}
    waited: dict[str, list[float]] = {name: [] for name in makers}
    worked: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(bench.rounds + 1):  # the first one warms the file cache
        for name, make in makers.items():
            with make() as process:
                waited[name].append(process.started_s)
                worked[name].append(process.starting_s)
    table("from exec to the first vector", "ms", "of the baseline's", "processor ms", "of the baseline's", "bar")
    rivals = [name for name in makers if name.startswith("onnx")]
    baseline = min(rivals, key=lambda name: statistics.median(worked[name]))
    for name in makers:
        cells = []
        for times in (waited, worked):
            taken, others = times[name][1:], times[baseline][1:]
            cells += [f"{statistics.median(taken) * 1e3:.0f}", f"{ratio(taken, others):.2f}"]
        row(name + " (baseline)" * (name == baseline), *cells, "0.50" if name == "Engram" else "")


def memory(bench: Bench) -> None:
    texts = real_texts(bench.count)[:THROUGHPUT_TEXTS]
    makers = {f"onnxruntime, {graph} graph": lambda graph=graph: bench.onnxruntime(graph) for graph in bench.graphs}
    makers |= {"Engram": bench.engram, "sentence-transformers": bench.torch}
    peaks = {}
    for name, make in makers.items():
        with make() as one, make() as many:
            after_one = one.ask(texts, alone=True)["peak_mib"]
            peaks[name] = (one.peak_mib, after_one, many.ask(texts, batch=32)["peak_mib"])
    kinds = ["one short text", "500 texts, singly", "the same, by 32"]
    table("peak of the whole process, MiB", *itertools.chain(*((kind, "of the baseline") for kind in kinds)))
    baseline = [min(peaks[name][kind] for name in peaks if name.startswith("onnx")) for kind in range(3)]
    for name, found in peaks.items():
        row(name, *itertools.chain(*((f"{p:.0f}", f"{p / b:.2f}") for p, b in zip(found, baseline, strict=True))))


# -- the command -------------------------------------------------------------------------------------------------------

PARTS = {part.__name__: part for part in (accuracy, one_thread, two_threads, latency, ceiling, start, memory)}


def log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    bench = Bench(options.work, options.rounds)
    for part in options.only:
        PARTS[part](bench)


if __name__ == "__main__":
    main()
