"""A Service whose calls are counted, for a door that counts nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from engram.errors import EngramError
from engram.identity import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from engram.gateway._metrics import Metrics
    from engram.gateway._service import Service
    from engram.identity import Caller
    from engram.ports import Clock
    from engram.wire import Answer, Request

_GONE, _BUG = "gone", "internal"


class Metered:
    """Passes every call on to a Service, and counts it under a door's name. What is no call is not counted."""

    def __init__(self, service: Service, metrics: Metrics, door: str, clock: Clock) -> None:
        self._service = service
        self._metrics = metrics
        self._door = door
        self._now = clock.monotonic
        self.together = service.together
        self.hello = service.hello
        self.legacy = service.legacy

    async def call(self, request: Request[Any], caller: Caller = OPERATOR) -> Answer:
        """Carry out a request; as `Service.call`."""
        begun = self._now()
        code = _BUG
        try:
            answer = await self._service.call(request, caller)
            code = "ok"
        except EngramError as error:
            code = error.code
            raise
        except trio.Cancelled:
            code = _GONE
            raise
        finally:
            self._metrics.count(self._door, request.method, code, self._now() - begun)
        return answer

    def answer_now(self, request: Request[Any], caller: Caller = OPERATOR) -> Answer | None:
        """Answer what waits for nothing; as `Service.answer_now`."""
        begun = self._now()
        try:
            answer = self._service.answer_now(request, caller)
        except EngramError as error:
            self._metrics.count(self._door, request.method, error.code, self._now() - begun)
            raise
        if answer is not None:
            self._metrics.count(self._door, request.method, "ok", self._now() - begun)
        return answer

    async def call_together(
        self, requests: Sequence[Request[Any]], caller: Caller = OPERATOR
    ) -> Sequence[Answer | EngramError]:
        """Carry out requests in one go; as `Service.call_together`."""
        begun = self._now()
        outcomes = await self._service.call_together(requests, caller)
        took_s = self._now() - begun
        for request, outcome in zip(requests, outcomes, strict=True):
            code = outcome.code if isinstance(outcome, EngramError) else "ok"
            self._metrics.count(self._door, request.method, code, took_s)
        return outcomes
