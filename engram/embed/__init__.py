"""Text to vectors, bit for bit the same everywhere: the embedder's port, the native embedder, and its model's files."""

from engram.embed._fetch import fetch_model
from engram.embed._minilm import MiniLmEmbedder, load_embedder
from engram.embed._model import FINGERPRINT, SPLITTER, ModelFiles, find_model, model_cache, verify_model
from engram.embed._port import EmbeddedTexts, Embedder, Splitter
from engram.embed._split import CHUNK_PIECES, Span, Split

__all__ = [
    "CHUNK_PIECES",
    "FINGERPRINT",
    "SPLITTER",
    "EmbeddedTexts",
    "Embedder",
    "MiniLmEmbedder",
    "ModelFiles",
    "Span",
    "Split",
    "Splitter",
    "fetch_model",
    "find_model",
    "load_embedder",
    "model_cache",
    "verify_model",
]
