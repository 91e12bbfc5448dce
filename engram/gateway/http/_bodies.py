"""Reading a request's body: never more than the limits allow, never longer, and refused before it has come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from engram.errors import BadRequest, DeadlineExceeded
from engram.gateway.http._door import ClientGone
from engram.wire import body_too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from engram.gateway.http._door import HttpDoor


class UnsupportedMedia(BadRequest):
    """The body is of a type that is not read here. Send `application/json`."""

    http_status = 415


class TooSlow(DeadlineExceeded):
    """The request did not come in time."""

    http_status = 408


@contextlib.asynccontextmanager
async def body_of(door: HttpDoor, request: Request, *, near: bool) -> AsyncIterator[bytes]:
    """Give a request's body, which counts among what the door holds until this ends. `near`: as `Door.holds`.

    Raises `TooLarge`, `UnsupportedMedia`, `TooSlow`, `Busy`, or `ClientGone`.
    """
    announced = request.headers.get("content-length", "0")
    if int(announced) > door.limits.http_body_bytes:  # h11 has seen to it that it is a number
        raise body_too_large(door.limits)
    if announced != "0" or "transfer-encoding" in request.headers:
        _check_media(request)
    held = 0
    parts: list[bytes] = []
    try:
        with trio.CancelScope(deadline=trio.current_time() + door.settings.silence_deadline_s) as reading:
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                parts.append(part)
                held += len(part)
                door.held_bytes += len(part)
                reading.deadline += len(part) / door.settings.body_bytes_per_s
                if held > door.limits.http_body_bytes:
                    raise body_too_large(door.limits)
                if held and not door.holds(0, near=near):
                    raise door.busy(near=near)
                if not message.get("more_body", False):
                    break
        if reading.cancelled_caught:
            raise TooSlow("half a body came, and no more in time")
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        yield body
    finally:
        door.held_bytes -= held


def _check_media(request: Request) -> None:
    came = request.headers.get("content-type", "")
    kind, _, parameters = came.partition(";")
    kind = kind.strip().lower()
    charset = parameters.replace(" ", "").lower()
    if (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))) and charset in (
        "",
        "charset=utf-8",
        'charset="utf-8"',
    ):
        return
    raise UnsupportedMedia(f"content-type {came[:80]!r}: a body is application/json, in UTF-8", field="content-type")
