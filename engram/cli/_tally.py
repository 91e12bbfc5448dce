"""A command that does many memories: counted, shown as it goes, and reported alike, however it ends."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from engram.cli._json import write_line
from engram.cli._shell import FAILED, INTERRUPTED, OK, complain, error_fields, explain, note, say
from engram.cli._text import plural
from engram.errors import EngramError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

_ERRORS_SHOWN = 20


class Done(NamedTuple):
    """What became of one memory. `created`: new, or known already; None: neither, it was passed over.

    `at`: how far it is from the start; `place`: what errors call it; `facts`: what --json says of it; `line`: what is
    printed of it without.
    """

    at: int
    place: str
    created: bool | None = None
    error: EngramError | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    line: str | None = None


class Tally:
    """Counts what becomes of many memories. `passed`: what is said of those that were passed over, if any may be."""

    def __init__(self, noun: str, *, as_json: bool, passed: str = "", is_map: bool = False) -> None:
        """`noun`: what is counted; `is_map`: standard output is for the lines alone, and has no summary."""
        self._noun = noun
        self._as_json = as_json
        self._passed_are = passed
        self._is_map = is_map
        self._done = self._new = self._known = self._passed = self._failed = 0
        self._at = 0
        self._errors: list[tuple[str, EngramError]] = []
        self._gone = False

    def run(self, outcomes: Iterable[Done], bar: AbstractContextManager[Callable[[int], object]]) -> int:
        """Take every outcome, say how it ended, and give the exit code; `bar` hears how far it is."""
        started = time.perf_counter()
        try:
            with bar as advance:
                for outcome in outcomes:
                    self._take(outcome)
                    advance(outcome.at)
        except KeyboardInterrupt:
            self._stopped_early("interrupted")
            return INTERRUPTED
        except EngramError:
            if self._done:
                self._stopped_early("ended")
            raise
        self._report(max(time.perf_counter() - started, 1e-9))
        return FAILED if self._failed else OK

    def _take(self, done: Done) -> None:
        self._done += 1
        self._at = done.at
        if done.error is not None:
            self._failed += 1
            self._gone |= isinstance(done.error, Unavailable)
            if len(self._errors) < _ERRORS_SHOWN:
                self._errors.append((done.place, done.error))
        elif done.created is None:
            self._passed += 1
        else:
            self._new += done.created
            self._known += not done.created
        if self._as_json:
            error = {} if done.error is None else {"error": error_fields(done.error, done.place)}
            say(write_line(done.facts | error))
        elif done.line is not None:
            say(done.line)

    def _report(self, seconds: float) -> None:
        if self._as_json:
            passed = {self._passed_are.replace(" a ", "_"): self._passed} if self._passed_are else {}
            counts = {"new": self._new, "known": self._known, **passed, "errors": self._failed}
            say(write_line({"summary": {f"{self._noun}s": self._done, **counts, "seconds": round(seconds, 3)}}))
            return
        for place, error in self._errors:
            complain(f"{place}: {explain(error, place)}")
        if self._failed > len(self._errors):
            complain(f"and {plural(self._failed - len(self._errors), f'more {self._noun}')}; --json lists all")
        passed_over = f"{self._passed:,} {self._passed_are}, " if self._passed_are else ""
        (note if self._is_map else say)(
            f"{plural(self._done, self._noun)}: {self._new:,} new, {self._known:,} known already, {passed_over}"
            f"{plural(self._failed, 'error')}, {self._done / seconds:,.0f}/s{'; the node is gone' * self._gone}"
        )

    def _stopped_early(self, how: str) -> None:
        kept = self._new + self._known
        complain(
            f"{how} after {self._noun} {self._at:,}: {kept:,} kept, {plural(self._failed, 'error')}\n"
            "  run the same again: what is kept already is found at once and appends nothing"
        )


@contextmanager
def progress(
    doing: str, total: Callable[[], int | None], *, beside_lines: bool = False
) -> Iterator[Callable[[int], object]]:
    """Draw a bar on standard error if that is a terminal, and give what moves it.

    `beside_lines`: lines are printed too, and where those go to the terminal they show it themselves.
    """
    if not sys.stderr.isatty() or (beside_lines and sys.stdout.isatty()):
        yield lambda _at: None
        return
    from engram.cli._progress import line_progress

    with line_progress() as bar:
        task = bar.add_task(doing, total=total())
        yield lambda at: bar.update(task, completed=at)
