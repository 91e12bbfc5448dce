"""The index of a namespace: rows come and go in a `Space`, and readers search the `View` that it published last.

All of it is native (`docs/index.md`); vectors, digests and metadata are read from the bodies, through `BodyMaps`.
"""

from engram.index._recall import Measure, RecallTally
from engram.native._core import Allowed, BodyMaps, FilterPlan, Segment, Space, View

__all__ = ["Allowed", "BodyMaps", "FilterPlan", "Measure", "RecallTally", "Segment", "Space", "View"]
