"""Draw with rich. Import this module only when there is something to draw: it costs more than the rest together.

Users' text comes here made safe already, and goes into `Text` objects: nothing is read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from engram.cli._text import printable, short_cid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDE = 120
"""Columns of a terminal from which a whole CID leaves room for metadata beside it."""


class Column(msgspec.Struct, frozen=True):
    """How one column of a table looks."""

    heading: str
    style: str = ""
    right: bool = False


class Memory(msgspec.Struct, frozen=True):
    """One memory to draw: its number (a score, a place in a list), its text if it is shown, its CID, its metadata."""

    number: str
    text: str | None
    cid: str
    metadata: str


def draw(drawing: RenderableType, *, width: int | None = None) -> str:
    """Give a drawing as the text to print on standard output, coloured where that is a terminal."""
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(drawing)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    """Draw rows of plain strings under headings."""
    drawing = _table()
    for column in columns:
        drawing.add_column(Text(column.heading), style=column.style, no_wrap=True)
        drawing.columns[-1].justify = "right" if column.right else "left"
    for row in rows:
        drawing.add_row(*(Text(cell) for cell in row))
    return drawing


def memories(heading: str, rows: Sequence[Memory], *, width: int | None = None) -> Group:
    """Draw memories, two lines each: the number under `heading` and the text, then the CID and the metadata.

    Each line is cut where the terminal ends.
    """
    whole = Console(width=width).width >= _WIDE
    numbers = max(len(heading), *(len(row.number) for row in rows))
    drawing = _table()
    drawing.add_column(Text(heading), style="bold", justify="right", no_wrap=True, min_width=numbers)
    drawing.add_column(Text("memory"), no_wrap=True, overflow="ellipsis")
    for row in rows:
        cid = printable(row.cid) if whole else short_cid(row.cid)
        about = Text.assemble((cid, "dim"), "  ", (row.metadata, "cyan"))
        lines = about if row.text is None else Text(row.text).append("\n").append_text(about)
        drawing.add_row(Text(row.number), lines)
    return Group(drawing, Text("cut to fit; --json, or a pipe, gives texts and CIDs whole", style="dim"))


def sheet(rows: Iterable[tuple[str, str]]) -> Table:
    """Draw names and values, a pair a line."""
    drawing = Table(box=None, show_header=False, pad_edge=False)
    drawing.add_column(style="dim", no_wrap=True)
    drawing.add_column(overflow="fold")
    for name, value in rows:
        drawing.add_row(Text(name), Text(value))
    return drawing


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
