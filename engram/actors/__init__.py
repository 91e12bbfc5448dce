"""The actors of a node: one a file, thin; the algorithms are in the libraries."""

from engram.actors._embedder import CHUNK_TEXTS, EmbedderActor, EmbedTexts, Model
from engram.actors._store import Commit, StoreActor

__all__ = ["CHUNK_TEXTS", "Commit", "EmbedTexts", "EmbedderActor", "Model", "StoreActor"]
