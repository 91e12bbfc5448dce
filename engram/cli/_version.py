"""The version of what is installed, looked up only when asked for."""

from __future__ import annotations


def version() -> str:
    """Give the installed version of Engram."""
    from importlib import metadata

    try:
        return metadata.version("engram-node")
    except metadata.PackageNotFoundError:
        return "not installed: run from its sources"
