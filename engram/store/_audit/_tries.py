"""The state tries of an audit: what its own fold of the events says, told to them when a root is asked for."""

from __future__ import annotations

from engram.events import TrieRoot
from engram.native import _core

_ROW, _KEY = 72, 32
_NOTHING = TrieRoot(bytes(32), 0)


class Tries:
    """The tries of records and heads, and the fold that they follow."""

    def __init__(self) -> None:
        self.fold = _core.LivingFold()
        self._leaves: list[dict[bytes, bytes]] = [{}, {}]

    def roots(self) -> dict[str, TrieRoot]:
        """Give the roots and counts over all that was folded."""
        for leaves, (inserted, removed) in zip(self._leaves, self.fold.changes(), strict=True):
            for at in range(0, len(inserted), _ROW):
                leaves[inserted[at : at + _KEY]] = inserted[at + _KEY : at + 2 * _KEY]
            for at in range(0, len(removed), _KEY):
                del leaves[removed[at : at + _KEY]]
        records, heads = (_core.trie_root(b"".join(k + value for k, value in each.items())) for each in self._leaves)
        return {"records": TrieRoot(*records), "edges": _NOTHING, "heads": TrieRoot(*heads)}
