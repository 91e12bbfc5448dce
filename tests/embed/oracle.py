"""The arithmetic of docs/embedding.md, in plain numpy: an oracle of the native kernels, which shares no code with them.

Rows and columns are done side by side; the order of every sum is a loop. A fused multiply-add is emulated in float64.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from embed.wordpieces import WordPieces

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray
F32 = np.float32

LAYERS, HEADS, HEAD, HIDDEN, LANES = 6, 12, 32, 384, 16


def number(hexadecimal: str) -> F32:
    """Read a binary32 number, which the page writes as C writes it."""
    value = float.fromhex(hexadecimal)
    assert float(F32(value)) == value
    return F32(value)


EPSILON = number("0x1.197998p-40")
SCALE = number("0x1.6a09e8p-3")
ROUNDER = number("0x1.8p+23")
LOG2_E = number("0x1.715476p+0")
LN2_UPPER = number("0x1.62e4p-1")
LN2_LOWER = number("0x1.7f7d1cp-20")
LEAST = F32(-87)
EXP = ["0x1.6a2436p-10", "0x1.1239d4p-7", "0x1.5558f2p-5", "0x1.555492p-3", "0x1.fffffcp-2"]
GELU = [
    "0x1.e6f5aep-26", "-0x1.a5d9dp-21", "0x1.387b86p-17", "-0x1.ff0644p-15", "0x1.c19a3ap-13", "-0x1.f89276p-16",
    "-0x1.3a0396p-8", "0x1.29b3d8p-5", "0x1.45f2b6p-2", "0x1.988456p-1", "0x1.62e43p-1",
]  # fmt: skip
FARTHEST = F32(8)


class Oracle:
    """all-MiniLM-L6-v2, slowly: a second for ten tokens."""

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        self.tensors = read_safetensors(weights)
        self.pieces = WordPieces(tokenizer)

    def embed(self, text: str) -> bytes:
        """Give the 1,536 bytes of a text's vector."""
        ids = self.pieces.ids(text)
        assert len(ids) <= 256
        places = self.tensors["embeddings.position_embeddings.weight"][: len(ids)]
        places = places + self.tensors["embeddings.token_type_embeddings.weight"][0]
        rows = self.tensors["embeddings.word_embeddings.weight"][ids] + places
        rows = self.normalise("embeddings.LayerNorm", rows)
        for layer in range(LAYERS):
            rows = self.layer(f"encoder.layer.{layer}", rows)
        return pool(rows).astype("<f4").tobytes()

    def layer(self, name: str, rows: Array) -> Array:
        """Apply attention, then the two dense layers with GELU between, each with what it got added to it."""
        query, key, value = (self.dense(f"{name}.attention.self.{part}", rows) for part in ("query", "key", "value"))
        attended = self.dense(f"{name}.attention.output.dense", attend(query, key, value))
        rows = self.normalise(f"{name}.attention.output.LayerNorm", rows + attended)
        wide = gelu(self.dense(f"{name}.intermediate.dense", rows))
        return self.normalise(f"{name}.output.LayerNorm", rows + self.dense(f"{name}.output.dense", wide))

    def dense(self, name: str, rows: Array) -> Array:
        """Give each row's products with the weights: chains that start at the bias."""
        return chain(rows, self.tensors[f"{name}.weight"].T, self.tensors[f"{name}.bias"])

    def normalise(self, name: str, rows: Array) -> Array:
        """Give each row with mean 0 and variance 1, then scaled and shifted."""
        centred = rows - lane_sum(rows)[:, None] / F32(HIDDEN)
        variance = lane_sum_of_squares(centred) / F32(HIDDEN)
        scale = F32(1) / np.sqrt(variance + EPSILON)
        return fma(centred * scale[:, None], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])


def read_safetensors(path: Path) -> dict[str, Array]:
    """Read every f32 tensor of the file."""
    file = path.read_bytes()
    start = 8 + int.from_bytes(file[:8], "little")
    entries = json.loads(file[8:start])
    return {
        name: np.frombuffer(file[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]], "<f4").reshape(
            entry["shape"]
        )
        for name, entry in entries.items()
        if entry.get("dtype") == "F32"
    }


