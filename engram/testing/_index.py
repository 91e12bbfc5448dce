"""The index holds what lives, each record once, and what it has on disk is what the bodies give anew, byte for byte."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engram.errors import EngramError
from engram.store import Store
from engram.testing._clock import START_NS
from engram.testing._machine import DATA
from engram.testing._oracle import Violation
from engram.testing._rng import SimRng, stream

if TYPE_CHECKING:
    from engram.index import View
    from engram.testing._disk import SimDisk
    from engram.testing._tables import SimTables

_TABLES = DATA / "state.db"
_FOLDER = f"{DATA}/index/"


def check_index(store: Store) -> None:
    """Compare the rows of every namespace's index with the tables. Raises `Violation`."""
    with contextlib.closing(store.open_tables()) as connection:
        rows = connection.execute("SELECT ns, location FROM memberships WHERE alive AND indexed").fetchall()
    for ns, view in store.published.indexes.items():
        expected = sorted({location for of, location in rows if of == ns})
        found = sorted(location for part, _ in view.parts for _, location in view.living(part))
        if found != expected:
            more, less = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
            raise Violation(f"the index has {len(found)} rows, {more} of them dead or twice, and lacks {less}")


def check_rebuilt(disk: SimDisk, tables: SimTables, segment_bytes: int) -> None:
    """Open copies of a stopped node's folder, with its index and without, and compare what they hold."""
    kept = _built(disk.copy(), tables, segment_bytes)
    copied = disk.copy()
    for path in disk.files():
        if path.startswith(_FOLDER):
            copied.remove(DATA / "index" / path.removeprefix(_FOLDER))
    if kept != _built(copied, tables, segment_bytes):
        raise Violation("what the index has on disk is not what the bodies give anew")


def _built(disk: SimDisk, tables: SimTables, segment_bytes: int) -> dict[bytes, bytes]:
    beside = tables.copy(disk, _TABLES)
    rng = SimRng(stream(0, "index"))
    try:
        store = Store.open(disk, beside, DATA, rng, START_NS, "engram.testing", segment_bytes=segment_bytes)
    except EngramError as error:
        raise Violation(f"a stopped node's folder does not open again: {error.message}") from error
    try:
        check_index(store)
        return {ns: _whole(view) for ns, view in store.published.indexes.items()}
    finally:
        store.close(START_NS)
        beside.close()


def _whole(view: View) -> bytes:
    return bytes(memoryview(view.build([part for part, _ in view.parts])))
