"""Time filtered queries against qdrant-edge, for filters that let 50 % to 0.001 % of 100,000 rows pass; check them.

Usage: python bench/index_filters.py [--rows 100000] [--queries 100] [--rounds 5] [--folder F] [--rivals F]

From the filter's text and a vector to ids, through `engram.open().query_by_vector` on a folder opened again;
qdrant-edge builds its filter from Python values, has an index for each field, gives no payload, and searches with the
smallest width that has recall@10 >= 0.99. Queries ask different values, as far as there are such. "equal" compares with
a value that so many rows share, "range" asks an interval of distinct numbers. "first" is the first query with such a
filter after the folder was opened. All answers are checked: allowed rows only, as many as there can be, and how many
of float64 brute force's.

Rival: pip install qdrant-edge-py. Without it only ours is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from folders import NAMESPACE, fill
from index_data import K, Truth, add_options, gloss_vectors, in_turns, split
from index_rivals import WIDTHS, QdrantEdge, built, present

import engram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Question = tuple[int, np.ndarray]
    Ask = Callable[[Question], Sequence[int]]

RECALL = 0.99
SHARES = (2, 10, 100, 1000, 100_000)
"""One row in so many passes: 50, 10, 1, 0.1 and, of 100,000 rows, 0.001 %."""
SERIAL = "serial"
HEAD = (
    f"{'':16}{'ours: first':>12}{'p50 ms':>9}{'CPU ms':>9}{'recall':>9}"
    f"{'qdrant-edge':>14}{'CPU ms':>9}{'recall':>9}{'width':>7}{'ours':>10}"
)


class Data(NamedTuple):
    """The rows, the questions, and each row's fields; a row is known by its serial number."""

    rows: np.ndarray
    queries: np.ndarray
    fields: dict[str, np.ndarray]

    def metadata(self) -> list[dict[str, int]]:
        """Give each row's metadata."""
        names = list(self.fields)
        return [dict(zip(names, map(int, row), strict=True)) for row in zip(*self.fields.values(), strict=True)]


class Case(NamedTuple):
    """A kind of filter that lets one row in `share` pass; query number `at` of many asks for values of its own."""

    kind: str
    share: int
    data: Data

    @property
    def field(self) -> str:
        """The field that it asks."""
        return f"of_{self.share}" if self.kind == "equal" else SERIAL

    def bounds(self, at: int) -> tuple[int, int]:
        """Give the first value that passes, and the one after the last."""
        rows = len(self.data.rows)
        if self.kind == "equal":
            first = at * 7919 % min(self.share, rows)
            return first, first + 1
        width = max(1, rows // self.share)
        first = at * 7919 % (rows - width + 1)
        return first, first + width

    def text(self, at: int) -> str:
        """Give the filter as text."""
        first, end = self.bounds(at)
        return f"{self.field} = {first}" if self.kind == "equal" else f"{SERIAL} >= {first} and {SERIAL} < {end}"

    def qdrant(self, at: int) -> Any:
        """Give the filter as qdrant-edge takes it."""
        import qdrant_edge as qdrant  # noqa: PLC0415 - it may not be here

        first, end = self.bounds(at)
        if self.kind == "equal":
            condition = qdrant.FieldCondition(self.field, match=qdrant.MatchValue(first))
        else:
            condition = qdrant.FieldCondition(self.field, range=qdrant.RangeFloat(gte=first, lt=end))
        return qdrant.Filter(must=[condition])

    def truth(self, at: int) -> Truth:
        """Give brute force over the rows that pass."""
        first, end = self.bounds(at)
        values = self.data.fields[self.field]
        allowed = np.flatnonzero((values >= first) & (values < end))
        return Truth(self.data.rows, self.data.queries[at : at + 1], allowed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep our data folder here")
    parser.add_argument("--rivals", type=Path, help="keep the rival's graph here")
    add_options(parser)
    options = parser.parse_args()
    rows, queries, _ = split(gloss_vectors(options.glosses), options.rows, options.queries)
    data = Data(rows, queries, fields_of(len(rows)))
    rival = shard(data, options.rivals) if present([QdrantEdge]) else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "data"
        if not folder.exists():
            fill(folder, ({"metadata": found} for found in data.metadata()), rows)
        print(f"{len(rows):,} rows, k = {K}, {len(queries)} queries, {options.rounds} rounds\n{HEAD}")
        with engram.open(folder) as memory:
            for kind in ("equal", "range"):
                for share in SHARES:
                    measure(Case(kind, share, data), memory, rival, options.rounds)


def fields_of(rows: int) -> dict[str, np.ndarray]:
    """Give the values of each field, a number a row: drawn independently, each value as often as the others."""
    rng = np.random.default_rng(6)
    serial = rng.permutation(rows)
    return {SERIAL: serial} | {f"of_{share}": rng.permutation(rows) % share for share in SHARES}


def shard(data: Data, folder: Path | None) -> QdrantEdge:
    """Make the rival's shard, an index for each field."""
    made = QdrantEdge(16, 100)
    made.payloads, made.fields = data.metadata(), dict.fromkeys(data.fields, "Integer")
    built(made, data.rows, folder)
    return made


def measure(case: Case, memory: engram.Memory, rival: QdrantEdge | None, rounds: int) -> None:
    """Print one line of the table."""
    row_of = np.argsort(case.data.fields[SERIAL])
    questions = list(enumerate(case.data.queries))
    truths = [case.truth(at) for at, _ in questions]

    def ours(question: Question) -> list[int]:
        at, query = question
        hits = memory.query_by_vector(query, K, case.text(at), namespace=NAMESPACE)
        return [int(row_of[hit.metadata[SERIAL]]) for hit in hits]

    def theirs(question: Question) -> Sequence[int]:
        at, query = question
        return rival.search(query, case.qdrant(at))

    def recall(call: Ask) -> float:
        found = [call(question) for question in questions]
        assert call is theirs or all(len(rows) == truth.wanted for rows, truth in zip(found, truths, strict=True))
        return statistics.fmean(truth.recall([rows]) for rows, truth in zip(found, truths, strict=True))

    started = time.perf_counter()
    ours(questions[-1])
    first_ms = (time.perf_counter() - started) * 1e3
    recalls = {"ours": recall(ours)}
    contestants: dict[str, Ask] = {"ours": ours}
    if rival is not None:
        contestants["theirs"] = theirs
        for width in WIDTHS:
            rival.widen(width)
            recalls["theirs"] = recall(theirs)
            if recalls["theirs"] >= RECALL:
                break
    times = in_turns(contestants, questions, rounds)
    mine = times["ours"]
    line = f"{case.kind:7}{100 / case.share:>7g} %{first_ms:>12.1f}{mine.wall:>9.3f}{mine.cpu:>9.3f}"
    line += f"{recalls['ours']:>9.4f}"
    if rival is not None:
        its = times["theirs"]
        line += f"{its.wall:>14.3f}{its.cpu:>9.3f}{recalls['theirs']:>9.4f}{rival.width:>7}"
        line += f"{mine.wall / its.wall:>9.2f}x"
    print(line, flush=True)


if __name__ == "__main__":
    main()
