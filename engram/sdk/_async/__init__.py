"""For asyncio and trio. The rules are written here once; scripts/generate_sync.py makes the blocking half.

The client is imported when it is asked for: an embedded memory needs the API alone, and no anyio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.sdk._async._api import AsyncApi
from engram.sdk._async._iterate import AsyncEventStream, AsyncPages
from engram.sdk._async._names import AsyncKeys, AsyncNamespaces

if TYPE_CHECKING:
    from engram.sdk._async._client import AsyncEngramClient

__all__ = ["AsyncApi", "AsyncEngramClient", "AsyncEventStream", "AsyncKeys", "AsyncNamespaces", "AsyncPages"]


def __getattr__(name: str) -> object:
    if name == "AsyncEngramClient":
        from engram.sdk._async import _client  # noqa: PLC0415

        return _client.AsyncEngramClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
