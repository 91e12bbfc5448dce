"""The client of a node, for programs that are not one: it loads no event loop, no database and no numpy."""

from engram.sdk._api import Api, Health, Namespaces
from engram.sdk._outcomes import Kept, Reindexed
from engram.sdk._vectors import VectorLike, f32_bytes
from engram.sdk.client import EngramClient
from engram.wire import Chunk, Hit, Record

__all__ = [
    "Api",
    "Chunk",
    "EngramClient",
    "Health",
    "Hit",
    "Kept",
    "Namespaces",
    "Record",
    "Reindexed",
    "VectorLike",
    "f32_bytes",
]
