"""Which parts of the index are to become one sealed segment, and how that is done while readers and writer go on.

Theory of operation. New rows stand in a namespace's head, in memory. A head that has grown large is sealed; four
segments of like size become one, so that a search has few to look at and a row is written again a few times at most;
one of which many rows are dead is made anew without them. Building reads an immutable view and may take seconds, on a
thread of its own; adopting is short, and the writer's: rows that have died meanwhile are dead in the new part. A step
that is left out, or fails, costs work at the next start and never a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.store._parts import IndexLimits, Made, Task, choose, parts_of, sealed_of

if TYPE_CHECKING:
    from engram.store._reading import Published
    from engram.store._store import Store


class Indexing:
    """Seals and merges the parts of a store's indexes. One thread uses it, but for `settle`."""

    def __init__(self, store: Store, limits: IndexLimits) -> None:
        self._store = store
        self._files = store.index_files
        self._limits = limits
        self._seen: Published | None = None

    @property
    def look_s(self) -> float:
        """How often to look whether there is something to do."""
        return self._limits.look_s

    def next(self) -> Task | None:
        """Find something to do; None where there is nothing."""
        published, seen = self._store.published, self._seen
        if seen is published:
            return None
        for ns, view in published.indexes.items():
            if seen is not None and seen.indexes.get(ns) is view:
                continue
            if parts := choose(*parts_of(view), self._limits):
                return Task(ns, view, parts, published.generation)
        self._seen = published
        return None

    def build(self, task: Task) -> Made:
        """Build the segment and keep it durably. Raises `OSError`, and then nothing has changed.

        Of a head so much as is due: one that a start has filled with all there is becomes many segments, of the sizes
        that it would have had.
        """
        built = task.view.build(task.parts, self._limits.seal_rows)
        if not len(built):
            return Made(task, built.head_rows, None)
        digest = self._files.write(built)
        task.view.read_ahead(task.parts, self._files.segments[digest])  # or the next filter would wait for it
        return Made(task, built.head_rows, digest)

    def record(self) -> None:
        """Have the MANIFEST say which segments there are. Raises `OSError`; it is as it was then."""
        published = self._store.published
        self._files.record(published.position, published.root, sealed_of(published.indexes))

    def settle(self) -> None:
        """Do all that there is to do, on this thread, which must be the store's writer."""
        while (task := self.next()) is not None:
            self._store.adopt(self.build(task))
        self.record()
