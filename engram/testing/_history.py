"""What was seen from outside: every call of every client with its answer, in one order, and a trace of all else."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from engram.errors import EngramError
from engram.testing._client import NoAnswer

if TYPE_CHECKING:
    from engram.wire import Answer, Request


class Call(msgspec.Struct):
    """One call. `began` and `ended` are places in the one order of all beginnings and ends; `life`: at its beginning.

    `life_ended`: at its end. `memories`: which ones it is about. `ended` stays 0 while there is no answer; `NoAnswer`:
    none will come.
    """

    who: str
    request: Request[Any]
    memories: tuple[int, ...]
    began: int
    life: int
    ended: int = 0
    life_ended: int = -1
    outcome: Answer | EngramError | NoAnswer | None = None

    @property
    def answer(self) -> Answer | None:
        """What the node answered; None for an error, or nothing."""
        return None if isinstance(self.outcome, Exception) else self.outcome


class History:
    """The calls, and the trace: lines of (virtual time, who, what)."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.lines: list[tuple[float, str, str]] = []
        self._order = 0

    def begin(self, who: str, request: Request[Any], memories: tuple[int, ...], life: int) -> Call:
        """Note that a call begins."""
        self._order += 1
        call = Call(who, request, memories, self._order, life)
        self.calls.append(call)
        self.note(who, f"call {len(self.calls)}: {_asked(request, memories)}")
        return call

    def end(self, call: Call, outcome: Answer | EngramError | NoAnswer, life: int) -> None:
        """Note how it ended, in which life."""
        self._order += 1
        call.ended, call.outcome, call.life_ended = self._order, outcome, life
        self.note(call.who, f"  {_answered(outcome)}")

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.lines.append((trio.current_time(), who, what))

    def digest(self) -> str:
        """Give the hash of all that happened."""
        return hashlib.sha256("\n".join(map(repr, self.lines)).encode()).hexdigest()


def _asked(request: Request[Any], memories: tuple[int, ...]) -> str:
    about = f" of memory {', '.join(map(str, memories))}" if memories else ""
    space = getattr(request, "namespace", None)
    return f"{request.method}{about}{f' in {space}' if space else ''}"


def _answered(outcome: Answer | EngramError | NoAnswer) -> str:
    if isinstance(outcome, EngramError):
        return f"{outcome.code}: {outcome.message}"
    if isinstance(outcome, NoAnswer):
        return f"no answer ({outcome})"
    facts = {name: getattr(outcome, name) for name in outcome.__struct_fields__}
    counted = {name: len(value) if isinstance(value, list) else value for name, value in facts.items()}
    return ", ".join(f"{name} {value}" for name, value in counted.items() if not isinstance(value, bytes))
