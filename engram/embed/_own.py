"""Where a node's own model comes from: this machine, or else the sources that have its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.embed._minilm import load_embedder
from engram.embed._model import find_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engram.embed._model import ModelFiles
    from engram.embed._port import Embedder


class OwnModel:
    """The pinned model behind `ModelSource`."""

    def find(self, folder: Path | None) -> ModelFiles | None:
        """Look in `folder`, or where the model may lie."""
        return find_model(folder)

    def fetch(self, progress: Callable[[str, int, int], None]) -> ModelFiles:
        """Fetch it into the user's cache."""
        from engram.embed._fetch import fetch_model  # noqa: PLC0415 - once in a model's life, and slow to import

        return fetch_model(progress)

    def load(self, files: ModelFiles) -> Embedder:
        """Verify and load it."""
        return load_embedder(files)
