"""The auditor's reading of log and bodies, as the oracle: it shares no code with the package."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "scripts"))  # where a script finds what it imports when it is run

_framing, _log, _bodies = (importlib.import_module(f"auditing.{name}") for name in ("framing", "log", "bodies"))
# Of the thousands of variants of a segment nearly all frames are the same ones.
for _module in (_log, _bodies):
    _module.crc32c = functools.lru_cache(1 << 12)(_framing.crc32c)
_log.decode = functools.lru_cache(1 << 12)(_log.decode)

STATUS = {"sound": 0, "torn": 1, "damaged": 2}


class Named:
    """The ids of bodies that events name."""

    def __init__(self, ids: set[bytes]) -> None:
        self.ids = ids


def judge_log(segments: dict[str, bytes], covered: int = 0) -> tuple[int, str, int]:
    """Give (status, file, offset) of a log; of a sound one, ("", 0)."""
    names = sorted(segments)
    return _judge(_log.read_log, [(name, segments[name], name == names[-1]) for name in names], covered)


def judge_bodies(segments: dict[str, bytes], named: set[bytes] | None) -> tuple[int, str, int]:
    """Give (status, file, offset) of a folder of bodies; `named`: the ids that events name, None without a log."""
    names = sorted(segments)
    more = None if named is None else Named(named)
    return _judge(_bodies.read_bodies, [(name, segments[name], name == names[-1]) for name in names], more)


def _judge(read: Any, segments: list[tuple[str, bytes, bool]], more: Any) -> tuple[int, str, int]:
    found: list[Any] = []
    try:
        read(iter(segments), more, found.append)
    except _framing.Damage as damage:
        found.append(damage)
    worst = max(found, key=lambda damage: STATUS[damage.status], default=None)
    return (STATUS[worst.status], worst.file, worst.offset) if worst else (0, "", 0)
