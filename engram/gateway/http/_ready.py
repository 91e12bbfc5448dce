"""`GET /ready`: whether the node answers everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from engram.errors import ModelNotReady
from engram.gateway.http._endpoint import json_response
from engram.wire import Status

if TYPE_CHECKING:
    from starlette.responses import Response

    from engram.gateway.http._endpoint import Ask
    from engram.wire import StatusResult

_RETRY_S = 2.0


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
