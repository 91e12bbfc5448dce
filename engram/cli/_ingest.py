"""`engram ingest`: one text, a text from standard input, or a whole JSONL file with a progress bar."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engram.cli._json import read_object, write
from engram.cli._options import DEFAULT_WHERE, Command, Expect, Namespace, Where, expect_of, namespace_of
from engram.cli._shell import FAILED, OK, complain, note, say, utf8
from engram.cli._tally import Done, Tally, progress
from engram.cli._target import UsageError
from engram.cli._text import plural, printable
from engram.errors import EngramError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from engram.cli._target import Target
    from engram.sdk import Kept
    from engram.wire import OnLong

STDIN = Path("/dev/stdin")


class Ingest(Command):
    """The command `ingest`."""

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
        key: Annotated[
            str | None, Parameter(help="A key that names this memory from now on, in place of what it named.")
        ] = None,
        expect: Expect = None,
        on_long: Annotated[
            Literal["chunk", "reject"] | None,
            Parameter(help="A text too long for one record: keep it whole and find it by its parts, or refuse it."),
        ] = None,
        receipt: Annotated[
            Path | None,
            Parameter(help="Write the node's signed receipt of this text to a file, which `engram verify` checks."),
        ] = None,
        namespace: Namespace = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Keep a text, or a file of them.

        Prints the text's CID: the name that its content gives it. Keeping the same again changes nothing and prints
        the same CID. A text of more than 254 word pieces is kept whole, and found by the chunks that it is cut into.

        --key gives it a name that stands, with --expect, for nothing else meanwhile: see `engram key set --help`.

        A line of a JSONL file is an object such as {"text": "…", "metadata": {"source": "notes"}}, and may have "key",
        "expect", "vector" and "model_version". A line that cannot
        be kept is reported by its number, the others are kept, and the exit code is 1. With --json, each line gives a
        line of JSON as it is done, and the last is the summary.
        """
        if [text is not None, stdin, file is not None].count(True) != 1:
            raise UsageError("give one of: a TEXT, - for a text from standard input, or --file for many")
        name = namespace_of(namespace)
        if file is not None:
            if (meta, key, expect, receipt) != (None, None, None, None):
                raise UsageError("--meta, --key, --expect and --receipt go with one text")
            return self._file(file, name, on_long, where)
        if expect is not None and key is None:
            raise UsageError("--expect says what the key named until now: give --key too")
        key = None if key is None else utf8(key, "--key")
        body = utf8(text, "TEXT") if text is not None else _standard_input()
        metadata = None if meta is None else read_object(utf8(meta, "--meta"), "--meta")
        with self.open(where, create=True) as target:
            kept = target.put(body, metadata=metadata, key=key, **expect_of(expect), namespace=name, on_long=on_long)
            node_key = "" if receipt is None else target.status().node_key
        if where.json:
            say(write({"cid": kept.cid, "tokens": kept.tokens, "chunks": kept.chunks}, indent=None))
        else:
            say(kept.cid)
            if kept.chunks and sys.stderr.isatty():
                tokens = "" if kept.tokens is None else f", {plural(kept.tokens, 'token')}"
                note(f"({plural(kept.chunks, 'chunk')}{tokens})")
        return OK if receipt is None else _write_receipt(kept, receipt, node_key)

    def _file(self, file: Path, namespace: str | None, on_long: OnLong | None, where: Where) -> int:
        path = a_file(file, "--file")
        with self.open(where, create=True) as target:
            return keep_lines(
                target, path, namespace, on_long, doing="ingesting", as_json=where.json, total=lambda: count_lines(path)
            )


def _write_receipt(kept: Kept, file: Path, node_key: str) -> int:
    if kept.receipt is None:
        complain("no receipt: it was here before, and the node remembers those of its latest writes alone")
        return FAILED
    from engram.proofs import write as document

    file.write_bytes(document(kept.receipt) + b"\n")
    note(
        f"receipt of the node {printable(node_key)}: engram verify {printable(str(file))} --node {printable(node_key)}"
    )
    return OK


def a_file(file: Path, name: str) -> Path:
    """Give the file to read, `-` being standard input, or refuse one that is not there."""
    if str(file) == "-":
        return STDIN
    if not file.exists() or file.is_dir():
        raise UsageError(f"{name}: {file} is {'a folder' if file.is_dir() else 'not there'}")
    return file


def keep_lines(
    target: Target,
    lines: Path | BinaryIO,
    namespace: str | None,
    on_long: OnLong | None,
    *,
    doing: str,
    as_json: bool,
    total: Callable[[], int | None],
) -> int:
    """Keep every line of a file, report, and give the exit code."""
    found = target.iter_ingest_file(
        lines, namespace=namespace, model_version=_model_of(target, namespace), on_long=on_long
    )
    bar = progress(doing, total, beside_lines=as_json)
    return Tally("line", as_json=as_json).run(itertools.starmap(_done, found), bar)


def _model_of(target: Target, namespace: str | None) -> str | None:
    """Give the model that the lines must be of, where they say it; of a namespace that is missing, the node says so."""
    if namespace is None:
        return None
    return next((info.model_version for info in target.namespaces.list() if info.name == namespace), None)


def _done(line: int, outcome: Kept | EngramError) -> Done:
    facts: dict[str, Any] = {"line": line}
    if isinstance(outcome, EngramError):
        return Done(line, f"line {line}", error=outcome, facts=facts)
    facts |= {"cid": outcome.cid, "new": outcome.created, "tokens": outcome.tokens, "chunks": outcome.chunks}
    return Done(line, f"line {line}", outcome.created, facts=facts)


def count_lines(path: Path) -> int | None:
    """Count the lines of a file; None for what can be read only once."""
    if path == STDIN or not path.is_file():  # a pipe: what is counted is gone
        return None
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
