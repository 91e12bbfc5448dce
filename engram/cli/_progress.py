"""Progress bars, on standard error, so that answers can be piped. Import this module only to draw one."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from engram.cli._text import size


def line_progress() -> Progress:
    """Give a progress bar that counts lines, on standard error."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def byte_progress() -> Progress:
    """Give a progress bar that counts bytes, on standard error."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        _ByteRate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


class _ByteRate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Show the rate, in the units of the sizes beside it."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{size(int(speed))}/s", style="progress.data.speed")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Show the rate since the start: lines come in batches, so that of the last moment says little."""
        said = f"{task.completed / task.elapsed:,.0f}/s" if task.completed and task.elapsed else ""
        return Text(said, style="progress.data.speed")
