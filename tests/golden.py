"""The golden vectors of the formats, as tests read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def load(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


FORMATS = load("formats")


def edited(data: bytes, case: dict[str, Any]) -> bytes:
    """Apply a case: `truncate_to`, then `append_zeros`, then `edits`."""
    data = data[: case.get("truncate_to", len(data))] + bytes(case.get("append_zeros", 0))
    out = bytearray(data)
    for offset, change in case.get("edits", []):
        new = bytes(change) if isinstance(change, int) else bytes.fromhex(change)
        out[offset : offset + len(new)] = new
    return bytes(out)
