"""The doctor's report as text: a table, plain lines, or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.cli._json import fields, write
from engram.cli._text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.cli._doctor_check import Check


def report(checks: Sequence[Check], *, as_json: bool, terminal: bool) -> str:
    """Give the report in the form that is asked for, or that suits a terminal or a pipe."""
    if as_json:
        return write({"checks": [fields(check) for check in checks]})
    if not terminal:
        return "\n".join(
            "\t".join(printable(cell) for cell in (check.state, check.name, check.found, check.advice)).rstrip("\t")
            for check in checks
        )
    return _table(checks)


def _table(checks: Sequence[Check]) -> str:
    from rich.table import Table
    from rich.text import Text

    from engram.cli._screen import draw

    styles = {"ok": "green", "warn": "bold yellow", "fail": "bold red"}
    drawing = Table(box=None, show_header=False, pad_edge=False)
    for check in checks:
        found = Text(printable(check.found))
        if check.advice:
            found.append(f"\n→ {printable(check.advice)}", style=styles[check.state])
        drawing.add_row(Text(check.state, style=styles[check.state]), Text(check.name, style="bold"), found)
    return draw(drawing)
