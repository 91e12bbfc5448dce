"""The node's own model, simulated: a text's vector is made of its hash, so that no weights are needed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from engram.embed import CHUNK_PIECES, FINGERPRINT, EmbeddedTexts, ModelFiles, Span, Split
from engram.errors import ModelNotReady
from engram.record import CANONICAL_DIM, CANONICAL_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engram.native._core import Stop

_WORDS = 30
"""Words of a chunk."""
_OVERLAP = 4
_WORD = re.compile(r"\S+")
_KEPT = int.from_bytes(bytes.fromhex("ffff7f80") * CANONICAL_DIM)
_SET = int.from_bytes(bytes.fromhex("0000803f") * CANONICAL_DIM)


def vector_of(text: str) -> bytes:
    """Give the vector of a text: 384 little-endian float32 of magnitude 1 to 2, from SHAKE-128 of it."""
    drawn = hashlib.shake_128(text.encode()).digest(4 * CANONICAL_DIM)
    return (int.from_bytes(drawn) & _KEPT | _SET).to_bytes(4 * CANONICAL_DIM)


def spans_of(text: str) -> list[tuple[int, int]]:
    """Cut a text into chunks of 30 words, each beginning 4 words before the last one's end; one, where it is short."""
    words = [found.span() for found in _WORD.finditer(text)]
    if len(text.encode()) <= CHUNK_PIECES or len(words) <= _WORDS:
        return [(0, len(text))]
    return [
        (words[first][0], words[min(first + _WORDS, len(words)) - 1][1])
        for first in range(0, len(words) - _OVERLAP, _WORDS - _OVERLAP)
    ]


class SimEmbedder:
    """The Embedder port by hashes, under the canonical model's name."""

    model_version = CANONICAL_MODEL
    fingerprint = FINGERPRINT
    dim = CANONICAL_DIM
    kernel = "simulated"
    whole_bytes = CHUNK_PIECES

    def embed(self, texts: Sequence[str], stop: Stop | None = None) -> EmbeddedTexts:
        """Embed each text; none is refused, and none takes long enough to be stopped."""
        del stop
        return EmbeddedTexts(tuple(map(vector_of, texts)), tuple(map(self.count_tokens, texts)))

    def count_tokens(self, text: str) -> int:
        """Count words, and two."""
        return len(text.split()) + 2

    def split(self, text: str) -> Split:
        """Cut at words."""
        return Split(self.count_tokens(text), tuple(Span(*span) for span in spans_of(text)))

    def close(self) -> None:
        """Hold nothing."""


class SimModel:
    """The simulated embedder behind `ModelSource`: always on this machine."""

    def find(self, folder: Path | None) -> ModelFiles | None:
        """Find it."""
        return ModelFiles(folder or Path("/model"), "simulation")

    def fetch(self, progress: Callable[[str, int, int], None]) -> ModelFiles:
        """Refuse: there is nothing to fetch."""
        del progress
        raise ModelNotReady("a simulated model is not fetched")

    def load(self, files: ModelFiles) -> SimEmbedder:
        """Give it."""
        del files
        return SimEmbedder()
