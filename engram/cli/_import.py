"""`engram import`: memories out of JSON lines that `engram export` has written."""

from __future__ import annotations

import io
import json
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

from cyclopts import Parameter

from engram.cli._ingest import STDIN, a_file, count_lines, keep_lines
from engram.cli._options import DEFAULT_WHERE, Command, Namespace, Where, namespace_of
from engram.cli._shell import note
from engram.cli._target import UsageError
from engram.cli._text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram.cli._target import Target


class Import(Command):
    """The command `import`."""

    def import_(
        self,
        file: Annotated[Path | None, Parameter(help="File that `engram export` has written.")] = None,
        /,
        *,
        stdin: Annotated[
            bool, Parameter(name=["--stdin", "-"], help="Read standard input.", negative="", show_default=False)
        ] = False,
        namespace: Namespace = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Make memories of the lines that `engram export` has written.

        They get the CIDs that they had, and their keys. A namespace that is not there is made, for the model that the
        first line names. Done again, it changes nothing, but for keys that name something else by now: they name what
        they named then. A line that cannot be kept is reported by its number, the others are kept, and the exit code is
        1. With --json, each line gives a line of JSON as it is done, and the last is the summary.
        """
        if stdin == (file is not None):
            raise UsageError("give one of: a FILE to read, or - for standard input")
        name, path = namespace_of(namespace), STDIN if file is None else a_file(file, "FILE")
        with _lines(path) as (lines, first), self.open(where, create=True) as target:
            if name is not None and first is not None:
                _make_namespace(target, name, first, quiet=where.json)
            return keep_lines(
                target, lines, name, "chunk", doing="importing", as_json=where.json, total=lambda: count_lines(path)
            )


class _Again(io.RawIOBase):
    """A file whose first line is read once more; all that is asked of it is lines."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._first = first
        self._rest = rest

    def readline(self, size: int | None = -1, /) -> bytes:
        """Give the next line, or `size` bytes of it."""
        if not self._first:
            return self._rest.readline(-1 if size is None else size)
        end = len(self._first) if size is None or size < 0 else size
        line, self._first = self._first[:end], self._first[end:]
        return line


@contextmanager
def _lines(path: Path) -> Iterator[tuple[BinaryIO, dict[str, Any] | None]]:
    """Give the lines of a file, and what the first of them says, if it says anything."""
    from engram.limits import LIMITS

    if path == STDIN and sys.stdin is None:
        raise UsageError("standard input is closed, so there are no lines to read")
    with path.open("rb") if path != STDIN else _standard_input() as file:
        first = file.readline(LIMITS.message_bytes + 1)
        try:
            said = json.loads(first)
        except (ValueError, RecursionError):  # reported with its number when its turn comes
            said = None
        yield cast("BinaryIO", _Again(first, file)), said if isinstance(said, dict) else None


@contextmanager
def _standard_input() -> Iterator[BinaryIO]:
    yield sys.stdin.buffer


def _make_namespace(target: Target, name: str, first: dict[str, Any], *, quiet: bool) -> None:
    """Make the namespace that the lines are for, unless it is there."""
    from engram.record import CANONICAL_MODEL

    if any(info.name == name for info in target.namespaces.list()):
        return
    model, vector = first.get("model_version"), first.get("vector")
    if model == CANONICAL_MODEL or not isinstance(model, str):
        info = target.namespaces.create(name)
    else:
        info = target.namespaces.create(name, dim=len(vector) if isinstance(vector, list) else None, model=model)
    if not quiet:
        note(f"created {printable(name)}: {printable(info.model_version)}, dim {info.dim}")
