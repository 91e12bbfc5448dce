"""What the door says of itself: whether it is ready, its description, and the page that shows it."""

from __future__ import annotations

import functools
import importlib.resources
from typing import TYPE_CHECKING, cast

import msgspec
from starlette.responses import RedirectResponse, Response

from engram.errors import ModelNotReady
from engram.gateway.http._endpoint import HEADERS, JSON, json_response
from engram.gateway.http._openapi import description
from engram.wire import Status

if TYPE_CHECKING:
    from engram.gateway.http._endpoint import Ask
    from engram.wire import StatusResult

_RETRY_S = 2.0
_PAGE_HEADERS = HEADERS | {
    "content-security-policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
}


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The node answers everything: its embedding model is loaded."""

    status: str = "ready"


async def ready(ask: Ask) -> Response:
    """Answer `GET /ready`: `model_not_ready` until texts can be embedded."""
    model = cast("StatusResult", await ask.call(Status())).model
    if model.state == "ready":
        return json_response(ask.door, Ready())
    why = f": {model.message}" if model.message else ""
    raise ModelNotReady(
        f"the embedding model is {model.state}{why}; vectors work meanwhile",
        retry_after_s=None if model.state == "failed" else _RETRY_S,
    )


async def openapi(_: Ask) -> Response:
    """Answer `GET /openapi.json`."""
    return Response(_description(), 200, HEADERS, JSON)


async def docs(_: Ask) -> Response:
    """Answer `GET /docs`. The page holds all that it needs, and asks nobody but this node."""
    return Response(_page(), 200, _PAGE_HEADERS, "text/html; charset=utf-8")


async def home(_: Ask) -> Response:
    """Answer `GET /`."""
    return RedirectResponse("/docs", 307)


@functools.cache
def _description() -> bytes:
    return msgspec.json.encode(description())


@functools.cache
def _page() -> bytes:
    return importlib.resources.files("engram.gateway.http").joinpath("docs.html").read_bytes()
