# Made by scripts/generate_sync.py from engram/sdk/_async/_calls.py: change that one.
"""Calls over a wire: each by the policy, until it has an outcome that is the caller's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar, cast

from engram.errors import Busy, EngramError, RateLimited
from engram.sdk._policy import Course, LinkLost, Policy
from engram.sdk._sync._net import now, sleep
from engram.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from engram.wire import Request

R = TypeVar("R", bound=Answer)


class Calls(ABC):
    """Carries requests to one node."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.closed = False

    def call(self, request: Request[R]) -> R:
        """Carry out a request. Raise its error, `Unavailable`, or `DeadlineExceeded`."""
        course = Course(self.policy, request, now())
        while True:
            try:
                outcome = self.attempt(request, course.deadline)
            except (Busy, RateLimited) as error:  # said to the connection, before any call
                outcome = error
            except TimeoutError:
                raise self.policy.too_late(request) from None
            except LinkLost:
                course.lose()
                continue
            self.policy.note(outcome)
            wait_s = course.wait_s(outcome, now())
            if wait_s is not None:
                sleep(wait_s)
            elif isinstance(outcome, EngramError):
                raise outcome
            else:
                return cast("R", outcome)

    def outcome(self, request: Request[R]) -> R | EngramError:
        """Carry out a request; give its answer or its error."""
        try:
            return self.call(request)
        except EngramError as error:
            return error

    @abstractmethod
    def attempt(self, request: Request[R], deadline: float) -> Answer | EngramError:
        """Make the call once. Raise `TimeoutError`, `LinkLost`, or what was wrong before it was made."""

    @abstractmethod
    def call_many(self, requests: Iterable[Request[R]]) -> Generator[R | EngramError]:
        """Carry out requests; give each one's answer or error, in order."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection. Calls under way, and later ones, raise `Unavailable`."""
