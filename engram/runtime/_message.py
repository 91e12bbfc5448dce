"""What actors are sent: typed messages, and what a watcher hears of the actor that it watches."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

Answer = TypeVar("Answer")


class Message(msgspec.Struct, Generic[Answer], frozen=True):
    """Base of every message; `Answer` is what asking with it gives."""


class Crashed(Message[None], frozen=True):
    """A watched actor failed: `Restarted` or `Stopped` follows. `error` names the exception, never its text."""

    actor: str
    error: str


class Restarted(Message[None], frozen=True):
    """A watched actor works again: a new instance, with the mailbox of the one before."""

    actor: str


class Stopped(Message[None], frozen=True):
    """A watched actor has ended; its ref refuses from now on. `failed`: it crashed too often, or the disk failed."""

    actor: str
    reason: Literal["stopped", "failed"]


NEWS = (Crashed, Restarted, Stopped)
"""What a watcher must handle."""
