"""`engram-node replay`: the log of a data folder, event by event, proved as it is read."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._log_progress import log_progress, refuse_strange
from engram.cli._shell import FAILED, OK, complain
from engram.cli._target import UsageError

if TYPE_CHECKING:
    from engram.cli._event_lines import Lines
    from engram.events import Replay, Verdict

POLL_S = 0.2
_TORN = 1  # the highest status of a verdict that is no damage
_LOOKS = 3
"""How often what looks like damage at the end is looked at: it may be a frame in the moment of being written."""


def replay(
    data: Annotated[Path, Parameter(name="DIR", help="Data folder; a node may have it open.")],
    /,
    *,
    until: Annotated[int | None, Parameter(help="Stop before this position.")] = None,
    events: Annotated[
        list[str] | None,
        Parameter(
            name="--events",
            help="Only events of these types, such as record_stored or record_stored.1.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    follow: Annotated[
        bool, Parameter(help="Go on as events come; Ctrl-C stops.", negative="", show_default=False)
    ] = False,
    json: Annotated[
        bool, Parameter(name="--json", help="Print one JSON object a line.", negative="", show_default=False)
    ] = False,
) -> int:
    """Show every event of a data folder's log, and prove the log on the way.

    Each frame's checksum, position and Merkle root are checked from the first event on, and the signed checkpoint at
    the end. Nothing is changed, and no lock is taken: the folder may be read-only, and a node may be writing to it. An
    event is a line of position, time in UTC, type and fields; the last line says how many were proved, the log's root,
    and where the log is torn or damaged. The exit code is 1 if it is damaged: what was shown before is trustworthy.
    """
    from engram.cli._event_lines import Lines
    from engram.events import Replay
    from engram.runtime import RealDisk

    if until is not None and until < 0:
        raise UsageError(f"--until {until} will not do: positions start at 0")
    refuse_strange(data)
    terminal = sys.stdout.isatty()
    lines = Lines(events or [], as_json=json, terminal=terminal, colour=terminal and "NO_COLOR" not in os.environ)
    log = Replay(RealDisk(), data.absolute())
    _show(log, lines, data, until, follow=follow)
    verdict = _judge(log)
    lines.end(log.size, log.root, verdict)
    if verdict.status <= _TORN:
        return OK
    complain(f"{data / 'events' / verdict.segment}, offset {verdict.offset}: {verdict.reason}")
    return FAILED


def _show(log: Replay, lines: Lines, data: Path, until: int | None, *, follow: bool) -> None:
    """Print what is wanted of the log, to its end, to `until`, or for ever."""
    stuck = 0
    with log_progress(data, beside_lines=True) as advance:
        while until is None or log.size < until:
            entries = log.read()
            lines.show(entry for entry in entries if until is None or entry[0] < until)
            advance(log.bytes_read)
            if entries:
                continue
            stuck = stuck + 1 if log.unfinished else 0
            if not follow or (stuck == _LOOKS and log.verdict().status > _TORN):
                return
            sys.stdout.flush()
            time.sleep(POLL_S)


def _judge(log: Replay) -> Verdict:
    """Judge the log's end, more than once where it looks damaged: a node may be writing there this moment."""
    for _ in range(_LOOKS - 1):
        if (verdict := log.verdict()).status <= _TORN:
            return verdict
        time.sleep(POLL_S)
    return log.verdict()
