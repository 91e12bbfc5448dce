"""For asyncio and trio. The rules are written here once; scripts/generate_sync.py makes the blocking half."""

from engram.sdk._async._api import AsyncApi, AsyncKeys, AsyncNamespaces
from engram.sdk._async._iterate import AsyncEventStream, AsyncPages

__all__ = ["AsyncApi", "AsyncEventStream", "AsyncKeys", "AsyncNamespaces", "AsyncPages"]
