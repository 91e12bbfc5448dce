"""Text to vectors: the embedder's port, the native embedder with its model's files, and the other backends.

What fetches the model is imported when it is used (PEP 562), which is once: every later start is quicker without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.embed._identity import same_model
from engram.embed._load import load_model
from engram.embed._minilm import MiniLmEmbedder, load_embedder
from engram.embed._model import FINGERPRINT, SPLITTER, ModelFiles, find_model, model_cache, verify_model
from engram.embed._own import OwnModel
from engram.embed._port import EmbeddedTexts, Embedder, ModelSource
from engram.embed._specs import REQUEST_TEXTS, ModelSpec, RemoteSpec, SentenceTransformersSpec, StaticSpec
from engram.embed._split import CHUNK_PIECES, Span, Split
from engram.embed._url import parse_url

if TYPE_CHECKING:
    from engram.embed._fetch import fetch_model

__all__ = [
    "CHUNK_PIECES",
    "FINGERPRINT",
    "REQUEST_TEXTS",
    "SPLITTER",
    "EmbeddedTexts",
    "Embedder",
    "MiniLmEmbedder",
    "ModelFiles",
    "ModelSource",
    "ModelSpec",
    "OwnModel",
    "RemoteSpec",
    "SentenceTransformersSpec",
    "Span",
    "Split",
    "StaticSpec",
    "fetch_model",
    "find_model",
    "load_embedder",
    "load_model",
    "model_cache",
    "parse_url",
    "same_model",
    "verify_model",
]


def __getattr__(name: str) -> object:
    if name == "fetch_model":
        from engram.embed._fetch import fetch_model  # noqa: PLC0415

        return fetch_model
    raise AttributeError(f"module 'engram.embed' has no attribute {name!r}")
