"""Read files of JSON lines: every line is a memory or an error with its number, and no line ends the file."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from engram.errors import BadRequest, EngramError, Forbidden, NotFound, TooLarge, Unavailable, Unprocessable
from engram.limits import LIMITS
from engram.record import CANONICAL_MODEL
from engram.sdk._items import Slot, item_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram.wire import Item

_BOM = b"\xef\xbb\xbf"
_LINE_BYTES = LIMITS.message_bytes
_PIECE_BYTES = 64 * 1024


def open_lines(path: str | os.PathLike[str] | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """Open a file of JSON lines; one that is open already stays so.

    Raise `NotFound`, `Forbidden`, `BadRequest` or `Unavailable`, naming the path.
    """
    if not isinstance(path, str | os.PathLike):
        return nullcontext(path)
    try:
        return open(path, "rb")  # noqa: PTH123 - `path` is a text as often as a Path
    except FileNotFoundError:
        raise NotFound(f"no file {str(path)!r}", field="path") from None
    except PermissionError:
        raise Forbidden(f"{str(path)!r} may not be read by this user", field="path") from None
    except IsADirectoryError:
        raise BadRequest(f"{str(path)!r} is a folder; give a file of JSON lines", field="path") from None
    except OSError as error:
        raise Unavailable(f"{str(path)!r} cannot be read: {error.strerror}", field="path") from None


def read_slots(file: BinaryIO, model_version: str | None = None) -> Iterator[tuple[int, Slot]]:
    """Give (line number, item or error) of each line that is not blank, the first being 1.

    `model_version`: what a line must say, where it says any; None is the canonical model's.
    """
    number = 0
    while line := file.readline(_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        try:
            if len(line) > _LINE_BYTES:
                _refuse_long(file, line)
            if line.strip():
                yield number, _item(_parse(line), model_version or CANONICAL_MODEL)
        except EngramError as error:
            yield number, error


def at_line(number: int, error: EngramError) -> EngramError:
    """Give the same error with the line's number before its text."""
    return type(error)(
        f"line {number}: {error.message}",
        field=error.field,
        retry_after_s=error.retry_after_s,
        current=error.current,
    )


def _item(fields: dict[str, Any], model_version: str) -> Item:
    said = fields.pop("model_version", model_version)
    if said != model_version:
        raise Unprocessable(
            f"model_version: {said!r:.80}, and the call is for {model_version!r:.80}",
            field="model_version",
        )
    return item_of(fields)


def _refuse_long(file: BinaryIO, piece: bytes) -> NoReturn:
    size = len(piece)
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(_PIECE_BYTES)
        size += len(piece)
    raise TooLarge(f"the line has {size} bytes, and the limit is {_LINE_BYTES}")


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadRequest(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}") from None
    except (RecursionError, ValueError):  # thousands of brackets, thousands of digits
        raise BadRequest("not JSON that can be kept: nested too deep, or a number too long") from None
    if isinstance(value, dict):
        return value
    raise BadRequest(f'expected an object such as {{"text": "…"}}, got {type(value).__name__}')


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRequest(f"the key {twice!r:.80} comes twice", field=twice[:80])
    return found


def _no_constant(name: str) -> NoReturn:
    raise Unprocessable(f"{name} is not a number that JSON has")
