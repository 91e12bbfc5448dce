"""The actors of a node: one a file, thin; the algorithms are in the libraries."""

from engram.actors._asking import keep_asking
from engram.actors._checkpointer import EPOCH_S, Checkpointer, CheckpointOnce
from engram.actors._embedder import CHUNK_TEXTS, EmbedderActor, EmbedTexts
from engram.actors._indexer import LANE as INDEX_LANE
from engram.actors._indexer import Indexer, IndexOnce
from engram.actors._model import ConfiguredModel, Model
from engram.actors._recall_checker import RecallChecker, ReplayOnce
from engram.actors._scrubber import Scrubber, ScrubOnce
from engram.actors._store import Commit, CommitCheckpoint, StoreActor

__all__ = [
    "CHUNK_TEXTS",
    "EPOCH_S",
    "INDEX_LANE",
    "CheckpointOnce",
    "Checkpointer",
    "Commit",
    "CommitCheckpoint",
    "ConfiguredModel",
    "EmbedTexts",
    "EmbedderActor",
    "IndexOnce",
    "Indexer",
    "Model",
    "RecallChecker",
    "ReplayOnce",
    "ScrubOnce",
    "Scrubber",
    "StoreActor",
    "keep_asking",
]
