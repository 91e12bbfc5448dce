"""The native embedder against docs/embedding.md in numpy, bit for bit; and that numpy's fma against exact fractions."""

from fractions import Fraction

import golden
import numpy as np
import pytest
from embed.oracle import Oracle, exp, fma, gelu
from hypothesis import given
from hypothesis import strategies as st

ITEMS = golden.load("minilm_digests")["items"]
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
def near_ties(draw):
    """A product and what, added to it, makes the sum end midway between two float32, or a little beside."""
    a, b = (draw(st.integers(1, 2**12)) * 2 + 1 for _ in range(2))
    up, down = draw(st.integers(-40, 30)), draw(st.integers(-50, 50))
    big = float(np.float32(draw(st.integers(2**23, 2**24 - 1)) * 2.0**up))
    half = Fraction(2) ** (up - 1) * draw(st.sampled_from([-1, 1, 3]))
    return draw(
        st.sampled_from([(float(half), 1.0, big), (float(half), 1 + 2.0**-23, big), (a * 2.0**down, float(b), big)])
    )


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
    near_ties(),
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
        (1 + 2.0**-23, 2.0**24, 2.0**-30),  # beside a tie by less than float64 can say
        (1 + 2.0**-23, 2.0**24, -(2.0**-30)),
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
