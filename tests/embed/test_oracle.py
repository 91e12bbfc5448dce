"""The native embedder against docs/embedding.md in numpy, bit for bit; and that numpy's fma against exact fractions."""

import hashlib
import json
import math
import re
from fractions import Fraction

import golden
import numpy as np
import pytest
import rfc8785
from embed.oracle import (
    EPSILON,
    EXP,
    FARTHEST,
    GELU,
    LEAST,
    LN2_LOWER,
    LN2_UPPER,
    LOG2_E,
    ROUNDER,
    SCALE,
    Oracle,
    exp,
    fma,
    gelu,
)
from hypothesis import given
from hypothesis import strategies as st

from engram.embed import FINGERPRINT

ITEMS = golden.load("minilm_digests")["items"]
PAGE = golden.DATA.parents[1] / "docs" / "embedding.md"
KERNELS = golden.DATA.parents[1] / "engram" / "native" / "src" / "embed"
LARGEST = Fraction(float(np.finfo(np.float32).max))

SHORT = ["", "Same text in, same CID out.", "Où est [MASK] né? 東京 🌻", "naïve coöperation of " + "x" * 101]


@pytest.fixture(scope="module")
def oracle(model_files):
    return Oracle(model_files.weights, model_files.tokenizer)


@pytest.mark.parametrize("text", SHORT)
def test_short_texts_have_the_bits_of_the_page(oracle, embedder, text):
    assert oracle.embed(text) == embedder.embed([text]).vector(0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_texts_of_every_kind_and_of_most_lengths_have_the_bits_of_the_page(oracle, embedder):
    kinds = {item["kind"]: item["text"] for item in ITEMS if item["tokens"] <= 40}
    lengths = {item["tokens"]: item["text"] for item in ITEMS if item["tokens"] in (16, 17, 33, 128, 129, 255, 256)}
    assert len(kinds) >= 25
    assert len(lengths) == 7
    for text in [*kinds.values(), *lengths.values()]:
        assert oracle.embed(text) == embedder.embed([text]).vector(0), text


def test_the_page_states_every_constant_of_the_oracle():
    page = PAGE.read_text("utf-8").replace("\u2212", "-")
    single = (EPSILON, SCALE, ROUNDER, LOG2_E, -LN2_UPPER, -LN2_LOWER)
    for constant in (*map(written, single), *EXP, *GELU):
        assert constant in page


def written(constant):
    mantissa, exponent = float(constant).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


def test_the_kernels_coefficients_are_those_of_the_page():
    """A last bit of some of them shows in no text that we have, so they are compared as they are written."""
    source = "".join((KERNELS / name).read_text("utf-8") for name in ("math.rs", "attention.rs", "model.rs"))
    assert [bits(x) for x in literals(source, "EXP_TAIL")] == [bits(x) for x in EXP]
    assert [bits(x) for x in literals(source, "GELU_TAIL")] == [bits(x) for x in GELU]
    single = {"EPSILON": EPSILON, "SCALE": SCALE, "ROUNDER": ROUNDER, "LN2_HIGH": LN2_UPPER, "LN2_LOW": LN2_LOWER}
    for name, expected in (single | {"EXP_LEAST": LEAST, "GELU_END": FARTHEST}).items():
        assert [bits(x) for x in literals(source, name)] == [bits(expected)], name
    assert bits(LOG2_E) == bits(math.log2(math.e))
    assert "std::f32::consts::LOG2_E" in source


def literals(source, name):
    """Give the numbers of a constant as Rust source has them."""
    text = re.search(rf"const {name}: [^=]*= ([^;]*);", source)[1].replace("_", "")
    return [float(x) for x in re.findall(r"-?\d[\d.e-]*", text.replace("std::f32::consts::LN2", str(math.log(2))))]


def bits(value):
    return np.float32(float.fromhex(value) if isinstance(value, str) else value).tobytes().hex()


def test_the_page_states_the_fingerprint_and_what_it_is_made_of(model_files):
    page = PAGE.read_text("utf-8")
    line = next(line for line in page.splitlines() if line.startswith("{"))
    decides = json.loads(line)
    assert rfc8785.dumps(decides) == line.encode()
    assert hashlib.sha256(f"engram/model/1\n{line}".encode()).hexdigest() == FINGERPRINT
    assert f"\n{FINGERPRINT}\n" in page
    for name, path in (("weights", model_files.weights), ("tokenizer", model_files.tokenizer)):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == decides[name]


def nearest(exact):
    """Round a fraction to the nearest binary32, ties to even, as a fraction."""
    exponent = -149
    while abs(exact) >= 2 ** (exponent + 24):
        exponent += 1
    unit = Fraction(2) ** exponent
    return round(exact / unit) * unit


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
small = st.floats(-(2.0**-60), 2.0**-60, width=32)
few_bits = st.builds(lambda n, e: float(np.float32(n * 2.0**e)), st.integers(-4097, 4097), st.integers(-70, 50))


@st.composite
def beside_ties(draw):
    """A product midway between two float32 (25 bits, odd), and an addend that float64 loses beside it."""
    a, b = (2 * draw(st.integers(2049, 2895)) + 1 for _ in range(2))
    up, down = draw(st.integers(-60, 40)), draw(st.integers(29, 60))
    return a * 2.0**up, float(b), draw(st.sampled_from([-1.0, 1.0])) * 2.0 ** (up - down)


@st.composite
def beside_subnormal_ties(draw):
    """A product a little under half the smallest float32, and an addend that makes float64 forget by how much."""
    return (2.0**20 + 1) * 2.0**-95, (2.0**20 - 1) * 2.0**-95, draw(st.integers(2**22, 2**23)) * 2.0**-149


def cancelling(a, b, steps):
    """What cancels a product but for its rounding error and a few units."""
    with np.errstate(all="ignore"):
        product = np.float32(a) * np.float32(b)
        for _ in range(abs(steps)):
            product = np.nextafter(product, np.float32(np.inf * steps))
    return a, b, -float(product) if np.isfinite(product) else 0.0


triples = st.one_of(
    st.tuples(floats, floats, floats),
    st.tuples(small, small, small),
    st.tuples(few_bits, few_bits, few_bits),
    st.builds(cancelling, floats, floats, st.integers(-2, 2)),
    st.builds(cancelling, small, few_bits, st.integers(-2, 2)),
    beside_ties(),
    beside_subnormal_ties(),
)


@given(st.lists(triples, min_size=1, max_size=20))
def test_emulated_fma_is_the_exact_sum_rounded_once(triples):
    exact = [Fraction(a) * Fraction(b) + Fraction(c) for a, b, c in triples]
    finite = [i for i, value in enumerate(exact) if abs(nearest(value)) <= LARGEST]
    a, b, c = (np.array([triples[i][part] for i in finite], np.float32) for part in range(3))
    assert [Fraction(float(x)) for x in fma(a, b, c)] == [nearest(exact[i]) for i in finite]


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (97.0, 172961.0, 2.0**-30),  # 2^24 + 1, a tie, and beside it less than float64 can say
        (97.0, 172961.0, -(2.0**-30)),
        (97.0, -172961.0, -(2.0**-30)),
        ((2.0**20 + 1) * 2.0**-95, (2.0**20 - 1) * 2.0**-95, 2.0**-127 + 2.0**-149),  # the same, subnormal
        (2.0**-75, 1.0, 2.0**-149),  # subnormal, a tie
        (2.0**-100, 2.0**-50 * 1.5, 2.0**-149 * 3),
        (2.0**-100, 2.0**-50, -(2.0**-149)),
        (1.0, -1.0, 1.0),
    ],
)
def test_emulated_fma_at_the_edges(a, b, c):
    got = fma(*(np.array([x], np.float32) for x in (a, b, c)))[0]
    assert Fraction(float(got)) == nearest(Fraction(a) * Fraction(b) + Fraction(c))


def test_exp_and_gelu_are_what_they_are_called():
    x = -np.linspace(0, 87, 4001, dtype=np.float32)
    assert np.abs(exp(x) / np.exp(x.astype(np.float64)) - 1).max() < 1.5e-7
    assert exp(np.array([-88, -1e30], np.float32)).tolist() == [exp(np.array([-87], np.float32))[0]] * 2
    got = gelu(np.array([-9, -1, -0.0, 0, 1, 9], np.float32)).tolist()
    assert got == pytest.approx([0, -0.15865525, 0, 0, 0.84134475, 9], abs=1e-7)
