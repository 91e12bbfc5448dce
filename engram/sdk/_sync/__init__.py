"""The blocking client: made of `engram.sdk._async` by scripts/generate_sync.py, but for what touches the world."""

from engram.sdk._sync._api import Api, Keys, Namespaces
from engram.sdk._sync._iterate import EventStream, Pages

__all__ = ["Api", "EventStream", "Keys", "Namespaces", "Pages"]
