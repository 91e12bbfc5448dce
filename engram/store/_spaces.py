"""The writer's side of every namespace's index: filled from segments and bodies, kept in step, and published."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from engram.index import Space
from engram.store import _tables as tables

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from engram.events import RecallMeasured
    from engram.index import Measure, View
    from engram.store._bodies import Bodies
    from engram.store._group import Namespace
    from engram.store._index_files import IndexFiles
    from engram.store._parts import Made
    from engram.store._tables import Change

_LOAD_ROWS = 4096


class Spaces:
    """The indexes of a store. They belong to its writer, but for what they have published."""

    def __init__(
        self,
        bodies: Bodies,
        files: IndexFiles,
        is_damaged: Callable[[int], bool],
        met_damage: Callable[[Iterable[int]], None],
    ) -> None:
        """`is_damaged`: whether a location is known to be; `met_damage`: hears of those that were found to be."""
        self._bodies = bodies
        self._files = files
        self._is_damaged = is_damaged
        self._met_damage = met_damage
        self._spaces: dict[bytes, Space] = {}
        self.generation = 0
        """Goes up with each that is made, as all are where they are filled anew."""
        self._made: dict[bytes, int] = {}
        """The generation that each was made in: what was built from one before has no place in it."""
        self.measures: dict[bytes, Measure] = {}
        """What was last kept of each namespace's recall, as of when they were filled."""

    def fill(
        self,
        connection: sqlite3.Connection,
        namespaces: Iterable[Namespace],
        sealed: Mapping[bytes, Sequence[bytes]],
    ) -> None:
        """Have every namespace's index hold what the tables say. `sealed`: digests of its segments."""
        self._bodies.cover()
        self.measures = dict(tables.measures(connection))
        live = tables.locations_to_index(connection)
        self._made.clear()
        self._spaces = {
            space.ns: self._filled(connection, space, sealed.get(space.ns, ()), live.get(space.ns, array("Q")))
            for space in namespaces
        }

    def _filled(
        self, connection: sqlite3.Connection, namespace: Namespace, sealed: Iterable[bytes], live: array[int]
    ) -> Space:
        """Open what is sealed, hold it to what lives, and add what is in none of it from the bodies."""
        space = self._new(namespace)
        for digest in sealed:
            segment = self._files.segments[digest]
            if segment.dim == namespace.dim:
                space.adopt(segment, [], 0)
        missing = space.reconcile(live.tobytes())
        if missing:
            rows = tables.rows_to_index(connection, namespace.ns, least=missing[0])
            among = frozenset(missing)
            rows = [row for row in rows if row[1] in among and not self._is_damaged(row[1])]
            for start in range(0, len(rows), _LOAD_ROWS):
                self._add(space, rows[start : start + _LOAD_ROWS])
        return space

    def follow(self, changes: Iterable[Change], namespaces: Mapping[bytes, Namespace]) -> set[bytes]:
        """Take in what a group of events has changed, in order; give the namespaces that it was in."""
        self._bodies.cover()
        changed = set()
        added: dict[bytes, list[tuple[bytes, int]]] = {}
        for change in changes:
            if not change.indexed:
                continue
            changed.add(change.ns)
            if change.visible:
                added.setdefault(change.ns, []).append((change.digest, change.location))
            else:
                self._add_all(added, namespaces)
                self._of(namespaces[change.ns]).remove(change.location)
        self._add_all(added, namespaces)
        return changed

    def widen(self, measured: Mapping[bytes, RecallMeasured], namespaces: Mapping[bytes, Namespace]) -> None:
        """Have fast searches look at as many rows as was found to be needed."""
        for ns, event in measured.items():
            self._of(namespaces[ns]).widen(event.widening)

    def adopt(self, made: Made) -> bool:
        """Put a segment in the place of the parts that it was built from; False where they are there no more."""
        task = made.task
        if task.generation < self._made.get(task.ns, task.generation + 1):
            return False
        segment = None if made.digest is None else self._files.segments[made.digest]
        self._spaces[task.ns].adopt(segment, task.parts, made.head_rows)
        return True

    def publish(self, changed: Iterable[bytes] | None = None) -> dict[bytes, View]:
        """Give readers what is in the indexes of these namespaces now; None: of all."""
        return {ns: self._spaces[ns].publish() for ns in (self._spaces if changed is None else changed)}

    def drop(self, ns: bytes) -> None:
        """Forget a namespace; what is being built of it finds no place, which costs it only the work."""
        self._spaces.pop(ns, None)
        self._made.pop(ns, None)
        self.measures.pop(ns, None)

    def clear(self) -> None:
        """Let go of the bodies' maps."""
        self._spaces.clear()

    def _add_all(self, added: dict[bytes, list[tuple[bytes, int]]], namespaces: Mapping[bytes, Namespace]) -> None:
        for ns, rows in added.items():
            self._add(self._of(namespaces[ns]), rows)
        added.clear()

    def _add(self, space: Space, rows: list[tuple[bytes, int]]) -> None:
        """Index records, given as (digest, location); the others are found all the same where a body is damaged."""
        if damaged := space.add(rows):
            self._met_damage(damaged)

    def _of(self, namespace: Namespace) -> Space:
        if namespace.ns not in self._spaces:
            self._spaces[namespace.ns] = self._new(namespace)
        return self._spaces[namespace.ns]

    def _new(self, namespace: Namespace) -> Space:
        self.generation += 1
        self._made[namespace.ns] = self.generation
        space = Space(namespace.dim, self._bodies.maps)
        if (measured := self.measures.get(namespace.ns)) is not None:
            space.widen(measured.widening)
        return space
