"""How the actors are, as the wire says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.wire import ActorInfo, ActorsResult, DeadLetterInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram.runtime import ActorReport, DeadLetter, Feed, Supervisor

_LETTERS = 100


def actors_now(supervisor: Supervisor, feeds: Mapping[str, Feed], position: int) -> ActorsResult:
    """Give every actor's report, with how far in the log it is, and the latest dead letters."""
    return ActorsResult(
        actors=[_info(report, feeds.get(report.name)) for report in supervisor.report()],
        dead_letters=[_letter(letter) for letter in supervisor.dead_letters[-_LETTERS:]],
        position=position,
    )


def _info(report: ActorReport, feed: Feed | None) -> ActorInfo:
    info = ActorInfo(**msgspec.structs.asdict(report))
    return info if feed is None else msgspec.structs.replace(info, applied=feed.applied, reacted=feed.reacted)


def _letter(letter: DeadLetter) -> DeadLetterInfo:
    return DeadLetterInfo(actor=letter.actor, message=letter.message, error=letter.error, time_unix_ns=letter.at_ns)
