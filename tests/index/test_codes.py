"""The native codes: the bound holds on any magnitude, kernels agree, cosines have fixed bits, bad bodies are refused."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from index import datasets
from index.written import Segments, digest_of, payload_of

from engram.index import BodyMaps, Space
from engram.native._core import exact_cosines, scan_kernels

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def components() -> st.SearchStrategy[float]:
    anything = st.floats(width=32, allow_nan=False, allow_infinity=False)
    return anything | st.sampled_from([0.0, 1.0, -1.0, LARGEST, -LARGEST, SMALLEST, 1e-20, 127.0, 0.5])


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """A query and some rows, as one array; zero vectors are made one-hot, which no draw finds."""
    shape = (draw(st.integers(2, 12)), draw(st.sampled_from([1, 2, 3, 16, 63, 64, 65, 130])))
    table = draw(hnp.arrays(np.float32, shape, elements=components()))
    for row in table:
        if not row.any():
            row[draw(st.integers(0, shape[1] - 1))] = draw(st.sampled_from([1.0, SMALLEST, -LARGEST]))
    return table


def reference_cosine(query: np.ndarray, row: np.ndarray) -> float:
    """The documented order of operations in exact fractions, each rounded to float32 once."""

    def scaled(vector: np.ndarray) -> list[Fraction]:
        exponent = math.frexp(float(np.abs(vector).max()))[1] - 1
        values = [rounded(Fraction(float(x)) / Fraction(2) ** exponent) for x in vector]
        return values + [Fraction(0)] * (-len(values) % 16)

    def summed(a: list[Fraction], b: list[Fraction]) -> Fraction:
        lanes = [Fraction(0)] * 16
        for at, (x, y) in enumerate(zip(a, b, strict=True)):
            lanes[at % 16] = rounded(x * y + lanes[at % 16])
        for half in (8, 4, 2, 1):
            lanes = [rounded(lanes[lane] + lanes[lane + half]) for lane in range(half)]
        return lanes[0]

    q, x = scaled(query), scaled(row)
    squares = np.float32(float(rounded(summed(q, q) * summed(x, x))))
    cosine = np.float32(float(summed(q, x))) / np.sqrt(squares)
    return float(min(max(cosine, np.float32(-1)), np.float32(1)))


def rounded(value: Fraction) -> Fraction:
    """Round to the nearest float32, ties to even, denormals included."""
    if value == 0:
        return value
    exponent = max(math.floor(math.log2(abs(value))) if abs(value) > Fraction(1, 2**1000) else -1000, -126)
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while exponent > -126 and abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (exponent - 23)
    return round(value / step) * step


def test_cosines_follow_the_documented_order_of_operations() -> None:
    for name, seed in [("text", 1), ("sixteen", 2), ("non_negative", 3), ("duplicates", 4), ("one", 5)]:
        query, *rows = datasets.make(name, seed, 4)
        expected = [reference_cosine(query, row) for row in rows]
        assert exact_cosines(query.tobytes(), [row.tobytes() for row in rows]) == expected


@settings(max_examples=60, deadline=None)
@given(tables())
def test_cosines_of_any_magnitude_follow_it_too(table: np.ndarray) -> None:
    query, row = table[0][:20], table[1][:20]
    if query.any() and row.any():
        expected = reference_cosine(query, row)
        for kernel in scan_kernels():
            assert exact_cosines(query.tobytes(), [row.tobytes()], kernel=kernel) == [expected]


@settings(max_examples=300, deadline=None)
@given(tables(), st.integers(1, 12))
@example(np.array([[1, 0, 0], [LARGEST, SMALLEST, 0], [SMALLEST, 0, 0], [0, LARGEST, 0]], np.float32), 1)
@example(np.full((5, 64), LARGEST, np.float32), 2)
@example(np.full((5, 65), SMALLEST, np.float32), 2)
def test_the_best_and_their_order_are_found_on_any_magnitude(table: np.ndarray, k: int) -> None:
    query, rows = table[0], table[1:]
    segments = Segments()
    space = Space(table.shape[1], segments.maps)
    assert space.add(segments.write_vectors(rows)) == []
    scores = exact_cosines(query.tobytes(), [row.tobytes() for row in rows])
    truth = datasets.cosines(query, rows)
    assert np.abs(np.array(scores) - truth).max() <= datasets.score_error(table.shape[1])
    best = sorted((-score, digest_of(row)) for row, score in enumerate(scores))[:k]
    for kernel in scan_kernels():
        hits, mode, _, damaged = space.publish().search(query.tobytes(), k, kernel=kernel)
        assert [(-score, digest) for digest, _, score, _ in hits] == best
        assert (mode, damaged) == ("exact", [])


@pytest.mark.parametrize("name", datasets.SETS)
def test_kernels_agree_on_the_bits_of_scores(name: str) -> None:
    rows = [row.tobytes() for row in datasets.make(name, 20, 600)]
    query = datasets.make(name, 21, 1)[0].tobytes()
    assert len({struct.pack("600f", *exact_cosines(query, rows, kernel=kernel)) for kernel in scan_kernels()}) == 1


def run_with_kernel(name: str) -> subprocess.CompletedProcess[str]:
    script = "from engram.index import BodyMaps, Space; Space(3, BodyMaps()); print('ready')"
    environment = {**os.environ, "ENGRAM_KERNEL": name}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_the_environment_chooses_the_kernel_or_is_told_what_it_may() -> None:
    for name in (*scan_kernels(), ""):
        assert run_with_kernel(name).stdout == "ready\n"
    absent = next(name for name in ("neon", "avx2") if name not in scan_kernels())
    for name in (absent, "sse9"):
        refused = run_with_kernel(name)
        assert refused.returncode != 0
        assert "ENGRAM_KERNEL" in refused.stderr
        assert name in refused.stderr
        assert "scalar" in refused.stderr


ONES = np.ones(4, np.float32)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(payload_of(np.ones(3, np.float32)), id="another dimension"),
        pytest.param(payload_of(ONES)[:79], id="too short"),
        pytest.param(payload_of(np.ones(5, np.float32), dim=4)[:70], id="cut in its vector"),
        pytest.param(payload_of(ONES, magic=b"EPR2"), id="no record"),
        pytest.param(payload_of(ONES, dtype=1), id="another type"),
        pytest.param(payload_of(np.zeros(4, np.float32)), id="zero"),
        pytest.param(payload_of(np.array([1, np.nan, 0, 0], np.float32)), id="NaN"),
        pytest.param(payload_of(np.array([1, np.inf, 0, 0], np.float32)), id="infinite"),
        pytest.param(b"x", id="hardly anything"),
    ],
)
def test_a_body_without_a_vector_is_named_and_the_others_are_added(bad: bytes) -> None:
    segments = Segments()
    space = Space(4, segments.maps)
    rows = segments.write([(digest_of(0), payload_of(ONES)), (digest_of(1), bad), (digest_of(2), payload_of(-ONES))])
    assert space.add(rows) == [rows[1][1]]
    hits, _, _, damaged = space.publish().search(ONES.tobytes(), 5)
    assert [(digest, score) for digest, _, score, _ in hits] == [(digest_of(0), 1.0), (digest_of(2), -1.0)]
    assert damaged == []


@pytest.mark.parametrize("dim", [0, 4097])
def test_a_dimension_out_of_range_is_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=f"dim must be 1..4096, got {dim}"):
        Space(dim, BodyMaps())
