"""REST: every request of `engram.wire.ROUTES` where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from engram.gateway.http._endpoint import json_response
from engram.gateway.http._events import event_stream, wants_stream
from engram.wire import Events, NamespaceCreate, Put, find_route, request_at

if TYPE_CHECKING:
    from starlette.responses import Response

    from engram.gateway.http._endpoint import Ask
    from engram.wire import Answer, PutResult

_CREATES = (Put, NamespaceCreate)


async def rest(ask: Ask) -> Response:
    """Answer a request at `/v1/…`."""
    request = ask.request
    verb = "GET" if request.method == "HEAD" else request.method
    kind, fields = find_route(verb, request.scope["raw_path"])
    ask.method = kind.method
    call = request_at(kind, fields, request.scope["query_string"], ask.body, ask.door.limits)
    if isinstance(call, Events) and wants_stream(request):
        return await event_stream(ask, call)
    answer = await ask.call(call)
    return json_response(ask.door, answer, 201 if kind in _CREATES and _created(answer) else 200)


def _created(answer: Answer) -> bool:
    """Say whether something is there now that was not."""
    return cast("PutResult", answer).created if hasattr(answer, "created") else True
