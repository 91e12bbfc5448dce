"""The native embedder's kernels beside each other, and what loading it costs; needs nothing but Engram.

Usage: python bench/embed.py [--rounds 5]

Real texts of 3 to 256 tokens (`embed_texts.py`), each kernel in a process of its own, one thread, processor time. Each
round takes every kernel in turn; "times the baseline" is the median of the rounds' ratios. The baseline does the same
arithmetic without wide registers, and so slowly that it takes few texts. `embed_against.py` compares with others.
"""

from __future__ import annotations

import argparse
import statistics

from embed_process import Entry, Process, race, row, table
from embed_texts import real_texts

from engram.embed import find_model, load_embedder
from engram.errors import Unprocessable

KERNELS = ("scalar", "avx2", "avx512", "neon")
FEW, MANY, BATCH = 10, 500, 16


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    files = find_model()
    if files is None:
        raise SystemExit("error: no model here: engram model fetch")
    count = load_embedder(files).count_tokens
    texts = real_texts(count)
    kernels = [kernel for kernel in KERNELS if _has(files, kernel)]
    for some in (texts[:FEW], texts[:MANY]):
        tokens = sum(map(count, some))
        title = f"{len(some)} texts, {tokens / len(some):.1f} tokens at the mean"
        table(title, "texts a second", "tokens a second", "times the baseline")
        taking = kernels if some[FEW:] == [] else [kernel for kernel in kernels if kernel != "scalar"]
        processes = [Process("engram", kernel=kernel) for kernel in taking]
        ways = ((BATCH, f"{BATCH} at a time"), (1, "singly"))
        both = zip(taking, processes, strict=True)
        entries = [Entry(f"{kernel}, {way}", process, batch) for kernel, process in both for batch, way in ways]
        race(entries, some, tokens, rounds)
        for process in processes:
            process.close()
    _loading(texts[:MANY], rounds)


def _has(files, kernel: str) -> bool:
    try:
        load_embedder(files, kernel=kernel)
    except Unprocessable:
        return False
    return True


def _loading(texts: list[str], rounds: int) -> None:
    waited, worked = [], []
    for _ in range(rounds):
        with Process("engram") as process:
            waited.append(process.started_s * 1e3)
            worked.append(process.starting_s * 1e3)
            at_first = process.peak_mib
            by_32 = process.ask(texts, batch=32)["peak_mib"]
    table("the whole process", "")
    row("exec to the first vector, ms (median)", f"{statistics.median(waited):.0f}")
    row("of the processor, ms (median)", f"{statistics.median(worked):.0f}")
    row("peak memory then, MiB", f"{at_first:.0f}")
    row(f"peak memory after {len(texts)} texts by 32, MiB", f"{by_32:.0f}")


if __name__ == "__main__":
    main()
