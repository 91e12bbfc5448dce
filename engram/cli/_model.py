"""Find and fetch the embedding model, with progress."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from engram.cli._events import Plain
from engram.cli._text import printable
from engram.errors import ModelNotReady

if TYPE_CHECKING:
    from pathlib import Path

    from engram.embed import ModelFiles


def found(folder: Path | None) -> ModelFiles:
    """Give the model's files, or raise `ModelNotReady` with how to get them."""
    from engram.embed import find_model

    files = find_model(folder)
    if files is None:
        raise ModelNotReady("the embedding model is not on this machine; `engram-node model fetch` gets it")
    return files


def sound() -> ModelFiles | None:
    """Give the model's files if they are here and the right ones."""
    from engram.embed import find_model, verify_model

    files = find_model()
    if files is None:
        return None
    try:
        verify_model(files)
    except ModelNotReady:
        return None
    return files


def fetch_with_progress() -> ModelFiles:
    """Fetch the model with a bar on a terminal, with a line each tenth elsewhere."""
    from engram.embed import fetch_model

    if not sys.stderr.isatty():
        plain = Plain()
        return fetch_model(lambda source, done, total: plain("model_progress", _facts(source, done, total)))

    from engram.cli._progress import byte_progress

    with byte_progress() as progress:
        task = progress.add_task("model", total=None)

        def show(source: str, done: int, total: int) -> None:
            progress.update(task, description=f"model from {printable(source)}", completed=done, total=total)

        return fetch_model(show)


def _facts(source: str, done: int, total: int) -> dict[str, object]:
    return {"source": source, "done": done, "total": total}
