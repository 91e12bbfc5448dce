"""The application: which endpoint stands where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from starlette.applications import Starlette
from starlette.routing import Route

from engram.errors import DeadlineExceeded
from engram.gateway._http_v1 import ENDPOINTS, HttpV1
from engram.gateway.http._embeddings import NAME, embeddings, openai_error
from engram.gateway.http._endpoint import Ask, Endpoint, json_response
from engram.gateway.http._pages import docs, home, openapi
from engram.gateway.http._prometheus import metrics
from engram.gateway.http._ready import ready
from engram.gateway.http._rest import rest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from engram.gateway._http_v1 import Endpoint as V1Endpoint
    from engram.gateway.http._door import HttpDoor

    Handler = Callable[[Ask], Awaitable[Response]]


def application(door: HttpDoor) -> Starlette:
    """Give the ASGI application of a door."""
    app = Starlette(
        routes=[
            Route("/", Endpoint(door, "home", {"GET": home})),
            Route("/docs", Endpoint(door, "docs", {"GET": docs})),
            Route("/openapi.json", Endpoint(door, "openapi", {"GET": openapi})),
            Route("/ready", Endpoint(door, "ready", {"GET": ready})),
            Route("/metrics", Endpoint(door, "metrics", {"GET": metrics})),
            Route("/v1/embeddings", Endpoint(door, NAME, {"POST": embeddings}, openai_error)),
            *_first_engrams(door),
        ]
    )
    app.router.redirect_slashes = False
    app.router.default = Endpoint(door, "rest", {"*": rest})  # by the raw path: a key may hold what no pattern expects
    return app


def _first_engrams(door: HttpDoor) -> list[Route]:
    v1 = HttpV1(door.service, door.clock, door.settings.unsigned)
    by_path: dict[str, dict[str, Handler]] = {}
    for each in ENDPOINTS:
        by_path.setdefault(each.path, {})[each.verb] = _of_v1(v1, each)
    return [Route(path, Endpoint(door, path.split("/")[1], handlers)) for path, handlers in by_path.items()]


def _of_v1(v1: HttpV1, endpoint: V1Endpoint) -> Handler:
    async def handler(ask: Ask) -> Response:
        limit_s = ask.door.settings.call_deadline_s
        parameter = next(iter(ask.request.path_params.values()), "")
        with trio.move_on_after(limit_s):
            return json_response(ask.door, await endpoint.serve(v1, parameter, ask.body, ask.local))
        raise DeadlineExceeded(f"{ask.method} took longer than {limit_s:g} s; a put can be sent again")

    return handler
