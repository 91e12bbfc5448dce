"""Engram: verifiable memory for AI agents.

`engram.open(path)` opens a memory in this process; `engram.sdk.EngramClient(url)` talks to a node. Nothing else is
imported before it is used (PEP 562), so a client pays for no node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engram.node import Memory
    from engram.node import open_memory as open  # noqa: A004

__version__ = "0.1.0"

__all__ = ["Memory", "__version__", "open"]


def __getattr__(name: str) -> object:
    if name in {"open", "Memory"}:
        from engram import node  # noqa: PLC0415

        return node.open_memory if name == "open" else node.Memory
    raise AttributeError(f"module 'engram' has no attribute {name!r}")
