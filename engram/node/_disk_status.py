"""What `status` says of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.wire import Damage, ScrubStatus

if TYPE_CHECKING:
    from engram.store import Place

_DAMAGES = 100


def scrub_status(place: Place | None) -> ScrubStatus:
    """Say what the scrub has found; None: it is off."""
    if place is None:
        return ScrubStatus(state="off")
    return ScrubStatus(
        state=place.part or "waiting",
        checked_bytes=place.size_bytes if place.part else 0,
        last_pass_unix_ms=place.last.finished_unix_ns // 1_000_000 if place.last else 0,
        last_pass_bytes=place.last.size_bytes if place.last else 0,
        damages=len(place.findings),
        damage=[
            Damage(
                file=finding.file,
                offset=finding.offset,
                reason=finding.reason,
                found_unix_ms=finding.found_unix_ns // 1_000_000,
            )
            for finding in place.findings[:_DAMAGES]
        ],
    )
