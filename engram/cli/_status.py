"""`engram status`: what the node, or the folder, is and holds; once, or again and again."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter

from engram.cli._json import fields, write, write_line
from engram.cli._options import DEFAULT_WHERE, Command, Where
from engram.cli._shell import OK, error_fields, explain, say, terminal
from engram.cli._target import UsageError
from engram.cli._text import printable, utc
from engram.errors import EngramError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engram.cli._target import Target
    from engram.wire import StatusResult

_SECONDS = 2.0
_SHORTEST_S, _LONGEST_S = 0.1, 3600.0


class Status(Command):
    """The command `status`."""

    def status(
        self,
        *,
        watch: Annotated[
            list[float] | None,
            Parameter(
                name=["--watch", "-w"],
                help="Look again every so many seconds, 2 if left out, until Ctrl-C.",
                consume_multiple=True,
                negative="",
            ),
        ] = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Show what the node, or the folder, is and holds.

        --watch shows it again and again, with the memories and events that come in a second. In a pipe, each look is a
        line of time, records, events, records a second and writes that wait, with tabs between; with --json, a line of
        JSON. A node that does not answer is said so, and asked again.
        """
        seconds = None if watch is None else _seconds(watch)
        if seconds is not None and where.data is not None:
            raise UsageError("--watch looks at a node; nobody else can change a folder that is open here")
        with self.open(where) as target:
            if seconds is not None:
                return _watch(target, seconds, as_json=where.json)
            status = target.status()
        say(write(fields(status)) if where.json else _sheet(status))
        return OK


class _Look(NamedTuple):
    """A status, when it was, and what has come each second since the look before and since the first."""

    status: StatusResult
    at_s: float
    records_s: float = 0.0
    events_s: float = 0.0
    records_s_all: float = 0.0


def _seconds(given: list[float]) -> float:
    if len(given) > 1:
        raise UsageError("--watch takes one number of seconds")
    seconds = given[0] if given else _SECONDS
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise UsageError(f"--watch {seconds:g} will not do. Allowed: {_SHORTEST_S:g} to {_LONGEST_S:g} seconds")
    return seconds


def _watch(target: Target, seconds: float, *, as_json: bool) -> int:
    """Look until Ctrl-C. The first look must succeed."""
    try:
        first = last = _Look(target.status(), time.monotonic())
        with _show(as_json=as_json) as show:
            show(first, None)
            while True:
                time.sleep(seconds)
                try:
                    last = _next(first, last, target.status())
                except EngramError as error:
                    show(last, error)
                else:
                    show(last, None)
    except KeyboardInterrupt:
        return OK


def _next(first: _Look, before: _Look, status: StatusResult) -> _Look:
    now = time.monotonic()

    def rate(earlier: _Look, name: str) -> float:
        gained: int = getattr(status, name) - getattr(earlier.status, name)
        return max(0.0, gained / max(now - earlier.at_s, 1e-9))

    return _Look(status, now, rate(before, "records"), rate(before, "position"), records_s_all=rate(first, "records"))


@contextmanager
def _show(*, as_json: bool) -> Iterator[Callable[[_Look, EngramError | None], None]]:
    """Give what shows a look, or that there was none: on a terminal in one place, elsewhere as a line."""
    if as_json or not terminal():
        yield _json_line if as_json else _line
        return
    from rich.console import Console
    from rich.live import Live

    from engram.cli._screen import sheet

    with Live(console=Console(highlight=False), auto_refresh=False) as live:

        def draw(look: _Look, error: EngramError | None) -> None:
            live.update(sheet([*_rows(look.status), *_watched(look, error)]), refresh=True)

        yield draw


def _watched(look: _Look, error: EngramError | None) -> list[tuple[str, str]]:
    if error is not None:
        return [("no answer", printable(explain(error)))]
    rates = f"{look.records_s:,.1f} records/s ({look.records_s_all:,.1f} since the watch began)"
    return [("now", f"{rates}, {look.events_s:,.1f} events/s")]


def _rows(status: StatusResult) -> list[tuple[str, str]]:
    from engram.cli._results import status_rows

    return status_rows(status)


def _sheet(status: StatusResult) -> str:
    from engram.cli._results import rows_lines, rows_sheet

    return rows_sheet(_rows(status)) if terminal() else rows_lines(_rows(status))


def _line(look: _Look, error: EngramError | None) -> None:
    status = look.status
    cells = [utc(time.time_ns(), "seconds")]
    if error is None:
        cells += [str(status.records), str(status.position), f"{look.records_s:.1f}", str(status.queue_length)]
    else:
        cells += ["no answer", printable(explain(error))]
    say("\t".join(cells))
    sys.stdout.flush()


def _json_line(look: _Look, error: EngramError | None) -> None:
    facts: dict[str, object] = {"time": utc(time.time_ns(), "milliseconds")}
    if error is None:
        facts |= {"records_s": round(look.records_s, 3), "events_s": round(look.events_s, 3)} | fields(look.status)
    else:
        facts |= {"error": error_fields(error)}
    say(write_line(facts))
    sys.stdout.flush()
