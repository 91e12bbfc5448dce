"""Data folders for the benchmarks: WordNet glosses as texts, or with random vectors where embedding takes too long.

Usage: python bench/folders.py FOLDER [--texts 5000 | --vectors 117659]

Texts go to the public namespace. Vectors go, each with its gloss as the text beside it, to a namespace `bench` of a
model of its own, since what stands beside a text in the public one must be its embedding. Needs `wordnet-base`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import engram

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from wordnet_jsonl import FOLDER, PARTS, synsets

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMESPACE, MODEL, DIM = "bench", "bench/1", 384
_BATCH = 5000


def glosses(count: int) -> list[dict[str, Any]]:
    if not (FOLDER / "data.noun").is_file():
        raise SystemExit("error: no WordNet here: apt-get install wordnet-base")
    return list(itertools.islice(synsets(FOLDER, PARTS), count))


def make_texts(path: Path, count: int) -> None:
    with engram.open(path) as memory:
        _check(memory.ingest_many(glosses(count)))


def make_vectors(path: Path, count: int) -> None:
    memories = glosses(count)
    fill(path, memories, random_vectors(len(memories)))


def fill(path: Path, memories: Iterable[dict[str, Any]], vectors: np.ndarray) -> None:
    """Make a folder of these memories, each with its vector, in the namespace `bench`."""
    with engram.open(path) as memory:
        memory.namespaces.create(NAMESPACE, dim=vectors.shape[1], model=MODEL)
        rest = (given | {"vector": vector} for given, vector in zip(memories, vectors, strict=True))
        while batch := list(itertools.islice(rest, _BATCH)):
            _check(memory.ingest_many(batch, namespace=NAMESPACE))


def random_vectors(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)


def _check(outcomes: list[str | Exception]) -> None:
    wrong = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if wrong:
        raise wrong[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int)
    parser.add_argument("--vectors", type=int)
    options = parser.parse_args()
    started = time.perf_counter()
    if options.vectors is None:
        make_texts(options.folder, options.texts or 5000)
    else:
        make_vectors(options.folder, options.vectors)
    print(f"{options.folder}: made in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
