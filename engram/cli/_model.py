"""The `model` commands, of `engram` and of `engram-node`: fetch the embedding model, verify it, say where it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from engram.cli._shell import EXIT_CODES, OK, epilogue, say
from engram.cli._text import paragraphs, printable, size
from engram.errors import ModelNotReady

if TYPE_CHECKING:
    from engram.embed import ModelFiles

ModelDir = Annotated[Path | None, Parameter(help="Folder with the embedding model's files. [default: your cache]")]


def model_app(program: str, sort_key: int) -> App:
    """Give the commands `model fetch`, `model verify` and `model path` of a program."""
    app = App(name="model", help="Fetch, verify and find the embedding model.", help_epilogue=EXIT_CODES)
    app.sort_key = sort_key
    for command, example in (
        (fetch, f"{program} model fetch"),
        (verify, f"{program} model verify"),
        (path, f"ls -lh $({program} model path)"),
    ):
        app.command(command, help=paragraphs(command.__doc__ or ""), help_epilogue=epilogue([example]))
    return app


def fetch() -> int:
    """Fetch the embedding model into your cache, unless it is here already, and verify it."""
    files = _sound() or _fetch_with_progress()
    say(f"the model is in {printable(str(files.folder))}, verified")
    return OK


def verify(*, model_dir: ModelDir = None) -> int:
    """Check the embedding model's files against the hashes that this version is built for."""
    from engram.embed import verify_model

    files = _found(model_dir)
    verify_model(files)
    total = sum(file.stat().st_size for file in (files.weights, files.tokenizer))
    say(f"{printable(str(files.folder))}: {size(total)}, as they should be")
    return OK


def path(*, model_dir: ModelDir = None) -> int:
    """Print the folder of the embedding model."""
    say(printable(str(_found(model_dir).folder)))
    return OK


def _found(folder: Path | None) -> ModelFiles:
    """Give the model's files, or raise `ModelNotReady` with how to get them."""
    from engram.embed import find_model

    files = find_model(folder)
    if files is None:
        raise ModelNotReady("the embedding model is not on this machine; `engram model fetch` gets it")
    return files


def _sound() -> ModelFiles | None:
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


def _fetch_with_progress() -> ModelFiles:
    """Fetch the model with a bar on a terminal, with a line each tenth elsewhere."""
    from engram.embed import fetch_model

    if not sys.stderr.isatty():
        from engram.cli._events import Plain

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
