"""What a starting node says: a banner and a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from engram.cli._shell import complain
from engram.cli._target import DEFAULT_URL
from engram.cli._text import duration, plural, printable, size

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from engram.node import Config


class Announcer(Protocol):
    """Hears a node's events by name: `listening`, `opened`, `model_progress` and so on."""

    def __call__(self, event: str, facts: dict[str, Any], /) -> None:
        """Show one event."""
        ...


def announcer(config: Config, file: Path | None) -> Announcer:
    """Give what suits standard output."""
    return Terminal(config, file) if sys.stdout.isatty() else Plain()


def sentence(event: str, facts: dict[str, Any]) -> str | None:
    """Say one event in one line; None for progress and for events of a newer node."""
    match event:
        case "opened":
            counts = f"{plural(facts['records'], 'record')}, {plural(facts['position'], 'event')}"
            return f"opened: {counts}, in {duration(facts['seconds'])}"
        case "listening":
            return f"listening: {' and '.join(_urls(facts))}"
        case "model_ready":
            if "name" in facts:
                return f"model {facts['name']} ready: in {duration(facts['seconds'])}, {facts['kernel']}"
            return f"model ready: in {duration(facts['seconds'])}, {facts['kernel']} kernel"
        case "model_failed":
            name = f" {facts['name']}" if "name" in facts else ""
            return f"model{name} failed: {facts['message']}"
        case "stopping":
            return "stopping"
        case "stopped":
            return "stopped"
        case _:
            return None


def _urls(facts: dict[str, Any]) -> list[str]:
    return [str(facts[name]) for name in ("url", "http_url") if name in facts]


class Plain:
    """Prints a line an event, and a line each tenth of the weights."""

    def __init__(self) -> None:
        self._tenth = -1

    def __call__(self, event: str, facts: dict[str, Any], /) -> None:
        """Show one event."""
        line = self._progress(facts) if event == "model_progress" else sentence(event, facts)
        if line is not None:
            print(printable(line), flush=True)

    def _progress(self, facts: dict[str, Any]) -> str | None:
        tenth = 10 * facts["done"] // max(facts["total"], 1)
        if tenth == self._tenth:
            return None
        self._tenth = tenth
        return f"fetching the model: {size(facts['done'])} of {size(facts['total'])} from {facts['source']}"


class Terminal:
    """Draws a banner when the node listens, and a bar while the weights come."""

    def __init__(self, config: Config, file: Path | None) -> None:
        self._config = config
        self._file = file
        self._known: dict[str, Any] = {}
        self._bar: tuple[Progress, TaskID] | None = None

    def __call__(self, event: str, facts: dict[str, Any], /) -> None:
        """Show one event."""
        if event == "model_progress":
            self._progress(facts)
            return
        self._end_bar()
        if event == "opened":
            self._known |= facts
        elif event == "listening":
            self._known |= facts
            _show(self._banner())
        elif event == "model_failed":
            complain(sentence(event, facts) or event)
        elif line := sentence(event, facts):
            _show(printable(line))

    def _banner(self) -> str:
        from rich.panel import Panel

        from engram.cli._screen import draw, sheet

        url = self._known["url"]
        there = "" if url == DEFAULT_URL else f" --node {url}"
        held = f"{plural(self._known['records'], 'record')}" if "records" in self._known else ""
        rows = [
            ("role", self._config.role),
            *(("listens at" * (index == 0), each) for index, each in enumerate(_urls(self._known))),
            ("data folder", f"{self._config.data_dir.absolute()}{'  ' * bool(held)}{held}"),
            *([("node key", str(self._known["node_key"]))] if "node_key" in self._known else []),
            ("configured by", "the command line and defaults" if self._file is None else str(self._file.absolute())),
            ("", ""),
            ("try", f'engram ingest "a first memory"{there}'),
            ("", f'engram query "what was first?"{there}'),
            ("stop", "Ctrl-C"),
        ]
        safe = [(name, printable(value)) for name, value in rows]
        return draw(Panel(sheet(safe), title="engram node", title_align="left", border_style="cyan", expand=False))

    def _progress(self, facts: dict[str, Any]) -> None:
        if self._bar is None:
            from engram.cli._progress import byte_progress

            progress = byte_progress()
            progress.start()
            self._bar = (progress, progress.add_task("model", total=facts["total"]))
        progress, task = self._bar
        source = f"model from {printable(facts['source'])}"  # another one, where the first did not answer
        progress.update(task, description=source, completed=facts["done"], total=facts["total"])

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None


def _show(text: str) -> None:
    print(text, flush=True)
