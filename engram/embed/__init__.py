"""Text to vectors: the embedder's port, the native embedder with its model's files, and the other backends."""

from engram.embed._fetch import fetch_model
from engram.embed._identity import same_model
from engram.embed._load import load_model
from engram.embed._minilm import MiniLmEmbedder, load_embedder
from engram.embed._model import FINGERPRINT, SPLITTER, ModelFiles, find_model, model_cache, verify_model
from engram.embed._port import EmbeddedTexts, Embedder
from engram.embed._specs import REQUEST_TEXTS, ModelSpec, RemoteSpec, SentenceTransformersSpec, StaticSpec
from engram.embed._split import CHUNK_PIECES, Span, Split
from engram.embed._url import parse_url

__all__ = [
    "CHUNK_PIECES",
    "FINGERPRINT",
    "REQUEST_TEXTS",
    "SPLITTER",
    "EmbeddedTexts",
    "Embedder",
    "MiniLmEmbedder",
    "ModelFiles",
    "ModelSpec",
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
