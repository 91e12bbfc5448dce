"""The actors of a node: one a file, thin; the algorithms are in the libraries."""

from engram.actors._asking import keep_asking
from engram.actors._challenger import LANE as CHALLENGER_LANE
from engram.actors._challenger import ChallengeOnce, ChallengerActor
from engram.actors._checkpointer import EPOCH_S, Checkpointer, CheckpointOnce
from engram.actors._embedder import CHUNK_TEXTS, EmbedderActor, EmbedTexts
from engram.actors._indexer import LANE as INDEX_LANE
from engram.actors._indexer import Indexer, IndexOnce
from engram.actors._model import ConfiguredModel, Model
from engram.actors._prover import LANE as PROVER_LANE
from engram.actors._prover import AnswerFast, AnswerSlow, GivePayloads, ProverActor, Tally
from engram.actors._recall_checker import RecallChecker, ReplayOnce
from engram.actors._scrubber import Scrubber, ScrubOnce
from engram.actors._store import Commit, CommitCheckpoint, StoreActor

__all__ = [
    "CHALLENGER_LANE",
    "CHUNK_TEXTS",
    "EPOCH_S",
    "INDEX_LANE",
    "PROVER_LANE",
    "AnswerFast",
    "AnswerSlow",
    "ChallengeOnce",
    "ChallengerActor",
    "CheckpointOnce",
    "Checkpointer",
    "Commit",
    "CommitCheckpoint",
    "ConfiguredModel",
    "EmbedTexts",
    "EmbedderActor",
    "GivePayloads",
    "IndexOnce",
    "Indexer",
    "Model",
    "ProverActor",
    "RecallChecker",
    "ReplayOnce",
    "ScrubOnce",
    "Scrubber",
    "StoreActor",
    "Tally",
    "keep_asking",
]
