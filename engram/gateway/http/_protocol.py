"""Hypercorn's HTTP/1.1 protocol, with what strangers should not have of it taken away.

Hypercorn is held at one minor version: what stands here leans on names that it does not promise.

Taken away: the switch to HTTP/2 (`Upgrade: h2c`, `PRI *`) and to WebSockets, which this door does not speak and which
would each bring bounds of their own to hold. A request that asks for one is answered as the plain request that it is.
"""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed
from hypercorn.logging import Logger
from hypercorn.protocol.events import Request as StreamRequest
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from engram.errors import BadRequest, DeadlineExceeded, EngramError, TooLarge
from engram.runtime import Log, described
from engram.wire import encode_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, H11SendableEvent, Scope

HEADERS_BYTES = 32 * 1024

log = Log()


class Voice(Logger):
    """Hypercorn's voice: no access log, for targets hold users' text; what fails goes into our log."""

    def __init__(self, _config: Config) -> None:
        self.access_logger = self.error_logger = None

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        """Say nothing."""

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - Hypercorn's
        """Say that something failed which an endpoint should have answered."""
        log.error("http_protocol_failed", said=message)


def quiet_config() -> Config:
    """Give what Hypercorn's protocol is to know."""
    config = Config()
    config._log = Voice(config)  # noqa: SLF001 - the class that makes it opens standard error
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADERS_BYTES
    config.keep_alive_max_requests = 2**31
    return config


class Http1(H11Protocol):
    """One connection's protocol: requests, one after the other."""

    async def _handle_events(self) -> None:
        try:
            await super()._handle_events()
        except h11.RemoteProtocolError as error:
            await self._send_error_response(error.error_status_hint)
            await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        """Switch to nothing else; refuse a body that two readers would see end at different places."""
        if event.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("not HTTP/1.1", error_status_hint=505)
        framed = {name for name, _ in event.headers} & {b"transfer-encoding", b"content-length"}
        if b"transfer-encoding" in framed and (len(framed) > 1 or event.http_version == b"1.0"):
            raise h11.RemoteProtocolError("transfer-encoding is not alone", error_status_hint=400)

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            StreamRequest(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """Send, and name a status in words: some clients, the first Engram's among them, show those alone."""
        if isinstance(event, h11.Response) and not event.reason:
            event = h11.Response(
                status_code=event.status_code,
                headers=event.headers,
                http_version=event.http_version,
                reason=_PHRASES.get(event.status_code, b""),
            )
        await super()._send_h11_event(event)

    async def refuse(self, status: int) -> None:
        """Answer what is no request with an error as every other has it, and take no more."""
        await self._send_error_response(status)

    async def _send_error_response(self, status_code: int) -> None:
        body = encode_error(_ERRORS.get(status_code, _MALFORMED))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_MALFORMED = BadRequest("this is not a request of HTTP/1.1")
_ERRORS: dict[int, EngramError] = {
    408: DeadlineExceeded("half a request came, and no more in time"),
    431: TooLarge(f"the request's line and headers have over {HEADERS_BYTES} bytes; send less"),
}


class Tasks:
    """Hypercorn's task group: an application's task for each request, fed through an `_Inbox`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def spawn_app(
        self,
        app: AppWrapper,
        _config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start a request's task; give what takes the request's events."""
        inbox = _Inbox()
        self._nursery.start_soon(_serve, app, scope, inbox, send)
        return inbox.put

    def spawn(self, func: Callable[..., Any], *args: Any) -> None:
        """Start any other task."""
        self._nursery.start_soon(func, *args)


async def _serve(
    app: AppWrapper,
    scope: Scope,
    inbox: _Inbox,
    send: Callable[[ASGISendEvent | None], Awaitable[None]],
) -> None:
    try:
        await app(scope, inbox.get, send, trio.to_thread.run_sync, trio.from_thread.run)
    except Exception as error:  # noqa: BLE001 - the gateway's edge: one request's bug is not the others' end
        _report(error)
    finally:
        inbox.close()
    await send(None)


def _report(error: Exception) -> None:
    log.error("http_application_failed", error=described(error))


class _Inbox:
    """A request's events on their way to its task: one piece of the body waits, the next one's bytes are not read.

    Hypercorn's own is a channel: who fills it for a task that reads no more waits for ever, and with it the connection.
    """

    def __init__(self) -> None:
        self._events: deque[ASGIReceiveEvent] = deque()
        self._changed = trio.Event()
        self._gone = False
        self._closed = False

    async def put(self, event: ASGIReceiveEvent) -> None:
        if event["type"] == "http.disconnect":
            self._gone = True
            self._tell()
            return
        while self._events and not (self._closed or self._gone):
            await self._changed.wait()
        if not self._closed:
            self._events.append(event)
            self._tell()

    async def get(self) -> ASGIReceiveEvent:
        while not self._events:
            if self._gone:
                return {"type": "http.disconnect"}
            await self._changed.wait()
        event = self._events.popleft()
        self._tell()
        return event

    def close(self) -> None:
        self._closed = True
        self._events.clear()
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
