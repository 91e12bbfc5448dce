"""A bit flips in what is durable: the whole verification finds it and names the place, and opening invents nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engram.errors import BodiesCorrupt, LogCorrupt
from engram.events import judge
from engram.native import _core
from engram.store import PutOperation, Store
from engram.testing._clock import START_NS
from engram.testing._erasing import holders_of
from engram.testing._machine import DATA
from engram.testing._oracle import Violation, bodies_of, events_of, frames_at, payload_of
from engram.testing._rng import SimRng, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from engram.testing import _plan as plan
    from engram.testing._disk import SimDisk
    from engram.testing._machine import Machine
    from engram.testing._tables import SimTables

_TABLES = DATA / "state.db"
_RECORD = 0
_LOST = 0.3
"""The share of damages to the log that are a lost end."""


def check_damage(machine: Machine, life: plan.LifePlan, note: Callable[[str, str], None]) -> None:
    """Flip a bit of a copy of the disk; verify that folder, then open the copy. Raises `Violation`."""
    rng = stream(machine.seed, "flip", life.number)
    disk, tables = _mended(machine)
    files = _segments(disk, life.flip)
    used = {path: data.rstrip(b"\0") for path, data in files.items()}
    path = rng.choice(sorted(path for path, data in used.items() if data) or [""])
    if path and life.flip == "events" and rng.random() < _LOST:
        _lose_end(disk, tables, max(files), machine, rng, note)
    elif path:
        offset, bit = rng.randrange(len(used[path])), rng.randrange(8)
        note("machine", f"bit {bit} of byte {offset} of {path} flips, in a copy")
        copied = disk.copy()
        copied.flip(path, offset, bit)
        named = judge_folder(copied, life.flip)
        note("machine", f"  the whole verification says: {named}")
        _require_named(named, path, offset)
        _open(disk, tables, copied, path, machine.segment_bytes)
    _rot(disk, tables, machine, rng, note)
    tables.close()


def _rot(disk: SimDisk, tables: SimTables, machine: Machine, rng: Random, note: Callable[[str, str], None]) -> None:
    """Flip a bit of a body beneath a copy that is open already: nobody has looked at it since."""
    segments = _segments(disk, "bodies")
    found = [(path, at + 64, size) for path, at, size, kind in frames_at(segments, f"{DATA}/bodies") if kind == _RECORD]
    if not found:
        return
    path, start, size = rng.choice(found)
    offset, bit = start + rng.randrange(size), rng.randrange(8)
    copied = disk.copy()
    beside = tables.copy(copied, _TABLES)
    store = _opened(copied, beside, machine.segment_bytes)
    try:
        note("machine", f"bit {bit} of byte {offset} of {path} flips, in an open copy")
        copied.flip(path, offset, bit)
        _check_rot(store, disk)
    finally:
        store.close(START_NS)
        beside.close()


def _lose_end(
    disk: SimDisk, tables: SimTables, path: str, machine: Machine, rng: Random, note: Callable[[str, str], None]
) -> None:
    """Lose the last frames of a copy of the log: what the tables have seen of them is missed."""
    data = disk.files()[path]
    starts = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"EGL1"]
    if starts:
        offset = rng.choice(starts)
        note("machine", f"what stands from {offset} on in {path} is lost, in a copy")
        copied = disk.copy()
        file = copied.open(Path(path))
        file.write(offset, bytes(len(data) - offset))
        file.close()
        _open(disk, tables, copied, path, machine.segment_bytes)


def _mended(machine: Machine) -> tuple[SimDisk, SimTables]:
    """Give a copy of what the last life left, opened: without what a crash has torn.

    It was not closed: the checkpoint of that would vouch for all of the log, and nothing else be put to the test.
    """
    disk = machine.disk.copy()
    tables = machine.tables.copy(disk, _TABLES)
    store = _opened(disk, tables, machine.segment_bytes)
    opened = disk.copy()
    beside = tables.copy(opened, _TABLES)
    store.close(START_NS)
    tables.close()
    return opened, beside


def _opened(disk: SimDisk, tables: SimTables, segment_bytes: int) -> Store:
    rng = SimRng(stream(0, "damage"))
    return Store.open(disk, tables, DATA, rng, START_NS, "engram.testing", segment_bytes=segment_bytes)


def judge_folder(disk: SimDisk, folder: str) -> tuple[str, int] | None:
    """Verify the whole of a folder of segments; give the path and offset of what is unsound, None if nothing is."""
    files = _segments(disk, folder)
    if folder == "events":
        verdict = judge({path.rpartition("/")[2]: data for path, data in files.items()}, None)
        return (f"{DATA}/events/{verdict.segment}", verdict.offset) if verdict.status else None
    named = _bodies_named(disk)
    held: set[bytes] = set()
    for path in sorted(files):
        frames, again, (status, offset, _) = _core.scan_bodies(files[path], 0, named, path == max(files), content=True)
        if status:
            return path, min([offset, *again])
        held.update(body_id for *_, body_id in frames)
    return None if named <= held else (max(files), 0)


def _require_named(named: tuple[str, int] | None, path: str, offset: int) -> None:
    if named is None or named[0] != path or named[1] > offset:
        raise Violation(f"a bit flipped at byte {offset} of {path}, and the verification says {named}")


def _open(disk: SimDisk, tables: SimTables, copied: SimDisk, path: str, segment_bytes: int) -> None:
    """Open the copy with its tables: refused by name, or open with no event that was not there before."""
    before = {event.position: event.fields for event in events_of(disk.files(), f"{DATA}/events")}
    beside = tables.copy(copied, _TABLES)
    [committed] = next(iter(beside.rows(_TABLES, "SELECT position FROM projection")), (0,))
    try:
        store = _opened(copied, beside, segment_bytes)
    except (LogCorrupt, BodiesCorrupt) as error:
        beside.close()
        if path not in error.message and "which no segment holds" not in error.message:
            raise Violation(f"{path} is damaged, and opening says: {error.message}") from error
        return
    opened_at = store.published.position
    try:
        if "/bodies/" in path:
            _check_rot(store, disk)
    finally:
        store.close(START_NS)
        beside.close()
    if opened_at < committed:
        raise Violation(f"{path} is damaged; {committed} events were committed, and opening has kept {opened_at}")
    if "/events/" in path:
        return  # what it reads of the log may be what is damaged; the verification has named it
    after = {event.position: event.fields for event in events_of(copied.files(), f"{DATA}/events")}
    if any(after[position] != before.get(position) for position in range(opened_at)):
        raise Violation(f"after a flipped bit in {path} the log says something else")


def _check_rot(store: Store, disk: SimDisk) -> None:
    """Read every record: each is what it was, or refused, and then a put of the same mends it. `disk`: before."""
    files = disk.files()
    bodies = bodies_of(files, f"{DATA}/bodies")
    for cid, holders in holders_of(events_of(files, f"{DATA}/events")).items():
        digest = bytes.fromhex(cid[4:])
        for ns, signer in sorted(holders.alive):
            if not _reads(store, ns, digest, bodies[digest]):
                [done] = store.commit([PutOperation(ns, digest, bodies[digest], signer)], START_NS)
                if isinstance(done, Exception) or not _reads(store, ns, digest, bodies[digest]):
                    raise Violation(f"{cid} has rotten and was put again, and it is not mended: {done}")


def _reads(store: Store, ns: bytes, digest: bytes, payload: bytes) -> bool:
    """Say whether a record is given, and not refused; it may not be another. Raises `Violation`."""
    try:
        view = store.get(ns, digest)
    except BodiesCorrupt:
        return False
    told = payload_of(payload)
    given = None if view is None else (bytes(view.embedding), bytes(view.metadata).decode(), view.text)
    if given != (told.vector, told.metadata_json, told.text):
        raise Violation(f"v1::{digest.hex()} has rotten, and is given as {given}")
    return True


def _segments(disk: SimDisk, folder: str) -> Mapping[str, bytes]:
    return {
        path: data
        for path, data in disk.files().items()
        if path.startswith(f"{DATA}/{folder}/") and path.endswith((".log", ".seg")) and "/." not in path
    }


def _bodies_named(disk: SimDisk) -> set[bytes]:
    """Give the ids of the bodies that events name."""
    named = set()
    for event in events_of(disk.files(), f"{DATA}/events"):
        if event.type == "record_stored.1":
            named.add(bytes.fromhex(event.fields["cid"][4:]))
        elif event.type == "namespace_created.1":
            named.add(event.fields["name"])
        elif event.type == "key_set.1":
            named.add(event.fields["key"])
    return named
