"""An endpoint's edge: from a request to what its handler is given, and from what becomes of it to a response."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from engram.errors import EngramError, TooLarge
from engram.gateway.http._bodies import body_of
from engram.gateway.http._door import ClientGone
from engram.gateway.http._guard import is_local
from engram.identity import ANONYMOUS, OPERATOR
from engram.wire import encode_error, wrong_verb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from engram.gateway.http._door import HttpDoor
    from engram.identity import Caller
    from engram.wire import Answer
    from engram.wire import Request as Call

JSON = "application/json"
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

_encode = msgspec.json.Encoder().encode


class Ask:
    """A request as handlers have it. `method`: what it is called in the metrics."""

    def __init__(self, door: HttpDoor, request: Request, body: bytes, method: str, *, local: bool) -> None:
        self.door = door
        self.request = request
        self.body = body
        self.method = method
        self.local = local
        """Whether it is the operator's: `is_local`."""

    @property
    def caller(self) -> Caller:
        """Who asks, where nothing is signed."""
        return OPERATOR if self.local else ANONYMOUS

    async def call(self, call: Call[Any]) -> Answer:
        """Have the Service carry out a call, until the client goes."""
        return await self.door.call(call, self.caller, self.gone)

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


class Endpoint:
    """An ASGI application: handlers by verb, behind one guard."""

    def __init__(
        self,
        door: HttpDoor,
        name: str,
        handlers: Mapping[str, Callable[[Ask], Awaitable[Response]]],
        written: Callable[[EngramError], bytes] = encode_error,
    ) -> None:
        """`name`: what the metrics call it. A handler under `*` takes every verb. `written`: how errors are."""
        self._door = door
        self._name = name
        self._handlers = handlers
        self._written = written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Nothing but a cancellation leaves here."""
        started = self._door.clock.monotonic()
        request = Request(scope, receive)
        method, code = self._name, "ok"
        try:
            local = is_local(request, self._door.host)
            async with body_of(self._door, request, near=local) as body:
                ask = Ask(self._door, request, body, method, local=local)
                try:
                    response = await self._handler(request)(ask)
                finally:
                    method = ask.method
        except ClientGone:
            self._door.metrics.count("http", method, "gone", self._door.clock.monotonic() - started)
            return
        except EngramError as error:
            response, code = self._refusal(error), error.code
        except Exception as error:  # noqa: BLE001 - the gateway's edge: a bug is answered, and logged without users' text
            failed = self._door.internal(method, error)
            response, code = self._refusal(failed), failed.code
        self._door.metrics.count("http", method, code, self._door.clock.monotonic() - started)
        await response(scope, receive, send)

    def _refusal(self, error: EngramError) -> Response:
        """Give an error with its true status."""
        headers = dict(HEADERS)
        if error.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(error.retry_after_s))
        if allowed := getattr(error, "allowed", None):
            headers["allow"] = ", ".join(allowed)
        return Response(self._written(error), error.http_status, headers, JSON)

    def _handler(self, request: Request) -> Callable[[Ask], Awaitable[Response]]:
        verb = "GET" if request.method == "HEAD" else request.method
        found = self._handlers.get(verb) or self._handlers.get("*")
        if found is None:
            raise wrong_verb(request.method, self._handlers)
        return found


def json_response(door: HttpDoor, answer: msgspec.Struct, status: int = 200) -> Response:
    """Give an answer as JSON. Raises `TooLarge` for one that no message may be as large as."""
    body = _encode(answer)
    limit = door.limits.http_body_bytes
    if len(body) > limit:
        raise TooLarge(f"the answer has {len(body)} bytes, and a body at most {limit}; ask for less at once")
    return Response(body, status, HEADERS, JSON)
