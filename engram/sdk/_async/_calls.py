"""Calls over a wire: each by the policy, until it has an outcome that is the caller's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar, cast

from engram.errors import Busy, EngramError, RateLimited
from engram.sdk._async._net import now, sleep
from engram.sdk._policy import Course, LinkLost, Policy
from engram.wire import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

    from engram.wire import Request

R = TypeVar("R", bound=Answer)


class AsyncCalls(ABC):
    """Carries requests to one node."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.closed = False

    async def call(self, request: Request[R]) -> R:
        """Carry out a request. Raise its error, `Unavailable`, or `DeadlineExceeded`."""
        course = Course(self.policy, request, now())
        while True:
            try:
                outcome = await self.attempt(request, course.deadline)
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
                await sleep(wait_s)
            elif isinstance(outcome, EngramError):
                raise outcome
            else:
                return cast("R", outcome)

    async def outcome(self, request: Request[R]) -> R | EngramError:
        """Carry out a request; give its answer or its error."""
        try:
            return await self.call(request)
        except EngramError as error:
            return error

    @abstractmethod
    async def attempt(self, request: Request[R], deadline: float) -> Answer | EngramError:
        """Make the call once. Raise `TimeoutError`, `LinkLost`, or what was wrong before it was made."""

    @abstractmethod
    def call_many(self, requests: AsyncIterable[Request[R]]) -> AsyncGenerator[R | EngramError]:
        """Carry out requests; give each one's answer or error, in order."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection. Calls under way, and later ones, raise `Unavailable`."""
