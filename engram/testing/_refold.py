"""Live state == fold of the log: the tables of a folder against those that opening a copy without them makes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from engram.errors import EngramError
from engram.store import Store
from engram.testing._clock import START_NS
from engram.testing._machine import DATA
from engram.testing._oracle import Violation
from engram.testing._rng import SimRng, stream
from engram.testing._tables import SimTables

if TYPE_CHECKING:
    from engram.testing._disk import SimDisk

_PATH = DATA / "state.db"


def check_refold(disk: SimDisk, tables: SimTables, segment_bytes: int) -> None:
    """Fold the log of a stopped node anew, and compare every row of every table. Raises `Violation`."""
    copied = disk.copy()
    beside = tables.copy(copied, _PATH)
    live = _rows(beside)
    beside.close()
    copied.remove(_PATH)
    fresh = SimTables(copied, stream(0, "refold"))
    try:
        store = Store.open(
            copied, fresh, DATA, SimRng(stream(0, "refold")), START_NS, "engram.testing", segment_bytes=segment_bytes
        )
    except EngramError as error:
        raise Violation(f"a stopped node's folder does not open again without its tables: {error.message}") from error
    try:
        folded = _rows(fresh)
    finally:
        store.close(START_NS)
        fresh.close()
    for table in sorted(live.keys() | folded.keys()):
        if live.get(table) != folded.get(table):
            one, other = set(live.get(table, [])), set(folded.get(table, []))
            raise Violation(
                f"the table {table} is not the fold of the log: it has {sorted(one - other, key=repr)[:3]} and lacks "
                f"{sorted(other - one, key=repr)[:3]}"
            )


def _rows(tables: SimTables) -> dict[str, list[tuple[Any, ...]]]:
    with contextlib.closing(tables.connect(_PATH, readonly=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for (name,) in names}  # noqa: S608
