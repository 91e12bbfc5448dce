"""The other backends, as a configuration names them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - a field's type

import msgspec


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
