"""The other backends as a configuration names them, and how each becomes an embedder."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - a field's type
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from engram.embed._port import Embedder
    from engram.native._core import Stop


class SentenceTransformersSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Any model of sentence-transformers, from a local folder."""

    path: Path


class StaticSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A static model (model2vec), from a local folder."""

    path: Path


class RemoteSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model behind a server's `{url}/embeddings`.

    `dim` None: asked of the server. `api_key_env` names the variable with the key, which is nowhere else.
    `timeout_s`: for one request, of up to 32 texts, with its retries.
    """

    url: str
    model: str
    dim: int | None = None
    api_key_env: str | None = None
    timeout_s: float = 20.0
    insecure: bool = False


REQUEST_TEXTS = 32
"""Texts in one request to a server at most."""

ModelSpec = SentenceTransformersSpec | StaticSpec | RemoteSpec
"""What a model of a configuration is."""


def load_model(spec: ModelSpec, stop: Stop | None = None) -> Embedder:
    """Load a configured model, each time from its files. Raises `ModelNotReady`, or `Unavailable` for a server.

    `stop`: ends the question to a server; what is read from the disk is read to its end.
    """
    # Imported here: torch and its like are loaded by those who use them.
    match spec:
        case SentenceTransformersSpec():
            from engram.embed._sentence_transformers import load_sentence_transformers  # noqa: PLC0415

            return load_sentence_transformers(spec)
        case StaticSpec():
            from engram.embed._static import load_static  # noqa: PLC0415

            return load_static(spec)
        case RemoteSpec():
            from engram.embed._remote import load_remote  # noqa: PLC0415

            return load_remote(spec, stop)
