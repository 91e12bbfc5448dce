"""Turning texts into vectors, and how long that may take."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from engram.limits import LIMITS
from engram.wire._messages._base import (
    Answer,
    Request,
)
from engram.wire._messages._writing import Put, PutMany


class EmbedResult(Answer, frozen=True, kw_only=True):
    """One vector a text (bytes of little-endian float32) and its number of tokens."""

    vectors: list[bytes]
    tokens: list[int]
    model_version: str
    dim: int


class Embed(Request[EmbedResult], frozen=True, kw_only=True):
    """Turn texts into vectors with an embedder of the node, without keeping anything."""

    method: ClassVar[str] = "embed"
    texts: Annotated[list[str], msgspec.Meta(max_length=LIMITS.batch_items)]
    model: str | None = None
    """A configured model's name, or a model version; absent, the node's own."""


_TEXTS_PER_S, _CHARACTERS_PER_S = 2, 2500
"""What the slowest embedder is given time for: a CPU without wide registers, or a far server."""


def patience_s(request: Request[Any]) -> int:
    """Give the seconds that a call may take beyond the usual: one for two texts to be embedded, or 2,500 characters."""
    match request:
        case Put():
            texts = [request.text or ""]
        case PutMany():
            texts = [item.text for item in request.items if item.text]
        case Embed():
            texts = request.texts
        case _:
            return 0
    return max(len(texts) // _TEXTS_PER_S, sum(map(len, texts)) // _CHARACTERS_PER_S)
