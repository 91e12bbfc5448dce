"""A tiny static model as model2vec writes one, made from words: the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import struct

WORDS = [
    "[PAD]",
    "[UNK]",
    "a",
    "cat",
    "sat",
    "on",
    "the",
    "mat",
    "dog",
    "ran",
    "it",
    "is",
    "water",
    "boils",
    "at",
    "100",
]
DIM = 6


def row(word):
    """Give a word's numbers, which float32 holds exactly."""
    return [(byte - 128) / 64 for byte in hashlib.sha256(word.encode()).digest()[:DIM]]


def make(folder, *, normalize=True, kind="F32", mapping=None, weights=None):
    """Write the folder."""
    folder.mkdir(parents=True)
    tokenizer = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: at for at, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": normalize}))
    letter = {"F32": "f", "F16": "e"}[kind]
    table = [row(word) for word in WORDS]
    tensors = {"embeddings": (kind, [len(table), DIM], b"".join(struct.pack(f"<{DIM}{letter}", *r) for r in table))}
    if mapping is not None:
        tensors["mapping"] = ("I64", [len(mapping)], struct.pack(f"<{len(mapping)}q", *mapping))
    if weights is not None:
        tensors["weights"] = ("F64", [len(weights)], struct.pack(f"<{len(weights)}d", *weights))
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return folder


def safetensors(tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (kind, shape, found) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(found)]}
        data += found
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
