"""Texts a second on one core, this CPU's kernel against `scalar` in the same run; also loading and memory.

`python bench/embed.py [--wordnet FOLDER]`: 500 glosses of WordNet's `data.noun`, or, without it, the short texts of the
reference fixture over and over. The baseline does the same arithmetic without wide registers or the CPU's fused
multiply-add, on a part of the texts, since it is slow. Texts go in one by one, then twenty at a time.
"""

import argparse
import itertools
import json
import resource
import sys
import time
from pathlib import Path

from engram.embed import fetch_model, find_model, load_embedder

FIXTURE = Path(__file__).parent.parent / "tests" / "data" / "minilm_reference.json"
TEXTS = 500
BASELINE_TEXTS = 20
BATCH = 20
ROUNDS = 3


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--wordnet", type=Path)
    wordnet = options.parse_args().wordnet
    files = find_model() or fetch_model(lambda *_: None)
    before = peak_mib()
    start = time.perf_counter()
    embedder = load_embedder(files)
    loaded_s = time.perf_counter() - start
    memory = peak_mib() - before
    texts = glosses(wordnet)
    baseline = load_embedder(files, kernel="scalar")
    tokens = sum(embedder.embed(texts).tokens) / len(texts)
    print(f"{embedder.kernel}: verified and loaded in {loaded_s:.2f} s, {memory:.0f} MiB; {tokens:.1f} tokens a text")
    alone, together, slow = [], [], []
    for _ in range(ROUNDS):
        slow.append(texts_per_second(baseline, texts[:BASELINE_TEXTS], 1))
        alone.append(texts_per_second(embedder, texts, 1))
        together.append(texts_per_second(embedder, texts, BATCH))
    print(f"scalar (baseline): {max(slow):.1f} texts/s")
    for way, rates in (("one by one", alone), (f"by {BATCH}", together)):
        print(f"{embedder.kernel}, {way}: {max(rates):.1f} texts/s, {max(rates) / max(slow):.1f}x the baseline")


def glosses(wordnet):
    if wordnet is None:
        items = json.loads(FIXTURE.read_text())["items"]
        short = [item["text"] for item in items if 10 <= item["tokens"] <= 30]
        return list(itertools.islice(itertools.cycle(short), TEXTS))
    lines = (wordnet / "data.noun").read_text().splitlines()
    found = [line.split(" | ", 1)[1].strip() for line in lines if " | " in line]
    return found[:: len(found) // TEXTS][:TEXTS]


def texts_per_second(embedder, texts, batch):
    start = time.perf_counter()
    for at in range(0, len(texts), batch):
        embedder.embed(texts[at : at + batch])
    return len(texts) / (time.perf_counter() - start)


def peak_mib():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
