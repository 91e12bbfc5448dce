"""The client of a node, for programs that are not one: it loads no event loop, no database and no numpy.

What is for asyncio and trio is imported when it is asked for (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.sdk._address import parse_url
from engram.sdk._outcomes import Health, Kept, Reindexed
from engram.sdk._sync import ANY, Api, EngramClient, EventStream, Keys, Namespaces, Pages
from engram.sdk._vectors import VectorLike, f32_bytes
from engram.wire import Chunk, EventInfo, Hit, KeyInfo, KeyRecord, KeyResult, KeyVersion, Record

if TYPE_CHECKING:
    from engram.sdk._async import AsyncApi, AsyncEngramClient, AsyncEventStream, AsyncKeys, AsyncNamespaces, AsyncPages

__all__ = [
    "ANY",
    "Api",
    "AsyncApi",
    "AsyncEngramClient",
    "AsyncEventStream",
    "AsyncKeys",
    "AsyncNamespaces",
    "AsyncPages",
    "Chunk",
    "EngramClient",
    "EventInfo",
    "EventStream",
    "Health",
    "Hit",
    "Kept",
    "KeyInfo",
    "KeyRecord",
    "KeyResult",
    "KeyVersion",
    "Keys",
    "Namespaces",
    "Pages",
    "Record",
    "Reindexed",
    "VectorLike",
    "f32_bytes",
    "parse_url",
]


def __getattr__(name: str) -> object:
    if name.startswith("Async") and name in __all__:
        from engram.sdk import _async  # noqa: PLC0415

        return getattr(_async, name)
    raise AttributeError(f"module 'engram.sdk' has no attribute {name!r}")
