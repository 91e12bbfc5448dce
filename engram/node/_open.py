"""Open a memory in this process, wherever it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.errors import BadRequest
from engram.node._actor_config import actors_of
from engram.node._async import AsyncMemory
from engram.node._config import Config
from engram.node._embedded import Memory
from engram.node._model_config import models_of
from engram.node._places import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engram.node._places import Place


def open_memory(
    path: str | Path, models: Mapping[str, object] | None = None, actors: Mapping[str, object] | None = None
) -> Memory:
    """Open a memory in this process, as `engram.open` says."""
    return Memory(*_asked_for(path, models, actors))


def open_memory_async(
    path: str | Path, models: Mapping[str, object] | None = None, actors: Mapping[str, object] | None = None
) -> AsyncMemory:
    """Give a memory that an `async with` opens, as `engram.open_async` says."""
    return AsyncMemory(*_asked_for(path, models, actors))


def _asked_for(
    path: str | Path, models: Mapping[str, object] | None, actors: Mapping[str, object] | None
) -> tuple[Config, Place]:
    if str(path) == "":
        raise BadRequest(
            "path: it is empty; give that of a folder or of a file, made if absent, or :memory:", field="path"
        )
    place = place_of(path)
    config = Config(
        data_dir=place.data_dir,
        models=models_of(models or {}, lambda key: key),
        actors=actors_of(actors or {}, lambda key: key),
        scrub_mb_s=place.scrub_mb_s,
    )
    return config, place
