"""`engram ingest`: one text, a text from standard input, or a whole JSONL file with a progress bar."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engram.cli._json import read_object, write
from engram.cli._options import DEFAULT_WHERE, Namespace, Where
from engram.cli._shell import FAILED, INTERRUPTED, OK, complain, explain, say, utf8
from engram.cli._target import UsageError
from engram.cli._text import plural
from engram.errors import EngramError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from engram.cli._target import Opener, Target
    from engram.sdk import Kept
    from engram.wire import OnLong

_ERRORS_SHOWN = 20
_STDIN = Path("/dev/stdin")


class Ingest:
    """The command `ingest`."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def ingest(
        self,
        text: Annotated[str | None, Parameter(help="The text to keep.")] = None,
        /,
        *,
        stdin: Annotated[
            bool,
            Parameter(
                name=["--stdin", "-"], help="Read one text from standard input.", negative="", show_default=False
            ),
        ] = False,
        file: Annotated[
            Path | None,
            Parameter(
                name=["--file", "-f"],
                allow_leading_hyphen=True,
                help="Read many from a JSONL file, or from standard input with --file -.",
            ),
        ] = None,
        meta: Annotated[str | None, Parameter(help="Metadata of the text, a JSON object.")] = None,
        on_long: Annotated[
            Literal["chunk", "reject"] | None,
            Parameter(help="A text too long for one record: keep it whole and find it by its parts, or refuse it."),
        ] = None,
        namespace: Namespace = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Keep a text, or a file of them.

        Prints the text's CID: the name that its content gives it. Keeping the same again changes nothing and prints
        the same CID. A text of more than 254 word pieces is kept whole, and found by the chunks that it is cut into.

        A line of a JSONL file is an object such as {"text": "…", "metadata": {"source": "notes"}}. A line that cannot
        be kept is reported by its number, the others are kept, and the exit code is 1. With --json, each line gives a
        line of JSON as it is done, and the last is the summary.
        """
        if [text is not None, stdin, file is not None].count(True) != 1:
            raise UsageError("give one of: a TEXT, - for a text from standard input, or --file for many")
        name = None if namespace is None else utf8(namespace, "--namespace")
        if file is not None:
            return self._file(file, meta, name, on_long, where)
        body = utf8(text, "TEXT") if text is not None else _standard_input()
        metadata = None if meta is None else read_object(utf8(meta, "--meta"), "--meta")
        with self._opener(node=where.node, data=where.data, create=True) as target:
            kept = target.put(body, metadata=metadata, namespace=name, on_long=on_long)
        if where.json:
            say(write({"cid": kept.cid, "tokens": kept.tokens, "chunks": kept.chunks}, indent=None))
            return OK
        say(kept.cid)
        if kept.chunks and sys.stderr.isatty():
            tokens = "" if kept.tokens is None else f", {plural(kept.tokens, 'token')}"
            print(f"({plural(kept.chunks, 'chunk')}{tokens})", file=sys.stderr)
        return OK

    def _file(self, file: Path, meta: str | None, namespace: str | None, on_long: OnLong | None, where: Where) -> int:
        if meta is not None:
            raise UsageError('--meta goes with one text; in a file each line has its own "metadata"')
        path = _STDIN if str(file) == "-" else file
        if path is not _STDIN and not path.is_file():
            raise UsageError(f"--file: {path} is {'a folder' if path.is_dir() else 'not there'}")
        with self._opener(node=where.node, data=where.data, create=True) as target:
            return _Run(target, path, namespace, on_long, as_json=where.json).run()


class _Run:
    def __init__(
        self, target: Target, path: Path, namespace: str | None, on_long: OnLong | None, *, as_json: bool
    ) -> None:
        self.target = target
        self.path = path
        self.namespace = namespace
        self.on_long = on_long
        self.as_json = as_json
        self.lines = 0
        self.new = 0
        self.known = 0
        self.last_line = 0
        self.errors: list[tuple[int, EngramError]] = []
        self.failed = 0
        self.gone = False

    def run(self) -> int:
        started = time.perf_counter()
        try:
            with _progress(self.path) as advance:
                for line, outcome in self.target.iter_ingest_file(
                    self.path, namespace=self.namespace, on_long=self.on_long
                ):
                    self._take(line, outcome)
                    advance(line)
        except KeyboardInterrupt:
            return self._interrupted()
        elapsed = max(time.perf_counter() - started, 1e-9)
        self._report(elapsed)
        return FAILED if self.failed else OK

    def _take(self, line: int, outcome: Kept | EngramError) -> None:
        self.lines += 1
        self.last_line = line
        if not isinstance(outcome, EngramError):
            self.new += outcome.created
            self.known += not outcome.created
        else:
            self.failed += 1
            self.gone |= isinstance(outcome, Unavailable)
            if len(self.errors) < _ERRORS_SHOWN:
                self.errors.append((line, outcome))
        if self.as_json:
            say(write(_outcome(line, outcome), indent=None))

    def _report(self, elapsed: float) -> None:
        rate = self.lines / elapsed
        if self.as_json:
            summary = {"lines": self.lines, "new": self.new, "known": self.known, "errors": self.failed}
            say(write({"summary": summary | {"seconds": round(elapsed, 3)}}, indent=None))
            return
        for line, error in self.errors:
            complain(f"line {line}: {explain(error).removeprefix(f'line {line}: ')}")
        if self.failed > len(self.errors):
            complain(f"and {plural(self.failed - len(self.errors), 'more line')}; --json lists all")
        say(
            f"{plural(self.lines, 'line')}: {self.new:,} new, {self.known:,} known already, "
            f"{plural(self.failed, 'error')}, {rate:,.0f}/s{'; the node is gone' if self.gone else ''}"
        )

    def _interrupted(self) -> int:
        kept = self.new + self.known
        complain(
            f"interrupted after line {self.last_line:,}: {kept:,} kept, {plural(self.failed, 'error')}\n"
            "  run the same again: what is kept already is found at once and appends nothing"
        )
        return INTERRUPTED


def _outcome(line: int, outcome: Kept | EngramError) -> dict[str, Any]:
    if not isinstance(outcome, EngramError):
        counts = {"tokens": outcome.tokens, "chunks": outcome.chunks}
        return {"line": line, "cid": outcome.cid, "new": outcome.created, **counts}
    message = outcome.message.removeprefix(f"line {line}: ")
    return {"line": line, "error": {"code": outcome.code, "message": message, "field": outcome.field}}


def _progress(path: Path) -> AbstractContextManager[Callable[[int], None]]:
    return _bar(path) if sys.stderr.isatty() else nullcontext(lambda _line: None)


@contextmanager
def _bar(path: Path) -> Iterator[Callable[[int], None]]:
    from engram.cli._progress import line_progress

    total = None if path is _STDIN else _count_lines(path)
    with line_progress() as progress:
        task = progress.add_task("ingesting", total=total)
        yield lambda line: progress.update(task, completed=line)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        count, last = 0, b"\n"
        while block := file.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def _standard_input() -> str:
    if sys.stdin is None:
        raise UsageError("standard input is closed, so there is no text to read")
    data = sys.stdin.buffer.read()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8: byte 0x{data[error.start]:02x} at {error.start:,}") from None
