"""A data folder in which everything has happened: the same bytes each time, in several segments, and a forger of logs."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from small_folder import NOW, FixedRng

from engram import record
from engram.events import Checkpoint, RecallMeasured, checkpoints
from engram.identity import NodeKey, namespace_id
from engram.native import _core
from engram.runtime import ReadOnlyDisk, RealDisk, RealTables
from engram.store import (
    PUBLIC,
    AuditOrder,
    AuditReport,
    CreateOperation,
    DeleteOperation,
    DropOperation,
    KeyOperation,
    MeasureOperation,
    PutOperation,
    Store,
    audit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEGMENT_BYTES = 4096
FIRST = "events/" + "0" * 20 + ".log"
OTHER = bytes([7]) * 32


def open_store(path: Path, now_ns: int = NOW, segment_bytes: int = SEGMENT_BYTES) -> Store:
    return Store.open(
        RealDisk(), RealTables(), path, FixedRng(), now_ns, "golden", segment_bytes=segment_bytes, snapshot_leaves=1
    )


def text_put(store: Store, text: str, ns: bytes = PUBLIC.ns, signer: bytes | None = None) -> PutOperation:
    vector = record.stored_vector([byte - 127.5 for byte in hashlib.sha256(text.encode()).digest() * 12])
    encoded = record.encode_text(text, vector, record.canonical_metadata({"t": text}), PUBLIC.model_version)
    return PutOperation(ns, *encoded, signer or store.key.public)


def vector_put(store: Store, ns: bytes, number: int) -> PutOperation:
    vector = record.stored_vector([1.0, number, *[0.25] * 6])
    return PutOperation(ns, *record.encode_vector(vector, b"{}", "m/1"), store.key.public)


def fill(store: Store, now: int = NOW) -> None:
    """Do something of everything, in several groups."""
    own = store.key.public
    notes, gone = namespace_id(own, "notes"), namespace_id(own, "gone")
    texts = [text_put(store, f"text {n}") for n in range(6)]
    vectors = [vector_put(store, notes, n) for n in range(4)]
    steps: list[list[Any]] = [
        [CreateOperation(own, "notes", "m/1", 8), CreateOperation(own, "gone", "m/1", 8)],
        texts[:3],
        [*texts[3:], *vectors[:2]],
        [text_put(store, "text 1", signer=OTHER), *vectors[2:]],
        [KeyOperation(PUBLIC.ns, "home", texts[0].digest, own), KeyOperation(PUBLIC.ns, "away", texts[1].digest, own)],
        [DeleteOperation(PUBLIC.ns, texts[1].digest, own), DeleteOperation(PUBLIC.ns, texts[2].digest, own)],
        [KeyOperation(PUBLIC.ns, "home", texts[3].digest, own), KeyOperation(PUBLIC.ns, "away", None, own)],
        [texts[2], DropOperation(gone, own)],
        [MeasureOperation(RecallMeasured(ns=notes, mode="fast", queries=3, expected=30, found=30, widening=1))],
    ]
    for number, step in enumerate(steps):
        outcomes = store.commit(step, now + number * 10**6)
        assert not [one for one in outcomes if isinstance(one, Exception)], outcomes


def make(path: Path, segment_bytes: int = SEGMENT_BYTES) -> Path:
    """Make the folder in two sittings, so that it has two checkpoints."""
    store = open_store(path, NOW, segment_bytes)
    fill(store)
    store.close(NOW + 10**8)
    store = open_store(path, NOW + 2 * 10**8, segment_bytes)
    store.commit([text_put(store, f"later {n}") for n in range(3)], NOW + 3 * 10**8)
    store.close(NOW + 4 * 10**8)
    return path


def look(path: Path, **order: Any) -> AuditReport:
    """Audit a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = AuditOrder(path.absolute(), Path(scratch), **order)
        return audit(ReadOnlyDisk(), wanted, lambda *_: None, lambda: None)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


# -- a forger -----------------------------------------------------------------------------------------------------------


def frames_of(path: Path) -> list[list[bytes]]:
    """Give the events of a folder's log, frame by frame."""
    state, frames = _core.LogState(), []
    for segment in sorted((path / "events").glob("*.log")):
        data = segment.read_bytes()
        found, _ = state.scan(data, True, 0)
        frames += [_core.frame_events(data[at : at + size]) for at, size, *_ in found]
    return frames


def forge(path: Path, change: Callable[[list[list[bytes]]], Sequence[Sequence[bytes]]], *, sign: bool = True) -> None:
    """Write the log anew with `change` done to its frames: every CRC and root is right again.

    `sign`: with the node's own key, sign each size that a checkpoint stood at, as far as the log still has it.
    """
    sizes = [int(note.name) for note in (path / "checkpoints").iterdir()]
    frames = change(frames_of(path))
    for segment in (path / "events").glob("*.log"):
        segment.unlink()
    state, out, roots = _core.LogState(), b"", {}
    for number, events in enumerate(frames):
        out += state.encode(NOW + number, list(events))
        roots[state.size] = state.root
    (path / FIRST).write_bytes(out)
    if sign:
        key = NodeKey((path / "keys" / "node.key").read_bytes())
        for size in sizes:
            if size in roots:
                note = checkpoints.sign(Checkpoint(size, roots[size]), key)
                (path / "checkpoints" / f"{size:020}").write_bytes(note)


def changed(kind: str, number: int = 0, **fields: Any) -> Callable[[list[list[bytes]]], list[list[bytes]]]:
    """Change fields of the `number`th event of a type."""

    def change(frames: list[list[bytes]]) -> list[list[bytes]]:
        seen = itertools.count()
        out = []
        for events in frames:
            some = []
            for data in events:
                event = msgspec.msgpack.decode(data)
                hit = event["type"] == kind and next(seen) == number
                some.append(msgspec.msgpack.encode(event | fields) if hit else data)
            out.append(some)
        assert next(seen) > number
        return out

    return change


def place_of(path: Path, kind: str, number: int = 0) -> tuple[int, int]:
    """Give (position, offset of its frame in a log of one segment) of an event of a type."""
    data = (path / FIRST).read_bytes()
    found, _ = _core.LogState().scan(data, True, 0)
    hits = [
        (first + at, offset)
        for offset, size, first, *_ in found
        for at, event in enumerate(_core.frame_events(data[offset : offset + size]))
        if msgspec.msgpack.decode(event)["type"] == kind
    ]
    return hits[number]
