"""What the door says of itself: its description, and the page that shows it."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import RedirectResponse, Response

from engram.gateway.http._endpoint import HEADERS, JSON
from engram.gateway.http._openapi import description

if TYPE_CHECKING:
    from engram.gateway.http._endpoint import Ask


async def openapi(_: Ask) -> Response:
    """Answer `GET /openapi.json`."""
    return Response(_description(), 200, HEADERS, JSON)


async def docs(_: Ask) -> Response:
    """Answer `GET /docs`. The page holds all that it needs, and asks nobody but this node."""
    page, headers = _page()
    return Response(page, 200, headers, "text/html; charset=utf-8")


async def home(_: Ask) -> Response:
    """Answer `GET /`."""
    return RedirectResponse("/docs", 307)


@functools.cache
def _description() -> bytes:
    return msgspec.json.encode(description())


@functools.cache
def _page() -> tuple[bytes, dict[str, str]]:
    """Give the page, and headers under which it runs its own script and no other, and stands in no other's frame."""
    page = importlib.resources.files("engram.gateway.http").joinpath("docs.html").read_bytes()
    script = page.partition(b"<script>")[2].partition(b"</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, HEADERS | {"content-security-policy": policy, "referrer-policy": "no-referrer"}
