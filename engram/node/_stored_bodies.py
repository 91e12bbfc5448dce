"""Where the prover finds payloads: in the store's bodies, by the locations that its tries hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engram.store import Store


class StoredBodies:
    """The bodies of a store; any thread may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def payload(self, location: int) -> bytes | None:
        """Give the payload there, proved by its checksum; None where there is none that is whole."""
        return self._store.body(location)

    def tombstone(self, location: int) -> bytes | None:
        """Give the event for which the payload there was erased; None where it was not."""
        digest = self._store.body_at(location)
        return None if digest is None else self._store.tombstone_of(digest)
