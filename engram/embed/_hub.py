"""Download a URL to a file: a program of its own, started by `_sources` and imported by nobody.

It is a process because a name that does not resolve blocks for longer than any timeout of a socket, and a process can
be ended. Only the standard library, so that it runs by path, in isolated mode, without loading Engram.
"""

from __future__ import annotations

import shutil
import sys
import urllib.request
from pathlib import Path

SOCKET_TIMEOUT_S = 30


def main(url: str, target: str) -> None:
    """Copy what stands at `url` to the file `target`."""
    with urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT_S) as answer, Path(target).open("wb") as file:  # noqa: S310
        shutil.copyfileobj(answer, file)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(str(error))
