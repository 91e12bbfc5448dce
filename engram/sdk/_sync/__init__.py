"""The blocking client: made of `engram.sdk._async` by scripts/generate_sync.py, but for what touches the world."""

from engram.sdk._items import ANY
from engram.sdk._sync._api import Api
from engram.sdk._sync._client import EngramClient
from engram.sdk._sync._iterate import EventStream, Pages
from engram.sdk._sync._names import Keys, Namespaces

__all__ = ["ANY", "Api", "EngramClient", "EventStream", "Keys", "Namespaces", "Pages"]
