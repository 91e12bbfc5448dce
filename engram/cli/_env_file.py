"""What a starting node says of an ENV_FILE: the variables that change nothing here, and why."""

from __future__ import annotations

import os
import sys

from engram.cli._text import printable
from engram.node import env_file


def say_what_is_not_applied() -> None:
    """Name them on standard error, a line a reason. The file has been read once without an error."""
    names: dict[str, list[str]] = {}
    for each in env_file(os.environ).not_applied:
        names.setdefault(each.why, []).append(each.name)
    for why, given in names.items():
        line = f"{os.environ['ENV_FILE']}: {', '.join(given)}: not applied; {why}"
        print("note:", printable(line), file=sys.stderr)
