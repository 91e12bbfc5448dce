"""The parts that an index is made of, and which of them are to become one.

A namespace's rows stand in sealed parts, which are segments on disk, and in a head, in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engram.index import View


class IndexLimits(msgspec.Struct, frozen=True):
    """When parts of the index are sealed, merged and made anew; sizes in rows."""

    seal_rows: int = 65_536
    """A head of so many has them sealed: its first ones, and as often as it has as many again."""
    merge: int = 4
    """So many segments of like size become one,"""
    largest_rows: int = 1_572_864
    """unless it would have more than these: half more than a million, since a head has grown on when it is sealed."""
    dead_share: float = 0.15
    """A segment of which more is dead is made anew."""
    look_s: float = 1.0
    """How often it is looked whether there is something to do: a head fills in seconds at the quickest."""


class PartSize(msgspec.Struct, frozen=True):
    """A part of a view: its id, its rows, how many of them are dead, and the digest of its segment, or None."""

    id: int
    rows: int
    dead: int
    digest: bytes | None = None

    @property
    def living(self) -> int:
        """How many rows are not dead."""
        return self.rows - self.dead


class Task(msgspec.Struct, frozen=True, eq=False):
    """Parts of a namespace's view that are to become one. `generation`: that was published with it."""

    ns: bytes
    view: View
    parts: tuple[int, ...]
    generation: int


class Made(msgspec.Struct, frozen=True, eq=False):
    """What has come of a task: a segment, or None where no row lives. `head_rows`: of the head, its first rows."""

    task: Task
    head_rows: int
    digest: bytes | None


def parts_of(view: View) -> tuple[list[PartSize], PartSize]:
    """Give the sealed parts of a view, and its head."""
    *sealed, head = (PartSize(*part) for part in view.sizes)
    return sealed, head


def sealed_of(views: Mapping[bytes, View]) -> dict[bytes, list[bytes]]:
    """Give the digests of each namespace's segments, where it has any."""
    sealed = {ns: [part.digest for part in parts_of(view)[0] if part.digest is not None] for ns, view in views.items()}
    return {ns: digests for ns, digests in sealed.items() if digests}


def choose(sealed: Sequence[PartSize], head: PartSize, limits: IndexLimits) -> tuple[int, ...]:
    """Choose the parts that are to become one next; none where all is well."""
    if head.rows >= limits.seal_rows:
        return (head.id,)
    for part in sealed:
        if part.dead > part.rows * limits.dead_share:
            return (part.id,)
    sizes: dict[int, list[PartSize]] = {}
    for part in sealed:
        sizes.setdefault(_size_class(part, limits), []).append(part)
    for alike in sizes.values():
        few = sorted(alike, key=lambda part: part.living)[: limits.merge]
        if len(few) == limits.merge and sum(part.living for part in few) <= limits.largest_rows:
            return tuple(part.id for part in few)
    return ()


def _size_class(part: PartSize, limits: IndexLimits) -> int:
    """Count how often `merge` of its kind were merged into one."""
    count, size = 0, limits.seal_rows * limits.merge
    while part.living >= size:
        count, size = count + 1, size * limits.merge
    return count
