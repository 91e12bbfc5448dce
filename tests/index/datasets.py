"""The data sets that a vector search must be right on, and float64 brute force to judge it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Vectors = np.ndarray
Random = np.random.Generator


def _clustered(rng: Random, rows: int) -> Vectors:
    centres = rng.standard_normal((12, 384))
    return centres[rng.integers(0, 12, rows)] + 0.6 * rng.standard_normal((rows, 384))


def _dominant(rng: Random, rows: int) -> Vectors:
    values = rng.standard_normal((rows, 64))
    values[:, 7] += 40.0
    return values


def _duplicates(rng: Random, rows: int) -> Vectors:
    return rng.standard_normal((max(1, rows // 20), 33))[rng.integers(0, max(1, rows // 20), rows)]


def _embeddings(rng: Random, rows: int) -> Vectors:
    """Topics in topics, most of what varies in few directions: as a model embeds text."""
    turn = np.linalg.qr(rng.standard_normal((384, 384)))[0]
    spread = (1.0 + np.arange(384)) ** -0.5
    topics = rng.standard_normal((max(1, rows // 40), 384)) * spread
    values = topics[rng.integers(0, len(topics), rows)] + 0.5 * rng.standard_normal((rows, 384)) * spread
    return values @ turn


SETS: dict[str, Callable[[Random, int], Vectors]] = {
    "text": _clustered,
    "embeddings": _embeddings,
    "embeddings_offset": lambda rng, rows: _embeddings(rng, rows) + 0.5,
    "text_offset": lambda rng, rows: _clustered(rng, rows) + 2.0,
    "non_negative": lambda rng, rows: np.abs(rng.standard_normal((rows, 100))),
    "uniform": lambda rng, rows: rng.random((rows, 128)),
    "four": lambda rng, rows: rng.random((rows, 4)) + 0.01,
    "sixteen": lambda rng, rows: rng.standard_normal((rows, 16)),
    "dominant": _dominant,
    "duplicates": _duplicates,
    "all_equal": lambda rng, rows: np.tile(rng.standard_normal(20), (rows, 1)),
    "one": lambda rng, rows: rng.choice([-1.0, 1.0], (rows, 1)),
}


def make(name: str, seed: int, rows: int) -> Vectors:
    """Give `rows` stored vectors of the set: float32, each of a random magnitude from 1e-30 to 1e30."""
    rng = np.random.default_rng(seed)
    values = SETS[name](rng, rows)
    return (values * 10.0 ** rng.uniform(-30, 30, (rows, 1))).astype(np.float32)


def cosines(query: Vectors, rows: Vectors) -> Vectors:
    """Give the float64 cosine of each row with the query; scaled first, so that no magnitude overflows."""
    wide_query, wide_rows = query.astype(np.float64), rows.astype(np.float64)
    wide_query /= np.abs(wide_query).max()
    wide_rows = wide_rows / np.abs(wide_rows).max(axis=1, keepdims=True)
    norms = np.linalg.norm(wide_query) * np.linalg.norm(wide_rows, axis=1)
    return (wide_rows @ wide_query) / norms


def score_error(dim: int) -> float:
    """Bound what float32 rounding may do to one score."""
    return (2 * -(-dim // 16) + 16) * 2.0**-24
