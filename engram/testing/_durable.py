"""What a node has opened is durable: it answers for all of it from now on, so that no crash may take any of it.

What is read need not be on the disk: who wrote it may have been killed before its sync, or the sync may have failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.testing._losses import LoseAll
from engram.testing._machine import DATA
from engram.testing._oracle import Violation, bodies_of, events_of

if TYPE_CHECKING:
    from engram.testing._disk import SimDisk


def check_durable(disk: SimDisk) -> None:
    """Check that a crash now, with all that is unsynced lost, leaves the log and its bodies. Raises `Violation`."""
    seen, left = disk.files(), disk.image(LoseAll()).files()
    try:
        events, durable = events_of(seen, f"{DATA}/events"), events_of(left, f"{DATA}/events")
    except msgspec.DecodeError as error:
        raise Violation(f"a node has opened a log that holds a frame of no events: {error}") from error
    if events != durable:
        raise Violation(f"a node answers for {len(events)} events that it found, and {len(durable)} are durable")
    found, kept = bodies_of(seen, f"{DATA}/bodies"), bodies_of(left, f"{DATA}/bodies")
    if lost := sorted(body.hex() for body in found.keys() - kept.keys()):
        raise Violation(f"a node answers for the bodies that it found, and {lost[0]} is not durable")
