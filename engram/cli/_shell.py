"""The edge of both command lines: from arguments to an exit code, a user's mistake as a sentence, never a traceback."""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from cyclopts import CycloptsError
from cyclopts.exceptions import UnknownOptionError, UnusedCliTokensError

from engram.cli._json import NotJson, write
from engram.cli._target import Unreachable, UsageError
from engram.cli._text import printable
from engram.errors import EngramError, FolderInUse, FolderRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cyclopts import App

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
_LEAST_COLUMNS, _UNKNOWN = 20, 80
INTERRUPTED, BROKEN_PIPE = 130, 141
"""As a shell says it: 128 + the signal's number."""

EXIT_CODES = "Exit codes: 0 done, 1 a call failed, 2 wrong usage, 3 no node or no folder."
"""The line that ends every help text."""


def epilogue(examples: Iterable[str]) -> str:
    """Give what stands under a command's help: its examples, and the exit codes."""
    return "\n".join(["Examples:", *(f"  {line}" for line in examples), "", EXIT_CODES])


_ESCAPE = "engram.escape"
_OPTION = re.compile(r"--?[A-Za-z][A-Za-z-]*(=.*)?")


def run(app: App, arguments: Sequence[str]) -> int:
    """Run a command line and give its exit code; errors go to standard error, a reader that left is no error."""
    _set_up_streams()
    _widen()
    code = OK
    try:
        code = _call(app, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:  # standard output is a file on a full disk
        if code == OK:
            complain(error.strerror or str(error))
            code = FAILED
    _let_go()
    return code


def _let_go() -> None:
    """Have the interpreter, which flushes once more as it ends, do so into nothing where that fails."""
    for number, stream in enumerate((sys.stdout, sys.stderr), 1):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def complain(message: str) -> None:
    """Print an error on standard error, safe for a terminal."""
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    label = "\x1b[1;31merror:\x1b[0m" if colour else "error:"
    note(f"{label} {printable(message, multiline=True)}")


def note(text: str, end: str = "\n") -> None:
    """Print beside the answer, on standard error; where nobody can read that, it is nobody's loss."""
    with contextlib.suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def terminal() -> bool:
    """Say whether standard output is a terminal: a person reads there."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Print a line of the answer on standard output."""
    print(text)


def explain(error: EngramError, place: str = "") -> str:
    """Give an error of Engram as one sentence that names its field; the `place` that it may begin with is left out."""
    message = error.message.removeprefix(f"{place}: ") or error.code
    named = error.field is None or re.search(rf"(?<!\w){re.escape(error.field)}(?!\w)", message)
    return message if named else f"{error.field}: {message}"


def error_fields(error: EngramError, place: str = "") -> dict[str, Any]:
    """Give an error for a program; where its message begins with its `place`, that is left out."""
    message = error.message.removeprefix(f"{place}: ")
    current = {} if error.current is None else {"current": error.current}
    return {"code": error.code, "message": message, "field": error.field, **current}


def utf8(text: str, name: str) -> str:
    """Give back `text`, which came from the command line, or refuse bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        raise UsageError(
            f"{name} is not UTF-8: byte 0x{byte:02x} after {error.start} characters; "
            "is the terminal set to another encoding?"
        ) from None
    return text


def _set_up_streams() -> None:
    """Let nothing that is printed fail: where a stream is closed, or its encoding lacks a letter."""
    codecs.register_error(_ESCAPE, _escaped)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, as in `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)


def _widen() -> None:
    """Have nothing drawn in less room than a word needs: a help text of two columns never comes to its end."""
    said = os.environ.get("COLUMNS", "")
    try:
        columns = int(said) if said.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns or _UNKNOWN
    except (OSError, ValueError):  # no terminal, and nothing said: 80 columns are taken
        return
    if columns < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Write letters that an encoding lacks as JSON may have them, so that --json is JSON in every locale."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end


def _call(app: App, arguments: Sequence[str]) -> int:
    fail = _fail_in_json if _wants_json(arguments) else _fail
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        help_ = " ".join((*app.name, *(error.command_chain or ()), "--help"))
        return fail(USAGE, _refusal("usage", f"{_mistake(error, app)}\n  help: {help_}"))
    except (UsageError, NotJson) as error:
        return fail(USAGE, _refusal("usage", str(error)))
    except (Unreachable, FolderInUse, FolderRefused) as error:
        return fail(UNREACHABLE, _refusal("unreachable", str(error)))
    except EngramError as error:
        return fail(FAILED, error_fields(error) | {"message": explain(error)})
    except BrokenPipeError:
        raise
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        return fail(FAILED, _refusal("io", said))
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else OK


def _wants_json(arguments: Sequence[str]) -> bool:
    options = itertools.takewhile(lambda word: word != "--", arguments)
    return any(word == "--json" or word.startswith("--json=") for word in options)


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "field": None}


def _fail(exit_code: int, error: dict[str, Any]) -> int:
    complain(error["message"])
    return exit_code


def _fail_in_json(exit_code: int, error: dict[str, Any]) -> int:
    note(write({"error": error}, indent=None))
    return exit_code


def _mistake(error: CycloptsError, app: App) -> str:
    if isinstance(error, UnusedCliTokensError):
        spare = error.unused_tokens or [""]
        import difflib

        near = difflib.get_close_matches(spare[0], list(app), n=1)
        if near and not error.command_chain:
            return f"no command {spare[0]}; did you mean {near[0]}?"
        return f"too many arguments: {' '.join(spare)}\n  a text of several words goes in quotes"
    if isinstance(error, UnknownOptionError) and not _OPTION.fullmatch(error.token.keyword or error.token.value):
        return f"{error}\n  a text that begins with - goes behind --"
    return str(error)
