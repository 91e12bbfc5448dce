"""Draw with rich. Import this module only when there is something to draw: it costs more than the rest together.

Users' text comes here made safe already, and goes into `Text` objects: nothing is read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from engram.cli._text import printable, short_cid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDE = 120
"""Columns of a terminal from which a whole CID leaves room for metadata beside it."""


_GAP = 3
"""Columns between two cells of a table."""


class Column(msgspec.Struct, frozen=True):
    """How one column of a table looks. `fold`: where the table is too wide, it goes on over several lines, uncut."""

    heading: str
    style: str = ""
    right: bool = False
    fold: bool = False


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
        drawing.add_column(Text(column.heading), style=column.style, no_wrap=not column.fold)
        drawing.columns[-1].justify = "right" if column.right else "left"
        if column.fold:
            drawing.columns[-1].overflow = "fold"
    for row in rows:
        drawing.add_row(*(Text(cell) for cell in row))
    return drawing


def fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> tuple[Sequence[Column], Sequence[Sequence[str]]]:
    """Leave out the last columns of a table, the least important, while it is wider than the terminal."""
    room = Console(width=width).width
    widths = [max(cell_len(cells[at]) for cells in ([c.heading for c in columns], *rows)) for at in range(len(columns))]
    count = len(columns)
    while count > 2 and sum(widths[:count]) + _GAP * count > room:
        count -= 1
    return columns[:count], [row[:count] for row in rows]


def memories(heading: str, rows: Sequence[Memory], *, width: int | None = None) -> Group:
    """Draw memories, two lines each: the number under `heading` and the text, then the CID and the metadata.

    Each line is cut where the terminal ends.
    """
    whole = Console(width=width).width >= _WIDE
    room = max(len(heading), *(len(row.number) for row in rows))
    lines: list[RenderableType] = [
        _line(heading.rjust(room), Text("memory"), "bold"),
        Rule(style="default", characters="─"),
    ]
    for row in rows:
        cid = printable(row.cid) if whole else short_cid(row.cid)
        about = Text.assemble((cid, "dim"), "  ", (row.metadata, "cyan"))
        parts = [about] if row.text is None else [Text(row.text), about]
        lines += [_line(number.rjust(room), part) for number, part in zip((row.number, ""), parts, strict=False)]
    hint = _line("", Text("cut to fit; --json, or a pipe, gives texts and CIDs whole", "dim"))
    return Group(*lines, Text(), hint)


def _line(number: str, part: Text, style: str = "") -> Text:
    line = Text(no_wrap=True, overflow="ellipsis", style=style)
    return line.append(number, "bold").append("  " if number else "").append_text(part)


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