def attend(query: Array, key: Array, value: Array) -> Array:
    """Give softmax(query · key / √32) · value of each head, for rows of all heads side by side."""
    tokens = len(query)
    query, key, value = (rows.reshape(tokens, HEADS, HEAD).transpose(1, 0, 2) for rows in (query, key, value))
    scores = chain(query, key.transpose(0, 2, 1), F32(0))
    largest = scores.max(axis=-1, keepdims=True) * SCALE
    exponentials = exp(scores * SCALE - largest)
    totals = lane_sum(np.pad(exponentials, [(0, 0), (0, 0), (0, -tokens % LANES)]))
    context = chain(exponentials, value, F32(0)) / totals[..., None]
    return context.transpose(1, 0, 2).reshape(tokens, HIDDEN)


def pool(rows: Array) -> Array:
    """Give the mean of the rows, divided by its length."""
    total = np.zeros(HIDDEN, F32)
    for row in rows:
        total = total + row
    mean = total / F32(len(rows))
    return mean / np.sqrt(lane_sum_of_squares(mean))


def exp(x: Array) -> Array:
    """Give exp(x) of x <= 0."""
    x = np.maximum(x, LEAST)
    n = fma(x, LOG2_E, ROUNDER) - ROUNDER
    r = fma(n, -LN2_UPPER, x)
    r = fma(n, -LN2_LOWER, r)
    y = fma(r * r, polynomial(EXP, r), F32(1) + r)
    return np.ldexp(y, n.astype(np.int32))


def gelu(x: Array) -> Array:
    """Give x times the share of a normal distribution below x."""
    tail = exp(-polynomial(GELU, np.minimum(np.abs(x), FARTHEST)))
    return x * np.where(x < 0, tail, F32(1) - tail)


def polynomial(coefficients: list[str], x: Array) -> Array:
    """Horner's rule, the highest power's coefficient first."""
    value = np.full_like(x, number(coefficients[0]))
    for coefficient in coefficients[1:]:
        value = fma(value, x, number(coefficient))
    return value


def lane_sum(x: Array) -> Array:
    """Sum over the last axis: sixteen lanes, then the tree."""
    total = np.zeros((*x.shape[:-1], LANES), F32)
    for at in range(0, x.shape[-1], LANES):
        total = total + x[..., at : at + LANES]
    return tree(total)


def lane_sum_of_squares(x: Array) -> Array:
    """Sum the squares over the last axis, each added by a fused multiply-add."""
    total = np.zeros((*x.shape[:-1], LANES), F32)
    for at in range(0, x.shape[-1], LANES):
        total = fma(x[..., at : at + LANES], x[..., at : at + LANES], total)
    return tree(total)


def tree(lanes: Array) -> Array:
    """Add lane i and lane i + 8, then + 4, + 2, + 1."""
    for width in (8, 4, 2, 1):
        lanes = lanes[..., :width] + lanes[..., width : 2 * width]
    return lanes[..., 0]


def chain(left: Array, right: Array, start: Array | F32) -> Array:
    """Multiply matrices (..., rows, depth) and (..., depth, columns): from `start`, over ascending depth."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    total = np.zeros((*left.shape[:-1], right.shape[-1]), F32) + start
    for k in range(left.shape[-1]):
        total = add_and_round_once(left[..., k, None] * right[..., k, None, :], total)
    return total


def fma(a: Array, b: Array | F32, c: Array | F32) -> Array:
    """Give a · b + c, rounded once; the product of two f32 is exact in float64."""
    return add_and_round_once(np.multiply(a, b, dtype=np.float64), c)


def add_and_round_once(product: Array, addend: Array | F32) -> Array:
    """Give `product` (float64) + `addend` (float32), rounded once, to float32.

    Rounding to float64 and then to float32 goes wrong only if the first rounding ends midway between two float32: the
    lower 29 bits are 100…0, or the number is subnormal in float32. There the first rounding is one to odd.
    """
    total = product + addend
    midway = (total.view(np.int64) & 0x1FFF_FFFF) == 0x1000_0000
    doubtful = midway | (np.abs(total) < 2.0**-126)
    if doubtful.any():
        total = np.where(doubtful, add_to_odd(product, np.asarray(addend, np.float64)), total)
    return total.astype(F32)


def add_to_odd(a: Array, b: Array) -> Array:
    """Give a + b in float64; where that is not exact, of its two neighbours the one whose last bit is 1."""
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)  # Knuth's TwoSum: exactly a + b - total
    even = (total.view(np.int64) & 1) == 0
    neighbour = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    return np.where((lost != 0) & even, neighbour, total)
