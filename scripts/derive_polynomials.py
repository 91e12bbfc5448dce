"""Print the coefficients of `engram/native/src/embed/math.rs`, which are our own: run it to derive them again.

Both polynomials minimise the largest weighted error on a fine grid (Lawson's iteration: least squares, reweighted by
the error until it is level), in float64 from `math.erfc` and `math.exp`, and are then rounded to f32. The error
printed is that of the f32 coefficients. Needs numpy.
"""

from __future__ import annotations

import math

import numpy as np

LN2 = math.log(2.0)
GRID = 20_000


def main() -> None:
    """Derive and print both polynomials."""
    r = np.linspace(-LN2 / 2, LN2 / 2, GRID)
    # exp(r) = 1 + r + r^2 * P(r): the first two coefficients are exact, P is fitted.
    tail = minimax(r, (np.exp(r) - 1 - r) / np.where(r == 0, 1, r) ** 2, r**2 / np.exp(r), degree=4)
    fitted = 1 + r + r**2 * evaluate(tail, r)
    report("EXP_TAIL", tail, np.abs(fitted / np.exp(r) - 1).max(), "relative, of exp(r)")

    # Half of erfc(a / sqrt 2) = exp(-Q(a)). An error e of Q moves the GELU of a by a * exp(-Q) * e.
    a = np.linspace(0, GELU_END, GRID)
    half_erfc = np.array([0.5 * math.erfc(x / math.sqrt(2.0)) for x in a])
    weight = np.maximum(half_erfc, 1e-9) * np.maximum(a, 1.0)
    tail = minimax(a, -np.log(half_erfc), weight, degree=GELU_DEGREE)
    error = np.abs(np.exp(-evaluate(tail, a)) - half_erfc) * np.maximum(a, 1.0)
    report("GELU_TAIL", tail, error.max(), "absolute, of gelu(a)")
    print(
        f"// largest relative error of the tail exp(-Q): {np.abs(np.exp(-evaluate(tail, a)) / half_erfc - 1).max():.1e}"
    )


GELU_END = 8.0
GELU_DEGREE = 10


def minimax(x: np.ndarray, y: np.ndarray, weight: np.ndarray, degree: int) -> np.ndarray:
    """Return f32 coefficients, lowest power first, whose largest weighted error on the grid is least."""
    basis = np.polynomial.chebyshev.chebvander(2 * (x - x[0]) / (x[-1] - x[0]) - 1, degree)
    lawson = np.ones_like(x)
    best, best_error = None, math.inf
    for _ in range(300):
        scale = np.sqrt(lawson) * weight
        fit = np.linalg.lstsq(basis * scale[:, None], y * scale, rcond=None)[0]
        error = np.abs(basis @ fit - y) * weight
        if error.max() < best_error:
            best, best_error = fit, error.max()
        lawson *= error
        lawson /= lawson.max()
        lawson = np.maximum(lawson, 1e-12)
    series = np.polynomial.Chebyshev(best, domain=[x[0], x[-1]])
    return series.convert(kind=np.polynomial.Polynomial).coef.astype(np.float32)


def evaluate(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Horner's rule, highest power first."""
    value = np.zeros_like(x)
    for c in coefficients[::-1]:
        value = value * x + float(c)
    return value


def report(name: str, coefficients: np.ndarray, error: float, what: str) -> None:
    """Print the coefficients as Rust, highest power first, in the shortest form that reads back the same."""
    print(f"// largest error, {what}: {error:.1e}")
    print(f"const {name}: [f32; {len(coefficients)}] = [")
    print("".join(f"    {c!s},\n" for c in coefficients[::-1]) + "];")


if __name__ == "__main__":
    main()
