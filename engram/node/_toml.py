"""A TOML file: its values, and the line on which each of them stands, which `tomllib` does not say.

`tomllib` itself finds the lines: the text is cut into statements, each the fewest lines that it takes for a whole one.
So quoted keys, dotted keys, inline tables and strings of many lines are read as it reads them.
"""

from __future__ import annotations

import functools
import re
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec

from engram.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BYTES = 256 * 1024
_STATEMENT_LINES = 300
"""Lines of one statement at most, of which anybody wants to know the first: each more is read with all before it."""
_UNFINISHED = "(at end of document)"
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


class TomlFile(msgspec.Struct, frozen=True):
    """What a file holds; `title` says of a key where it stands."""

    path: Path
    text: str
    values: dict[str, Any]

    def title(self, key: str) -> str:
        """Give what errors call a dotted key: `node.toml, line 12: port`; of a missing one, the line of its table."""
        lines = _lines_of(self.text)
        place = key
        while place:
            for found, line in lines:
                if found == place or found.startswith(f"{place}."):
                    return f"{self.path}, line {line}: {key}"
            place = place.rpartition(".")[0]
        return f"{self.path}: {key}"


def read_toml(path: Path) -> TomlFile:
    """Read a file. Raises `BadRequest` (field `config`) with the line that is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES + 1)
    except FileNotFoundError:
        raise BadRequest(f"{path} is not there; `engram-node init {path}` writes one", field="config") from None
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}", field="config") from None
    if len(data) > _BYTES:
        raise BadRequest(f"{path} is over the limit of {_BYTES} bytes; is it a node.toml?", field="config")
    try:
        text = data.decode().replace("\r\n", "\n")
        return TomlFile(path, text, tomllib.loads(text))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadRequest(f"{path}, line {line}: not UTF-8 at byte {error.start}", field="config") from None
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(f"{path}, {_explained(text, str(error))}", field="config") from None
    except RecursionError:
        raise BadRequest(f"{path} is nested too deep", field="config") from None


def _explained(text: str, error: str) -> str:
    """Say what is wrong, and in which line: what stands twice with both its lines."""
    first: dict[str, int] = {}
    for key, line in _lines_of(text):
        if (before := first.setdefault(key, line)) != line:
            return f"line {line}: {key} is here again, after line {before}; keep one of them"
    if place := _PLACE.search(error):
        return f"line {place[1]}: not TOML: {error[: place.start()]}, at column {place[2]}"
    *_, (line, _, _) = _statements(text)
    return f"line {line}: not TOML: {error.removesuffix(_UNFINISHED).strip()}, and so to the end of the file"


@functools.lru_cache(maxsize=1)  # it is asked key by key
def _lines_of(text: str) -> list[tuple[str, int]]:
    """Give each dotted key with the line on which its statement begins, in order; a table's header is one of them.

    A key that is in many tables of one array is given once.
    """
    found: list[tuple[str, int]] = []
    header = ""
    for line, statement, values in _statements(text):
        if statement.lstrip().startswith("["):
            header = statement
        inside = tomllib.loads(header + statement) if values and statement is not header else values
        known = {key for key, _ in found} if header.lstrip().startswith("[[") else ()
        found += [(key, line) for key in _leaves(inside) if key not in known]
    return found


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Give (first line, text, values) of each statement, up to the first that is none, which has no values."""
    begin, statement = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        try:
            values = tomllib.loads(statement)
        except tomllib.TOMLDecodeError as error:
            if _UNFINISHED in str(error) and number - begin < _STATEMENT_LINES:
                continue
            break
        yield begin, statement, values
        begin, statement = number + 1, ""
    if statement:
        yield begin, statement, {}


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif path:
        yield path
