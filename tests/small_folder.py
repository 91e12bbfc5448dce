"""A data folder with something of everything in it, made of fixed keys and times: the same bytes each time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engram import record
from engram.identity import namespace_id
from engram.runtime import RealDisk, RealTables
from engram.store import PUBLIC, CreateOperation, DeleteOperation, PutOperation, Store

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000_000_000_000


class FixedRng:
    """An Rng port whose bytes are known."""

    def bytes(self, size: int) -> bytes:
        return bytes(range(size))


def make(path: Path) -> list[PutOperation]:
    """Make the folder in two sittings; give the puts, of which the second's membership ends."""
    store = Store.open(RealDisk(), RealTables(), path, FixedRng(), NOW, "golden")
    notes = namespace_id(store.key.public, "notes")
    store.commit([CreateOperation(store.key.public, "notes", "m/1", 8)], NOW + 1)
    puts = [_text(store, f"text {n}: grün, ¼ \U0001f33b", {"n": n, "é": [1.5, None, {"a": 1e300}]}) for n in range(4)]
    puts += [_vector(store, notes, n) for n in range(3)]
    store.commit(puts[:3], NOW + 2)
    store.commit(puts[3:], NOW + 3)
    store.close(NOW + 4)
    store = Store.open(RealDisk(), RealTables(), path, FixedRng(), NOW + 5, "golden")
    store.commit([DeleteOperation(PUBLIC.ns, puts[1].digest, store.key.public)], NOW + 10**6)
    store.close(NOW + 2 * 10**6)
    return puts


def _text(store: Store, text: str, metadata: dict[str, object]) -> PutOperation:
    vector = record.stored_vector([byte - 127.5 for byte in hashlib.sha256(text.encode()).digest() * 12])
    encoded = record.encode_text(text, vector, record.canonical_metadata(metadata), PUBLIC.model_version)
    return PutOperation(PUBLIC.ns, *encoded, store.key.public)


def _vector(store: Store, namespace: bytes, number: int) -> PutOperation:
    vector = record.stored_vector([1.0, number, *[0.25] * 6])
    return PutOperation(namespace, *record.encode_vector(vector, b"{}", "m/1"), store.key.public)
