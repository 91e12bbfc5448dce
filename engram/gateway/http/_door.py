"""What the connections and the endpoints of the HTTP door share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from engram.errors import DeadlineExceeded, EngramError, Internal
from engram.gateway._door import Door, RpcSettings
from engram.runtime import Log, described
from engram.wire import patience_s

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from engram.gateway._http_v1 import Unsigned
    from engram.gateway._metrics import Metrics
    from engram.gateway._service import Service
    from engram.identity import Caller
    from engram.limits import Limits
    from engram.ports import Clock, Rng
    from engram.wire import Answer, Request

log = Log()


class HttpSettings(RpcSettings, frozen=True, kw_only=True):
    """What an operator may choose about the door, beside what every door has."""

    held_bytes: int = 128 * 1024 * 1024
    """Bytes of bodies, whole or half, that the door holds; one that is whole stands in memory some three times."""
    idle_deadline_s: float = 75.0
    """How long a connection is kept between two requests."""
    headers_deadline_s: float = 15.0
    """How long a request's headers may take from their first byte on."""
    body_bytes_per_s: int = 32 * 1024
    """The least that a body must make beyond `silence_deadline_s`."""
    streams: int = 256
    """Event streams at one time."""
    heartbeat_s: float = 15.0
    """How long an event stream is silent at most."""
    unsigned: Unsigned = "loopback"
    """Whose requests of the first Engram's API are served without a signature."""


class ClientGone(Exception):
    """Who asked has closed the connection, so that nobody is there to be answered."""


class HttpDoor(Door):
    """Service, limits, settings, and what is counted over all connections; `stopping` is set when it is to end."""

    settings: HttpSettings

    def __init__(
        self,
        service: Service,
        limits: Limits,
        settings: HttpSettings,
        rng: Rng,
        *,
        clock: Clock,
        metrics: Metrics,
        host: str,
    ) -> None:
        """`host`: what the node was told to listen at, which is a name that its callers may use."""
        super().__init__(service, limits, settings, rng)
        self.clock = clock
        self.metrics = metrics
        self.host = host
        self.stopping = trio.Event()
        self.streams = 0

    async def call(self, request: Request[Any], caller: Caller, gone: Callable[[], Awaitable[None]]) -> Answer:
        """Carry out a request within its deadline; give it up where `gone` returns, and raise `ClientGone`."""
        answered = self.service.answer_now(request, caller)
        if answered is not None:
            return answered
        limit_s = self.settings.call_deadline_s + patience_s(request)
        outcome: Answer | EngramError | None = None
        left = False

        async def watch(calling: trio.CancelScope) -> None:
            nonlocal left
            await gone()
            left = True
            calling.cancel()

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(limit_s) as calling:
                nursery.start_soon(watch, calling)
                try:
                    outcome = await self.service.call(request, caller)
                except EngramError as error:
                    outcome = error
                except Exception as error:  # noqa: BLE001 - the gateway's edge: a bug is answered, and logged without users' text
                    outcome = self.internal(request.method, error)
            nursery.cancel_scope.cancel()
        if isinstance(outcome, EngramError):
            raise outcome
        if outcome is not None:
            return outcome
        if left:
            raise ClientGone
        raise DeadlineExceeded(f"the {request.method} took longer than {limit_s:g} s; a put can be sent again")

    def internal(self, method: str, error: Exception) -> Internal:
        """Give the error of a bug of ours, and tell the log of it."""
        incident = self.rng.bytes(4).hex()
        log.error("http_call_failed", method=method, error=described(error), incident=incident)
        return Internal(f"the node failed on this {method}; its log has more under {incident}")
