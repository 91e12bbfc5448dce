"""The digest of the tables' rows, kept in step with them. Architecture "What is where on disk".

Theory of operation. The digest is the sum modulo 2^256 of H(table | row) over every row, so that a change costs the
rows it touched. A row is hashed as the MessagePack array of its table's name and every column; where a column is what
a user chose (a namespace's name, a key), its hash stands in its place.

Which rows change is not left to the fold to say: triggers of the connection, made from the tables as they are, tell of
each. A fold that writes a new column or table cannot forget them. Only `RowDigest.insert` writes rows of which they are
silent, for it takes in what it writes: a trigger that calls back costs more than the row. The rows are hashed when the
group is done, in one native call without the interpreter's lock.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram.native import _core
from engram.store._rows import insert_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

EMPTY = bytes(32)
"""The digest of no rows."""

_MODULUS = 1 << 256
_HASHED = {("namespaces", "name"), ("heads", "key")}
_ROWS = 4096
_encode = msgspec.msgpack.Encoder().encode


class RowDigest:
    """The digest of `tables` of a connection, through which alone they are written from now on.

    `value`: their digest now. Nothing else may write them: a second connection has no triggers.
    """

    def __init__(self, connection: sqlite3.Connection, tables: Sequence[str], value: bytes) -> None:
        self.value = value
        self._connection = connection
        self._added: list[bytes] = []
        self._removed: list[bytes] = []
        connection.execute("PRAGMA temp_store=MEMORY")  # where the triggers stand
        connection.execute("PRAGMA recursive_triggers=ON")  # or REPLACE would delete rows untold
        connection.create_function("engram_added", -1, lambda *row: self._added.append(_encode(row)))
        connection.create_function("engram_removed", -1, lambda *row: self._removed.append(_encode(row)))
        connection.create_function("engram_hash", 1, _hashed)
        connection.execute("DROP TABLE IF EXISTS temp.digest")
        connection.execute("CREATE TEMP TABLE digest AS SELECT 0 AS silent")
        for table in tables:
            for trigger in _triggers(table, _columns(connection, table)):
                connection.execute(trigger)

    def insert(self, rows: Mapping[str, Sequence[tuple[object, ...]]]) -> None:
        """Insert rows by their tables, each with every column as it is to stand there: no bool, which is an integer."""
        self._connection.execute("UPDATE temp.digest SET silent = 1")
        try:
            for table, new in rows.items():
                assert not any(hashed == table for hashed, _ in _HASHED)
                insert_rows(self._connection, table, new)
                self._added += [_encode((table, *row)) for row in new]
        finally:
            self._connection.execute("UPDATE temp.digest SET silent = 0")

    def settle(self) -> bytes:
        """Take in what has changed and give the digest."""
        change = _sum(self._added) - _sum(self._removed)
        self.forget()
        self.value = ((int.from_bytes(self.value) + change) % _MODULUS).to_bytes(32)
        return self.value

    def forget(self) -> None:
        """Forget what has changed since the last `settle`: it was rolled back."""
        self._added.clear()
        self._removed.clear()


class Count:
    """Goes over every row of `tables`, a piece at a time, to give their digest without trusting any that is stored."""

    def __init__(self, connection: sqlite3.Connection, tables: Sequence[str]) -> None:
        self._sum = 0
        self._pieces = _pieces(connection, tables)

    def step(self) -> Sequence[tuple[object, ...]] | None:
        """Take in one more piece and give its rows, each behind its table's name; None at the end."""
        rows = next(self._pieces, None)
        if rows is not None:
            self._sum = (self._sum + _sum([_encode(row) for row in rows])) % _MODULUS
        return rows

    @property
    def value(self) -> bytes:
        """The digest of the rows so far."""
        return self._sum.to_bytes(32)


def digest_of(connection: sqlite3.Connection, tables: Sequence[str]) -> bytes:
    """Give the digest of every row that is there."""
    count = Count(connection, tables)
    while count.step() is not None:
        pass
    return count.value


def _pieces(connection: sqlite3.Connection, tables: Sequence[str]) -> Iterator[list[tuple[object, ...]]]:
    connection.create_function("engram_hash", 1, _hashed)
    for table in tables:
        columns = _row(table, _columns(connection, table), "")
        rows = connection.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 (names of our own)
        while piece := rows.fetchmany(_ROWS):
            yield piece


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _triggers(table: str, columns: Sequence[str]) -> Iterator[str]:
    added = f"SELECT engram_added({_row(table, columns, 'new.')})"
    removed = f"SELECT engram_removed({_row(table, columns, 'old.')})"
    told = " WHEN NOT (SELECT silent FROM temp.digest)"
    for event, when, body in (("INSERT", told, added), ("DELETE", "", removed), ("UPDATE", "", f"{removed}; {added}")):
        yield f"CREATE TEMP TRIGGER digest_{table}_{event} AFTER {event} ON main.{table}{when} BEGIN {body}; END"


def _row(table: str, columns: Sequence[str], prefix: str) -> str:
    values = [
        f"engram_hash({prefix}{column})" if (table, column) in _HASHED else f"{prefix}{column}" for column in columns
    ]
    return ", ".join([f"'{table}'", *values])


def _hashed(value: str | bytes) -> bytes:
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()


def _sum(rows: list[bytes]) -> int:
    return int.from_bytes(_core.sum_of_hashes(rows))
