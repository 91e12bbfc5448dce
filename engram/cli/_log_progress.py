"""Commands that read the log of a data folder themselves: what they refuse, and the bar that shows how far they are."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engram.cli._target import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.progress import Progress, TaskID

_PATIENCE_S = 1.0


def refuse_strange(data: Path) -> None:
    """Refuse what is no data folder."""
    if not (data / "FORMAT").exists() or not (data / "events").is_dir():
        what = "it has no FORMAT file" if data.is_dir() else "there is no such folder"
        raise Unreachable(f"no memory in {data}: {what}; give the data folder of a node (data_dir, --data)")


@contextmanager
def log_progress(data: Path, *, beside_lines: bool = False) -> Iterator[Callable[[int], None]]:
    """Give what moves a bar to a number of bytes proved. It comes on standard error, after a second.

    `beside_lines`: lines are printed too, and where those go to the terminal there is no bar.
    """
    total = sum(path.stat().st_size for path in (data / "events").glob("*.log"))
    wanted = sys.stderr.isatty() and not (beside_lines and sys.stdout.isatty())
    begin = time.monotonic() + _PATIENCE_S if wanted else math.inf
    bar: tuple[Progress, TaskID] | None = None

    def advance(done: int) -> None:
        nonlocal bar
        if bar is None and time.monotonic() > begin:
            from engram.cli._progress import byte_progress

            progress = byte_progress()
            progress.start()
            bar = (progress, progress.add_task("proving the log", total=total))
        if bar is not None:
            bar[0].update(bar[1], completed=done)

    try:
        yield advance
    finally:
        if bar is not None:
            bar[0].stop()
