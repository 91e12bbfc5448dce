"""What it looks like when bytes are not what they should be."""

from __future__ import annotations

import msgspec

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what it was asked for; the last where they nest too deep."""
