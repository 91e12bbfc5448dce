"""A bit flips in what is durable: the whole verification finds it and names the place, and opening invents nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engram.errors import BodiesCorrupt, LogCorrupt
from engram.events import judge
from engram.native import _core
from engram.store import Store
from engram.testing._clock import START_NS
from engram.testing._machine import DATA
from engram.testing._oracle import Violation, events_of
from engram.testing._rng import SimRng, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from engram.testing import _plan as plan
    from engram.testing._disk import SimDisk
    from engram.testing._machine import Machine

_TABLES = DATA / "state.db"
_LOST = 0.3
"""The share of damages that are a lost end."""


def check_damage(machine: Machine, life: plan.LifePlan, note: Callable[[str, str], None]) -> None:
    """Flip a bit of a copy of the disk; verify that folder, then open the copy. Raises `Violation`."""
    rng = stream(machine.seed, "flip", life.number)
    files = _segments(machine.disk, life.flip)
    used = {path: data.rstrip(b"\0") for path, data in files.items()}
    path = rng.choice(sorted(path for path, data in used.items() if data) or [""])
    if not path:
        return
    offset, bit = rng.randrange(len(used[path])), rng.randrange(8)
    if life.flip == "events" and rng.random() < _LOST:
        _lose_end(machine, max(files), rng, note)
        return
    note("machine", f"bit {bit} of byte {offset} of {path} flips, in a copy")
    copied = machine.disk.copy()
    copied.flip(path, offset, bit)
    named = judge_folder(copied, life.flip)
    note("machine", f"  the whole verification says: {named}")
    _require_named(named, path, offset)
    _open(machine, copied, path, rng)


def _lose_end(machine: Machine, path: str, rng: Random, note: Callable[[str, str], None]) -> None:
    """Lose the last frames of a copy of the log: what the tables have seen of them is missed."""
    data = machine.disk.files()[path]
    starts = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"EGL1"]
    if not starts:
        return
    offset = rng.choice(starts)
    note("machine", f"what stands from {offset} on in {path} is lost, in a copy")
    copied = machine.disk.copy()
    file = copied.open(Path(path))
    file.write(offset, bytes(len(data) - offset))
    file.close()
    _open(machine, copied, path, rng)


def judge_folder(disk: SimDisk, folder: str) -> tuple[str, int] | None:
    """Verify the whole of a folder of segments; give the path and offset of what is unsound, None if nothing is."""
    files = _segments(disk, folder)
    if folder == "events":
        verdict = judge({path.rpartition("/")[2]: data for path, data in files.items()}, None)
        return (f"{DATA}/events/{verdict.segment}", verdict.offset) if verdict.status else None
    named = _bodies_named(disk)
    held: set[bytes] = set()
    for path in sorted(files):
        frames, _, (status, offset, _) = _core.scan_bodies(files[path], 0, named, path == max(files), content=True)
        if status:
            return path, offset
        held.update(body_id for *_, body_id in frames)
    return None if named <= held else (max(files), 0)


def _require_named(named: tuple[str, int] | None, path: str, offset: int) -> None:
    if named is None or named[0] != path or named[1] > offset:
        raise Violation(f"a bit flipped at byte {offset} of {path}, and the verification says {named}")


def _open(machine: Machine, copied: SimDisk, path: str, rng: Random) -> None:
    """Open the copy with its tables: refused by name, or open with nothing that the log does not say."""
    before = {event.position: event.fields for event in events_of(machine.disk.files(), f"{DATA}/events")}
    tables = machine.tables.copy(copied, _TABLES)
    [committed] = next(iter(tables.rows(_TABLES, "SELECT position FROM projection")), (0,))
    try:
        store = Store.open(
            copied, tables, DATA, SimRng(rng), START_NS, "engram.testing", segment_bytes=machine.segment_bytes
        )
    except (LogCorrupt, BodiesCorrupt) as error:
        if path not in error.message and "which no segment holds" not in error.message:
            raise Violation(f"{path} is damaged, and opening says: {error.message}") from error
        return
    kept = store.published.position
    store.close(START_NS)
    if kept < committed:
        raise Violation(f"{path} is damaged, and of {committed} events that were committed opening has kept {kept}")
    invented = [event for event in events_of(copied.files(), f"{DATA}/events") if event.type != "state_committed.1"]
    for event in invented:
        if before.get(event.position) != event.fields and "/events/" not in path:
            raise Violation(f"after a flipped bit the log says {event.fields} at {event.position}")


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
    return named
