"""The client, under the name that the first Engram gave it."""

from engram.sdk._sync import EngramClient

__all__ = ["EngramClient"]
