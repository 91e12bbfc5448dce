"""The vector index: exact nearest rows, filtered before the search, over codes in memory and f32 rows elsewhere."""

from engram.index._index import VectorIndex
from engram.index._recall import Measure, RecallTally
from engram.index._snapshot import IndexSnapshot, Match

__all__ = ["IndexSnapshot", "Match", "Measure", "RecallTally", "VectorIndex"]
