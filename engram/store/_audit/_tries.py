"""The state tries of an audit: what its own fold of the events says, told to them when a root is asked for."""

from __future__ import annotations

from engram.events import TrieRoot
from engram.native import _core

_NOTHING = TrieRoot(bytes(32), 0)


class Tries:
    """The tries of records and heads, and the fold that they follow."""

    def __init__(self) -> None:
        self.fold = _core.LivingFold()
        self._records, self._heads = _core.Trie(), _core.Trie()

    def roots(self) -> dict[str, TrieRoot]:
        """Give the roots and counts over all that was folded."""
        of_records, of_heads = self.fold.changes()
        return {
            "records": _told(self._records, *of_records),
            "edges": _NOTHING,
            "heads": _told(self._heads, *of_heads),
        }


def _told(trie: _core.Trie, inserted: bytes, removed: bytes) -> TrieRoot:
    trie.update(inserted, removed)
    view = trie.commit()
    return TrieRoot(view.root, len(view))
