"""The state tries of records and heads, kept in step with the log. Formats §4.

Theory of operation. Nobody needs them before something is committed to, so opening a folder leaves them alone. Then
they are loaded: from a snapshot, or from the tables where that costs less or there is none that fits; what the log has
had since is taken from the tables, by what the events name, so that it does not matter how often or in which order.
From there on each group's leaves are taken in. They wait in a dict until somebody looks, or there are many of them.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram import events
from engram.native import _core
from engram.store._leaves import Leaves
from engram.store._rows import select_among

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from engram.events import Log

_WAITING = 4096
"""Leaves that wait at most, but for those of one group."""

_LIVING = """SELECT r.digest, r.payload, b.location FROM records r CROSS JOIN bodies b ON b.id = r.digest
             WHERE r.lives > 0"""
_HEADS = "SELECT k, digest FROM heads WHERE digest != x''"
_ROWS = 8192


class Views(msgspec.Struct, frozen=True, eq=False):
    """The tries at one position of the log, as they stay."""

    records: _core.TrieView
    heads: _core.TrieView


class Tries:
    """The tries over the first `position` events. One thread at a time uses it."""

    def __init__(self, records: _core.Trie, heads: _core.Trie, position: int) -> None:
        self.position = position
        self._records = records
        self._heads = heads
        self._waiting = Leaves()

    def __len__(self) -> int:
        return len(self._records) + len(self._heads)

    def follow(self, leaves: Leaves, position: int) -> None:
        """Take in what has changed up to `position`."""
        self._waiting.take(leaves)
        self.position = position
        if len(self._waiting) >= _WAITING:
            self._settle()

    def views(self) -> Views:
        """Give the tries as they are."""
        self._settle()
        return Views(self._records.commit(), self._heads.commit())

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, Leaves()
        _update(self._records, ((cids.key_of(digest), leaf) for digest, leaf in waiting.records.items()))
        _update(self._heads, ((k, (digest, 0) if digest else None) for k, digest in waiting.heads.items()))


def of_tables(connection: sqlite3.Connection, position: int) -> Tries:
    """Make the tries of the tables, whose rows fold the first `position` events."""
    records = connection.execute(_LIVING)
    heads = connection.execute(_HEADS)
    return Tries(
        _core.Trie(b"".join(itertools.chain.from_iterable(map(_record_rows, _pieces(records))))),
        _core.Trie(b"".join(_leaf(k, digest, 0) for k, digest in heads)),
        position,
    )


def catch_up(tries: Tries, log: Log, connection: sqlite3.Connection) -> None:
    """Bring tries that are behind to the log's end, which is where the tables are."""
    touched = Leaves()
    for _, data in log.read(tries.position):
        match events.decode(data):
            case events.RecordStored(cid=cid) | events.RecordDeleted(cid=cid):
                touched.records[cids.digest_of(cid)] = None
            case events.KeySet(k=k):
                touched.heads[k] = b""
    for digest, payload, location in select_among(connection, f"{_LIVING} AND r.digest IN", list(touched.records)):
        touched.records[digest] = (payload, location)
    touched.heads.update(select_among(connection, f"{_HEADS} AND k IN", list(touched.heads)))
    tries.follow(touched, log.size)


def _update(trie: _core.Trie, leaves: Iterable[tuple[bytes, tuple[bytes, int] | None]]) -> None:
    inserted, removed = [], []
    for k, leaf in leaves:
        if leaf is None:
            removed.append(k)
        else:
            inserted.append(_leaf(k, *leaf))
    trie.update(b"".join(inserted), b"".join(removed))


def _pieces(rows: sqlite3.Cursor) -> Iterator[list[tuple[bytes, bytes, int]]]:
    while piece := rows.fetchmany(_ROWS):
        yield piece


def _record_rows(rows: list[tuple[bytes, bytes, int]]) -> Iterator[bytes]:
    return (_leaf(cids.key_of(digest), payload, location) for digest, payload, location in rows)


def _leaf(k: bytes, value: bytes, location: int) -> bytes:
    return k + value + location.to_bytes(8, "little")
