"""The self-test at every load: whether this CPU, with this build, gives the vectors that `v1` names."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engram.errors import ModelNotReady

if TYPE_CHECKING:
    from engram.embed._port import Embedder

GOLDEN = {
    "Memory is the residue of thought.": "f062dfbfa683d75e7639db0da35a1ad72f9986cd81aa33aa1efb92b9abdb540a",
    "Où est né Łukasz? 東京で、五月の朝に。": "0d673832d566f8df32109696c0a24d0a4e2bb5b6aa9c0d3f4667b53c598b8625",
}
"""Texts, of fewer and of more tokens than there are lanes, and the SHA-256 of each one's float32 bytes."""


def self_test(embedder: Embedder) -> None:
    """Embed the golden texts; raises `ModelNotReady` where a vector's bytes are not those that everyone else gets."""
    vectors = embedder.embed(list(GOLDEN)).vectors
    for (text, expected), vector in zip(GOLDEN.items(), vectors, strict=True):
        got = hashlib.sha256(vector or b"").hexdigest()
        if got != expected:
            raise ModelNotReady(
                f"the embedder failed its self-test: the {embedder.kernel} kernel gives {got[:16]}… for {text!r}, and "
                f"{embedder.model_version} is {expected[:16]}…. No text is embedded, since its CID would be wrong; try "
                "another kernel (ENGRAM_KERNEL=scalar), and report this CPU"
            )
