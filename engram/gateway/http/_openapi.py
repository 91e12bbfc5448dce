"""The door's description, OpenAPI 3.1, from the Structs."""

from __future__ import annotations

from typing import Any


def description() -> dict[str, Any]:
    """Give the description."""
    return {"openapi": "3.1.0"}
