"""Engram: verifiable memory for AI agents.

`engram.open(path)` opens a memory in this process, `engram.open(url)` one that a node keeps; both have the same calls.
Nothing else is imported before it is used (PEP 562), so a client pays for no node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engram.node import AsyncMemory, Memory
    from engram.sdk import AsyncEngramClient, EngramClient

__version__ = "0.1.0"

__all__ = ["AsyncMemory", "Memory", "__version__", "open", "open_async"]

_SCHEMES = ("engram", "http", "https")


@overload
def open(
    path: Path | Literal[":memory:"],
    models: Mapping[str, object] | None = None,
    actors: Mapping[str, object] | None = None,
) -> Memory: ...
@overload
def open(path: str, models: Mapping[str, object], actors: Mapping[str, object] | None = None) -> Memory: ...
@overload
def open(path: str, models: None = None, *, actors: Mapping[str, object]) -> Memory: ...
@overload
def open(path: str) -> Memory | EngramClient: ...
def open(
    path: str | Path, models: Mapping[str, object] | None = None, actors: Mapping[str, object] | None = None
) -> Memory | EngramClient:
    """Open a memory; code that uses one moves elsewhere by this one string.

    `path` is a folder, made if absent; or a single file, one that is there or is called `….engram`; or `":memory:"`,
    which is forgotten when it is closed. All three are opened in this process. Or it is the URL of a node,
    `engram://…`, `http://…` or `https://…`, and what is given is an `EngramClient`.

    `models`: other embedding models as `node.toml` has them, such as `{"mpnet": {"backend": "sentence-transformers",
    "path": "/models/all-mpnet-base-v2"}}`. `actors`: plug-ins as `node.toml` has them, where a class may stand for its
    name: `{"census": {"class": Census, "report_every": 100}}`. A node has its own of both.

    Raises `BadRequest` for a model or plug-in that will not do, `FolderInUse` where a node or another process has the
    memory open, `FolderRefused` where it cannot be used.
    """
    if _is_url(path):
        from engram.sdk import EngramClient  # noqa: PLC0415

        _refuse_options(models, actors)
        return EngramClient(str(path))
    from engram.node import open_memory  # noqa: PLC0415

    return open_memory(path, models, actors)


@overload
def open_async(
    path: Path | Literal[":memory:"],
    models: Mapping[str, object] | None = None,
    actors: Mapping[str, object] | None = None,
) -> AsyncMemory: ...
@overload
def open_async(path: str, models: Mapping[str, object], actors: Mapping[str, object] | None = None) -> AsyncMemory: ...
@overload
def open_async(path: str, models: None = None, *, actors: Mapping[str, object]) -> AsyncMemory: ...
@overload
def open_async(path: str) -> AsyncMemory | AsyncEngramClient: ...
def open_async(
    path: str | Path, models: Mapping[str, object] | None = None, actors: Mapping[str, object] | None = None
) -> AsyncMemory | AsyncEngramClient:
    """Open a memory, as `open` does, for asyncio or trio: `async with engram.open_async(path) as memory`.

    Its calls are the same, and awaited. It is opened when the block is entered, and closed when it is left.
    """
    if _is_url(path):
        from engram.sdk import AsyncEngramClient  # noqa: PLC0415

        _refuse_options(models, actors)
        return AsyncEngramClient(str(path))
    from engram.node import open_memory_async  # noqa: PLC0415

    return open_memory_async(path, models, actors)


def _is_url(path: str | Path) -> bool:
    scheme, found, _ = str(path).partition("://")
    if not found or not isinstance(path, str):
        return False
    if scheme.lower() not in _SCHEMES:
        from engram.errors import BadRequest  # noqa: PLC0415

        known = ", ".join(f"{one}://" for one in _SCHEMES)
        raise BadRequest(f"path: {scheme!r:.80} is no scheme of a node's URL; these are: {known}", field="path")
    return True


def _refuse_options(models: object, actors: object) -> None:
    if models is not None or actors is not None:
        from engram.errors import BadRequest  # noqa: PLC0415

        field = "models" if models is not None else "actors"
        raise BadRequest(
            f"{field}: a node has its own (node.toml); give a path to open a memory with these", field=field
        )


def __getattr__(name: str) -> object:
    if name in {"Memory", "AsyncMemory"}:
        from engram import node  # noqa: PLC0415

        return getattr(node, name)
    raise AttributeError(f"module 'engram' has no attribute {name!r}")
