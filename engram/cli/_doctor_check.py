"""What a check of `engram-node doctor` finds."""

from __future__ import annotations

from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One line of the report: what was looked at, how it is, what was found, and what to do where it is not well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""
