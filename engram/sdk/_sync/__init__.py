"""The blocking client: made of `engram.sdk._async` by scripts/generate_sync.py, but for what touches the world."""

from engram.sdk._sync._api import ANY, Api, Keys, Namespaces
from engram.sdk._sync._client import EngramClient
from engram.sdk._sync._iterate import EventStream, Pages

__all__ = ["ANY", "Api", "EngramClient", "EventStream", "Keys", "Namespaces", "Pages"]
