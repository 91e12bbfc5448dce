"""`engram export`: the memories of a namespace as JSON lines, which `engram import` makes memories again."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Self, TextIO

from cyclopts import Parameter

from engram.cli._json import numbers, write
from engram.cli._options import DEFAULT_WHERE, Command, Filter, Namespace, Where, filter_of, namespace_of
from engram.cli._shell import INTERRUPTED, OK, complain, note, say
from engram.cli._tally import progress
from engram.cli._target import UsageError
from engram.cli._text import plural, printable, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engram.cli._target import Target
    from engram.wire import KeyInfo, Record

_PART = ".part"


class Export(Command):
    """The command `export`."""

    def export(
        self,
        file: Annotated[
            Path | None, Parameter(help="File to write; standard output if left out.", show_default=False)
        ] = None,
        /,
        *,
        stdout: Annotated[
            bool,
            Parameter(name=["--stdout", "-"], help="Write to standard output.", negative="", show_default=False),
        ] = False,
        filter: Filter = None,  # noqa: A002 - the option's name
        vectors: Annotated[
            bool,
            Parameter(
                help="Take every vector along: for a node that does not run the namespace's model.",
                negative="",
                show_default=False,
            ),
        ] = False,
        namespace: Namespace = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Write a namespace's memories as JSON lines, oldest first.

        A line has the text, the metadata, the key where one names the memory (a line more for each further key), the
        vector where it is asked for or where there is no text, and the model where it is not Engram's own. `engram
        import` gives the same memories the same CIDs, in any node. The chunks of long texts are made again from the
        text. The file is there once it is whole; one that was there is replaced. What keys named before, and what was
        deleted, is not in it.
        """
        if stdout and file is not None:
            raise UsageError("give one of: a FILE to write, or - for standard output")
        chosen, space = filter_of(filter), namespace_of(namespace)
        started, lines = time.perf_counter(), 0
        with self.open(where) as target, _Keys(target.keys.list(namespace=space)) as keys:
            found = target.records(chosen, space, include_vector=vectors)
            try:
                with (
                    _writing(file) as out,
                    progress("exporting", lambda: _count(target, space, chosen), beside_lines=file is None) as advance,
                ):
                    for at, record in enumerate(found, 1):
                        for line in _lines(record, keys.of(record.cid), vectors=vectors):
                            out.write(f"{write(line, indent=None)}\n")
                            lines += 1
                        advance(at)
            except KeyboardInterrupt:
                complain(f"interrupted after {plural(lines, 'line')}{'; no file was written' * (file is not None)}")
                return INTERRUPTED
        seconds = max(time.perf_counter() - started, 1e-9)
        _report(file, lines, seconds, as_json=where.json)
        return OK


def _lines(record: Record, keys: list[str], *, vectors: bool) -> Iterator[dict[str, Any]]:
    """Give the lines that make a record again: one, and one for each further key."""
    from engram.record import CANONICAL_MODEL, OURS

    line: dict[str, Any] = {} if record.text is None else {"text": record.text}
    if metadata := {name: value for name, value in record.metadata.items() if not name.startswith(OURS)}:
        line["metadata"] = metadata
    if record.model_version != CANONICAL_MODEL:
        line["model_version"] = record.model_version
    # With a vector beside it, another model's text is kept as one record: a long one would lose its chunks.
    whole = record.chunks and record.model_version != CANONICAL_MODEL
    if record.vector is not None and (record.text is None or (vectors and not whole)):
        line["vector"] = numbers(record.vector)
    for key in keys:
        yield line | {"key": key}
    if not keys:
        yield line


class _Keys:
    """The keys of a namespace by the CIDs that they name, of which there may be more than memory holds.

    They stand in a database that SQLite keeps in memory while it is small, and in a file of its own that nobody sees.
    """

    def __init__(self, keys: Iterable[KeyInfo]) -> None:
        import sqlite3

        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.execute("CREATE TABLE named (cid TEXT, key TEXT, PRIMARY KEY (cid, key)) WITHOUT ROWID")
        self._rows.executemany("INSERT OR REPLACE INTO named VALUES (?, ?)", ((info.cid, info.key) for info in keys))
        self._any = bool(self._rows.execute("SELECT 1 FROM named LIMIT 1").fetchone())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def of(self, cid: str) -> list[str]:
        """Give the keys that name a memory, in order."""
        if not self._any:
            return []
        return [key for (key,) in self._rows.execute("SELECT key FROM named WHERE cid = ? ORDER BY key", (cid,))]


@contextmanager
def _writing(file: Path | None) -> Iterator[TextIO]:
    """Give what writes the lines: a file beside `file`, which takes its place once it is whole and on the disk."""
    if file is None:
        yield sys.stdout
        return
    place = file.resolve()
    if place.is_dir():
        raise UsageError(f"{file} is a folder; name a file")
    if place.exists() and not place.is_file():  # a pipe, a device: there is nothing to take the place of
        with place.open("w", encoding="utf-8") as out:
            yield out
        return
    part = place.with_name(place.name + _PART)
    try:
        with part.open("w", encoding="utf-8") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(place)
        _sync_folder(place.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _count(target: Target, namespace: str | None, chosen: object) -> int | None:
    if chosen is not None:
        return None
    name = "public" if namespace is None else namespace
    return next((info.records - info.chunks for info in target.namespaces.list() if info.name == name), None)


def _report(file: Path | None, lines: int, seconds: float, *, as_json: bool) -> None:
    """Say what was written, on standard error where the lines are on the other."""
    show = note if file is None else say
    if as_json:
        summary = {"file": None if file is None else str(file), "lines": lines, "seconds": round(seconds, 3)}
        show(write({"summary": summary}, indent=None))
        return
    where = "" if file is None else f" in {printable(str(file))}, {size(file.stat().st_size)}"
    show(f"{plural(lines, 'line')}{where}, {lines / seconds:,.0f}/s")
