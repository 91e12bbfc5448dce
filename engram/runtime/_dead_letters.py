"""Dead letters: the messages that crashed an actor. What is kept of each is no user's text, and not the message."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram.ports import Clock

_KEPT = 256


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was given up. `message` is its type's name; `error` names an exception and the line it is from."""

    actor: str
    message: str
    error: str
    at_ns: int


class DeadLetters:
    """The latest dead letters of every actor of a supervisor; the oldest make room for new ones."""

    def __init__(self, clock: Clock, limit: int = _KEPT) -> None:
        self._clock = clock
        self._letters: deque[DeadLetter] = deque(maxlen=limit)

    def add(self, actor: str, message: object, error: str) -> None:
        """Keep that `actor` gave up `message` for `error`."""
        self._letters.append(DeadLetter(actor, type(message).__name__, error, self._clock.now_ns()))

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(self._letters)
