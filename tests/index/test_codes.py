"""The native codes: the bound holds on any magnitude, kernels agree, buffers are checked, cosines have fixed bits."""

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

from engram.native._core import Codes, exact_cosines, scan_kernels

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
def test_candidates_hold_the_best_and_their_ties_on_any_magnitude(table: np.ndarray, k: int) -> None:
    query, rows = table[0], table[1:]
    codes = Codes(table.shape[1])
    codes.append(rows.tobytes())
    scores = exact_cosines(query.tobytes(), [row.tobytes() for row in rows])
    truth = datasets.cosines(query, rows)
    assert np.abs(np.array(scores) - truth).max() <= datasets.score_error(table.shape[1])
    last = sorted(scores, reverse=True)[:k][-1]
    needed = {row for row, score in enumerate(scores) if score >= last}
    found = [codes.snapshot().candidates(query.tobytes(), k, kernel=kernel) for kernel in scan_kernels()]
    assert needed <= set(found[0])
    assert all(other == found[0] for other in found)


@pytest.mark.parametrize("name", datasets.SETS)
def test_kernels_agree_on_candidates_and_on_the_bits_of_scores(name: str) -> None:
    vectors = datasets.make(name, 20, 600)
    codes = Codes(vectors.shape[1])
    codes.append(vectors.tobytes())
    query, rows = datasets.make(name, 21, 1)[0].tobytes(), [row.tobytes() for row in vectors]
    assert len({tuple(codes.snapshot().candidates(query, 10, kernel=kernel)) for kernel in scan_kernels()}) == 1
    assert len({struct.pack("600f", *exact_cosines(query, rows, kernel=kernel)) for kernel in scan_kernels()}) == 1


def run_with_kernel(name: str) -> subprocess.CompletedProcess[str]:
    script = "from engram.native._core import Codes; Codes(3); print('ready')"
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


def payload(vector: np.ndarray, *, magic: bytes = b"EPR1", dtype: int = 0, dim: int | None = None) -> bytes:
    header = magic + bytes([0, dtype]) + struct.pack("<H", len(vector) if dim is None else dim)
    return header.ljust(64, b"\x07") + vector.tobytes() + b'{"a":1}v1'


def test_payloads_give_the_codes_of_their_vectors() -> None:
    vectors = datasets.make("text", 30, 2500)
    whole, parts = Codes(384), Codes(384)
    whole.append(vectors.tobytes())
    body = memoryview(b"".join(payload(vector) for vector in vectors))
    size = len(body) // len(vectors)
    parts.append_payloads([body[at : at + size] for at in range(0, len(body), size)])
    query = datasets.make("text", 31, 1)[0].tobytes()
    assert len(parts) == 2500
    for k in (1, 10, 100):
        assert parts.snapshot().candidates(query, k) == whole.snapshot().candidates(query, k)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (payload(np.ones(3, np.float32)), "needs 80 bytes|dim must be 4, got 3"),
        (payload(np.ones(5, np.float32)), "dim must be 4, got 5"),
        (payload(np.ones(4, np.float32), magic=b"EPR2"), "not a record payload"),
        (payload(np.ones(4, np.float32), dtype=1), "not a record payload"),
        (payload(np.zeros(4, np.float32)), "zero"),
        (b"", "needs 80 bytes"),
    ],
)
def test_a_bad_payload_is_named_and_nothing_is_appended(bad: bytes, text: str) -> None:
    codes = Codes(4)
    with pytest.raises(ValueError, match=f"(payload|vector) 1: .*({text})"):
        codes.append_payloads([payload(np.ones(4, np.float32)), bad])
    assert len(codes) == 0


def test_any_byte_buffer_is_taken_and_wrong_ones_are_refused() -> None:
    vectors = datasets.make("four", 40, 2).tobytes()
    codes = Codes(4)
    for buffer in (vectors, bytearray(vectors), memoryview(vectors)):
        codes.append(buffer)
    assert len(codes) == 6
    for refused, error in [(vectors[:-1], ValueError), ([1.0], TypeError), ("text", TypeError)]:
        with pytest.raises(error):
            codes.append(refused)
    assert len(codes) == 6


@pytest.mark.parametrize("dim", [0, 4097])
def test_a_dimension_out_of_range_is_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=f"dim must be 1..4096, got {dim}"):
        Codes(dim)
