"""How a model of a configuration becomes an embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.embed._specs import ModelSpec, RemoteSpec, SentenceTransformersSpec, StaticSpec

if TYPE_CHECKING:
    from engram.embed._port import Embedder
    from engram.native._core import Stop


def load_model(spec: ModelSpec, stop: Stop | None = None) -> Embedder:
    """Load a configured model, each time from its files. Raises `ModelNotReady`, or `Unavailable` for a server.

    `stop`: ends the question to a server; what is read from the disk is read to its end.
    """
    # Imported here: torch and its like are loaded by those who use them.
    match spec:
        case SentenceTransformersSpec():
            from engram.embed._sentence_transformers import load_sentence_transformers  # noqa: PLC0415

            return load_sentence_transformers(spec)
        case StaticSpec():
            from engram.embed._static import load_static  # noqa: PLC0415

            return load_static(spec)
        case RemoteSpec():
            from engram.embed._remote import load_remote  # noqa: PLC0415

            return load_remote(spec, stop)
