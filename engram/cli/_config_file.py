"""Where the node's configuration comes from on the command line, and how `init` writes the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engram.cli._target import UsageError
from engram.errors import BadRequest
from engram.node import Config, default_toml, load_config

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = Path("node.toml")


def configure(path: Path | None, flags: Mapping[str, object]) -> tuple[Config, Path | None]:
    """Give the configuration and the file it came from: `path`, or `node.toml` in the working folder if it is there.

    The variables of the environment go over the file, and `flags` over both.
    """
    if path is None and FILE_NAME.is_file():
        path = FILE_NAME
    try:
        given = {name: value for name, value in flags.items() if value is not None}
        return load_config(path, given, os.environ), path
    except BadRequest as error:
        raise UsageError(error.message) from None


def write_default(path: Path, *, force: bool) -> None:
    """Write the commented defaults to `path`, over a file that is there only with `force`."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(default_toml())
    except FileExistsError:
        raise UsageError(f"{path} is there already; --force writes over it") from None
