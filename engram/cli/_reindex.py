"""`engram reindex`: a namespace's texts embedded again into a new one, and the map from old CIDs to new ones."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engram.cli._json import write
from engram.cli._options import DEFAULT_WHERE, Where
from engram.cli._shell import FAILED, INTERRUPTED, OK, complain, explain, say, utf8
from engram.cli._text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from engram.cli._target import Opener, Target
    from engram.errors import EngramError
    from engram.sdk import Reindexed

_ERRORS_SHOWN = 20


class Reindex:
    """The command `reindex`."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def reindex(
        self,
        namespace: Annotated[str, Parameter(help="The namespace whose texts are embedded again; public for that one.")],
        /,
        *,
        into: Annotated[str, Parameter(help="The namespace to make, or one that an interrupted run has made.")],
        model: Annotated[
            str | None, Parameter(help="A model of the node's configuration; the node's own if left out.")
        ] = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Embed a namespace's texts again into a new one, by another model.

        Prints a line for each memory: its old CID, a tab, its new CID. Metadata come along; the old namespace stays.
        A memory without a text cannot be embedded again, and is counted. Run the same again after an interruption:
        what is there already is found at once. With --json, each memory gives a line of JSON, and the last is the
        summary. The exit code is 1 if a text could not be embedded.
        """
        old, new = utf8(namespace, "NAMESPACE"), utf8(into, "--into")
        model = None if model is None else utf8(model, "--model")
        with self._opener(node=where.node, data=where.data, create=False) as target:
            return _Run(target, as_json=where.json).run(old, new, model)


class _Run:
    def __init__(self, target: Target, *, as_json: bool) -> None:
        self.target = target
        self.as_json = as_json
        self.done = 0
        self.new = 0
        self.known = 0
        self.without_text = 0
        self.failed = 0
        self.errors: list[tuple[str, EngramError]] = []

    def run(self, namespace: str, into: str, model: str | None) -> int:
        started = time.perf_counter()
        try:
            found = self.target.reindex(namespace, into=into, model=model)
            with _progress(self.target, namespace) as advance:
                for item in found:
                    self._take(item)
                    advance(self.done)
        except KeyboardInterrupt:
            self._stopped_early("interrupted")
            return INTERRUPTED
        except BaseException:
            if self.done:
                self._stopped_early("ended")
            raise
        self._report(time.perf_counter() - started)
        return FAILED if self.failed else OK

    def _take(self, item: Reindexed) -> None:
        self.done += 1
        if item.error is not None:
            self.failed += 1
            if len(self.errors) < _ERRORS_SHOWN:
                self.errors.append((item.old, item.error))
        elif item.new is None:
            self.without_text += 1
        else:
            self.new += item.created
            self.known += not item.created
        if self.as_json:
            say(write(_line(item), indent=None))
        elif item.new is not None:
            say(f"{item.old}\t{item.new}")

    def _report(self, seconds: float) -> None:
        if self.as_json:
            counts = {"new": self.new, "known": self.known, "without_text": self.without_text, "errors": self.failed}
            say(write({"summary": {"records": self.done, **counts, "seconds": round(seconds, 3)}}, indent=None))
            return
        for cid, error in self.errors:
            complain(f"{cid}: {explain(error)}")
        if self.failed > len(self.errors):
            complain(f"and {plural(self.failed - len(self.errors), 'more record')}; --json lists all")
        # On standard error: what is printed on the other is the map.
        print(
            f"{plural(self.done, 'record')}: {self.new:,} new, {self.known:,} there already, "
            f"{self.without_text:,} without a text, {plural(self.failed, 'error')}, "
            f"{self.done / max(seconds, 1e-9):,.0f}/s",
            file=sys.stderr,
        )

    def _stopped_early(self, how: str) -> None:
        complain(
            f"{how} after {plural(self.done, 'record')}\n  run the same again: what is there already is found at once"
        )


def _line(item: Reindexed) -> dict[str, Any]:
    if item.error is None:
        return {"old": item.old, "new": item.new}
    error = {"code": item.error.code, "message": item.error.message, "field": item.error.field}
    return {"old": item.old, "error": error}


def _progress(target: Target, namespace: str) -> AbstractContextManager[Callable[[int], None]]:
    shown = sys.stderr.isatty() and not sys.stdout.isatty()  # on a terminal the lines themselves show it
    return _bar(target, namespace) if shown else nullcontext(lambda _done: None)


@contextmanager
def _bar(target: Target, namespace: str) -> Iterator[Callable[[int], None]]:
    from engram.cli._progress import line_progress

    total = next((info.records - info.chunks for info in target.namespaces.list() if info.name == namespace), None)
    with line_progress() as progress:
        task = progress.add_task("embedding again", total=total)
        yield lambda done: progress.update(task, completed=done)
