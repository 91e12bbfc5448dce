"""The actors of a node: one a file, thin; the algorithms are in the libraries."""

from engram.actors._embedder import CHUNK_TEXTS, EmbedderActor, EmbedTexts
from engram.actors._model import ConfiguredModel, Model
from engram.actors._recall_checker import RecallChecker, ReplayOnce, keep_checking
from engram.actors._scrubber import Scrubber, ScrubOnce, keep_scrubbing
from engram.actors._store import Commit, StoreActor

__all__ = [
    "CHUNK_TEXTS",
    "Commit",
    "ConfiguredModel",
    "EmbedTexts",
    "EmbedderActor",
    "Model",
    "RecallChecker",
    "ReplayOnce",
    "ScrubOnce",
    "Scrubber",
    "StoreActor",
    "keep_checking",
    "keep_scrubbing",
]
