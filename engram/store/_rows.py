"""Many rows in few statements.

Each call into SQLite gives up the interpreter's lock and has to get it back from the node's loop, and that costs more
than the row. So rows are looked for and inserted many at a time, in statements of few sizes, which are prepared once.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

_MOST = 64
"""Rows of one statement at most; each size is a power of two."""


def insert_rows(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each with every column."""
    at = 0
    while at < len(rows):
        count = min(1 << (len(rows) - at).bit_length() - 1, _MOST)
        values = list(itertools.chain.from_iterable(rows[at : at + count]))
        connection.execute(_insertion(table, len(values) // count, count), values)
        at += count


def select_among(
    connection: sqlite3.Connection, query: str, keys: Sequence[bytes], values: tuple[Any, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    """Give the rows of `query`, which ends in `IN`, for any of `keys`. `values`: of what stands before."""
    for at in range(0, len(keys), _MOST):
        part = keys[at : at + _MOST]
        count = 1 << (len(part) - 1).bit_length()
        yield from connection.execute(
            f"{query} {_marks(count)}", [*values, *part, *(list(part[:1]) * (count - len(part)))]
        )


@functools.cache
def _insertion(table: str, columns: int, rows: int) -> str:
    return f"INSERT INTO {table} VALUES {', '.join([_marks(columns)] * rows)}"  # noqa: S608 (names of our own)


@functools.cache
def _marks(count: int) -> str:
    return f"({', '.join('?' * count)})"
