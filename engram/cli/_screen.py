"""Draw with rich. Import this module only when there is something to draw: it costs more than the rest together.

Users' text comes here made safe already, and goes into `Text` objects: nothing is read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Column(msgspec.Struct, frozen=True):
    """How one column of a table looks. `ratio` shares out what the columns of fixed width leave."""

    heading: str
    style: str = ""
    ratio: int | None = None
    justify: Literal["left", "right"] = "left"
    wrap: bool = False


def draw(drawing: RenderableType, *, width: int | None = None) -> str:
    """Give a drawing as the text to print on standard output, coloured where that is a terminal."""
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(drawing)
    return capture.get().rstrip("\n")


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, caption: str | None = None) -> Table:
    """Draw rows of plain strings under headings, one line a row where a column does not wrap."""
    drawing = Table(
        box=box.SIMPLE_HEAD,
        expand=any(column.ratio for column in columns),
        header_style="bold",
        pad_edge=False,
        caption=None if caption is None else Text(caption),
        caption_style="dim",
        caption_justify="left",
    )
    for column in columns:
        drawing.add_column(
            Text(column.heading),
            style=column.style,
            ratio=column.ratio,
            justify=column.justify,
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
        )
    for row in rows:
        drawing.add_row(*(Text(cell) for cell in row))
    return drawing


def sheet(rows: Iterable[tuple[str, str]], *, title: str | None = None) -> Table:
    """Draw names and values, a pair a line."""
    drawing = Table(box=None, show_header=False, pad_edge=False, title_justify="left", title_style="bold")
    drawing.title = None if title is None else Text(title)
    drawing.add_column(style="dim", no_wrap=True)
    drawing.add_column(overflow="fold")
    for name, value in rows:
        drawing.add_row(Text(name), Text(value))
    return drawing


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
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")
