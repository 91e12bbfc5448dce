"""The log's events as a stream of server-sent events, as browsers read them.

Each event's `id` is the position to go on from, which a browser sends back as `Last-Event-ID` after a break; so do
heartbeats, since what nobody asked for is passed over in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
import trio
from starlette.responses import Response

from engram.errors import BadRequest, Busy, EngramError
from engram.gateway._places import share
from engram.gateway.http._door import ClientGone
from engram.gateway.http._endpoint import HEADERS
from engram.wire import encode_error

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from engram.gateway.http._endpoint import Ask
    from engram.wire import EventInfo, Events, EventsResult

_RETRY_MS = 1000
_BUSY_S = 5.0

_encode = msgspec.json.Encoder().encode


def wants_stream(request: Request) -> bool:
    """Say whether a request is for a stream, and not for one answer."""
    return request.method == "GET" and "text/event-stream" in request.headers.get("accept", "")


async def event_stream(ask: Ask, call: Events) -> Response:
    """Give the stream of what `call` asks for, from `Last-Event-ID` on where that came.

    What can be refused is refused before it begins.
    """
    limit = share(ask.door.settings.streams, near=ask.local)
    if ask.door.streams >= limit:
        raise Busy(f"{limit} event streams are open, which is the limit", retry_after_s=_BUSY_S)
    last = ask.request.headers.get("last-event-id")
    if last is not None:
        if not (last.isascii() and last.isdigit() and len(last) < 19):
            raise BadRequest(f"last-event-id {last[:80]!r} is no position", field="last-event-id")
        call = msgspec.structs.replace(call, since=int(last))
    first = cast("EventsResult", await ask.call(msgspec.structs.replace(call, wait_s=0.0)))
    return _EventStream(ask, msgspec.structs.replace(call, wait_s=ask.door.settings.heartbeat_s), first)


class _EventStream(Response):
    """Sends events until the client goes, the node stops, or the Service says that it cannot go on."""

    def __init__(self, ask: Ask, call: Events, first: EventsResult) -> None:
        super().__init__(None, 200, HEADERS, "text/event-stream")
        del self.headers["content-length"]
        self._ask = ask
        self._call = call
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        """Send the whole stream."""
        door = self._ask.door
        door.streams += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(send, f"retry: {_RETRY_MS}\n\n".encode())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_with_the_node, nursery.cancel_scope)
                await self._follow(send)
                nursery.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b""})
        finally:
            door.streams -= 1

    async def _follow(self, send: Send) -> None:
        call, found = self._call, self._first
        while True:
            await self._send(send, b"".join(map(_block, found.events)) + f": alive\nid: {found.next}\n\n".encode())
            call = msgspec.structs.replace(call, since=found.next)
            try:
                found = cast("EventsResult", await self._ask.call(call))
            except ClientGone:
                return
            except EngramError as error:
                await self._send(send, b"event: error\ndata: " + encode_error(error) + b"\n\n")
                return

    async def _send(self, send: Send, data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end_with_the_node(self, stream: trio.CancelScope) -> None:
        await self._ask.door.stopping.wait()
        stream.cancel()


def _block(event: EventInfo) -> bytes:
    return f"id: {event.position + 1}\nevent: {event.type}\ndata: ".encode() + _encode(event) + b"\n\n"
