# Made by scripts/generate_sync.py from engram/sdk/_async/_carrier.py: change that one.
"""How requests are carried out: all that the public methods ask of a way in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from engram.errors import EngramError
from engram.wire import (
    Answer,
    Events,
    EventsResult,
    Request,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

R = TypeVar("R", bound=Answer)


class Carrier(ABC):
    """What carries out requests of one memory."""

    @abstractmethod
    def _call(self, request: Request[R]) -> R:
        """Carry out `request` and give its answer, or raise its error."""

    def _call_many(self, requests: Iterable[Request[R]]) -> Generator[R | EngramError]:
        """Carry out many requests; give each one's answer or error, in order."""
        for request in requests:
            try:
                yield self._call(request)
            except EngramError as error:
                yield error

    def _call_again(self, request: Events) -> EventsResult:
        """Carry out a request of a follower that has had an answer before: a client waits for its node to come back."""
        return self._call(request)
