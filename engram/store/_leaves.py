"""What a fold changes in the state tries: of each leaf the last word, until somebody takes it."""

from __future__ import annotations

import msgspec


class Leaves(msgspec.Struct):
    """The leaves that are new, or gone.

    `records`: by the CID's digest, H(payload) and its location, or None where no membership lives any more. `heads`: by
    K, the digest of what the key names, empty where it names nothing.
    """

    records: dict[bytes, tuple[bytes, int] | None] = {}
    heads: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self.records) + len(self.heads)

    def take(self, other: Leaves) -> None:
        """Take in what came later."""
        self.records.update(other.records)
        self.heads.update(other.heads)
