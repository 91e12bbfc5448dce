"""Going over the tables, a piece at a time, to see that the rows are those of which the digest is kept."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from engram.decoding import UNDECODABLE
from engram.store import _tables as tables
from engram.store._digest import Count
from engram.store._verify_log import Damage, Look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FILE = "state.db"
_ROW_BYTES = 256


class TablesVerifier:
    """Reads the tables as one commit left them.

    `misplaced` looks where they say that a body is: what is wrong there, if anything.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], misplaced: Callable[[bytes, int], Damage | None]
    ) -> None:
        self._misplaced = misplaced
        self._connection = connect()
        self._connection.execute("BEGIN")
        self._count = Count(self._connection, tables.FOLDED)
        self._told: set[str] = set()

    def step(self) -> Look:
        """Look at one more piece. Its size is that of a piece of a file that takes about as long."""
        try:
            rows = self._count.step()
            if rows is None:
                progress = tables.progress_of(self._connection)
                sound = progress is not None and progress.digest == self._count.value
                return Look(done=True, damages=() if sound else _wrong("its rows are not those of its digest"))
        except (sqlite3.Error, *UNDECODABLE) as error:
            return Look(done=True, damages=_wrong(str(error)))
        return Look(len(rows) * _ROW_BYTES, damages=tuple(self._bodies_not_there(rows)))

    def _bodies_not_there(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[Damage]:
        """Tell one of each segment: one that lost its end, at a frame's, is sound in itself."""
        for row in rows:
            if row[0] == "bodies" and (damage := self._misplaced(row[1], row[3])) and damage.file not in self._told:
                self._told.add(damage.file)
                yield damage

    def close(self) -> None:
        """End the reading, so that what is written may replace what it saw."""
        self._connection.close()


def _wrong(reason: str) -> tuple[Damage, ...]:
    return (Damage(FILE, 0, 0, reason),)
