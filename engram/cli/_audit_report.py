"""The report of an audit: a table, plain lines, or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.cli._json import fields, write
from engram.cli._text import duration, printable, size, utc

if TYPE_CHECKING:
    from pathlib import Path

    from engram.store import AuditFinding, AuditPart, AuditReport

_SHOWN = 20
_WHAT = {
    "format": "FORMAT, key",
    "log": "log",
    "checkpoints": "checkpoints",
    "bodies": "bodies",
    "events": "events",
    "signatures": "signatures in events",
    "commitments": "state tries",
    "tables": "state.db",
    "index": "index",
    "projections": "projections",
}


def as_json(report: AuditReport, data: Path, seconds: float) -> str:
    """Give the report as one JSON object."""
    facts = {"folder": str(data), "status": report.status, **fields(report), "seconds": round(seconds, 3)}
    return write(facts)


def as_text(report: AuditReport, data: Path, seconds: float) -> str:
    """Give the report as plain lines."""
    lines = [f"{printable(str(data))}: {report.status} ({duration(seconds)})"]
    lines += [f"  {_line(part)}" for part in report.parts]
    return "\n".join([*lines, *_conclusions(report)])


def as_table(report: AuditReport, data: Path, seconds: float) -> str:
    """Draw the report for a terminal."""
    from rich.table import Table
    from rich.text import Text

    from engram.cli._screen import draw

    drawing = Table(box=None, pad_edge=False)
    drawing.add_column("part")
    for heading in ("checked", "sound", "size"):
        drawing.add_column(heading, justify="right")
    drawing.add_column("")
    for part in report.parts:
        style = "green" if part.checked == part.sound else "bold red"
        drawing.add_row(
            Text(_WHAT[part.name]),
            Text(f"{part.checked:,}" if part.checked else ""),
            Text(f"{part.sound:,}" if part.checked else "", style=style),
            Text(size(part.size_bytes) if part.size_bytes else ""),
            Text(printable(part.note), style="yellow"),
        )
    style = {"sound": "bold green", "torn": "bold yellow", "damaged": "bold red"}[report.status]
    title = Text(f"{printable(str(data))}: ").append(report.status, style=style).append(f" ({duration(seconds)})")
    return "\n".join([draw(title, width=title.cell_len + 1), draw(drawing), *_conclusions(report)])


def _line(part: AuditPart) -> str:
    said = f"{part.sound:,} of {part.checked:,} sound" if part.checked else ""
    bytes_ = size(part.size_bytes) if part.size_bytes else ""
    return f"{_WHAT[part.name]}: " + ", ".join(filter(None, (said, bytes_, printable(part.note))))


def _conclusions(report: AuditReport) -> list[str]:
    lines = [f"  {_finding(finding)}" for finding in report.findings[:_SHOWN]]
    more = len(report.findings) - _SHOWN
    more = max(more, 0) + report.findings_left_out
    if lines:
        lines = ["findings:", *lines, *([f"  and {more:,} more; --json has {len(report.findings):,}"] if more else [])]
    return [*lines, *_what_holds(report)]


def _finding(finding: AuditFinding) -> str:
    place = finding.file if finding.offset is None else f"{finding.file}, offset {finding.offset}"
    return f"{finding.status}: {printable(place)}: {printable(finding.reason)}"


def _what_holds(report: AuditReport) -> list[str]:
    if not report.events:
        return ["what holds: nothing of the log"]
    last = report.events - 1
    lines = [
        f"what holds: events 0 to {last:,} under root {report.root}, the last written {utc(report.time_unix_ns)}",
    ]
    if report.node_key:
        lines.append(f"            of node {report.node_key}")
    if report.checkpoint is None:
        lines.append("            no checkpoint: nothing is signed")
    else:
        lines.append(f"            signed up to event {report.checkpoint - 1:,}, with the state tries there")
    bodies = next((part for part in report.parts if part.name == "bodies"), None)
    if bodies is not None and bodies.checked:
        lines.append(f"            {bodies.sound:,} of {bodies.checked:,} bodies")
    return lines
