"""How far an audit is: a bar a part on standard error, where that is a terminal, after a moment."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE_S = 0.5
_TITLES = {"log": "proving the log", "bodies": "proving the bodies", "events": "folding the events"}


class AuditProgress:
    """Draws what `tell` hears."""

    def __init__(self) -> None:
        self._begin = time.monotonic() + _PATIENCE_S if sys.stderr.isatty() else math.inf
        self._part = ""
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def tell(self, part: str, done: int, total: int) -> None:
        """Hear that of a part so much is done: bytes, or events."""
        if time.monotonic() < self._begin:
            return
        if part != self._part:
            self._stop()
            self._start(part, total)
        if self._bar is not None:
            self._bar[0].update(self._bar[1], completed=done)

    def _start(self, part: str, total: int) -> None:
        from engram.cli._progress import byte_progress, line_progress

        progress = line_progress() if part == "events" else byte_progress()
        progress.start()
        self._part = part
        self._bar = progress, progress.add_task(_TITLES[part], total=total)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
