"""Who may ask: the operator on this machine, and not a page of somebody else's in the operator's browser.

An unsigned request from loopback speaks with the node's key. A browser on this machine is on loopback too, and runs
whatever pages it is shown. So a request is the operator's only if it names this machine (`Host`: a page whose name was
rebound to 127.0.0.1 names another one), comes from a page of this node or from none (`Origin`, `Sec-Fetch-Site`), and
came through no proxy. A body must say that it is JSON, which no form can.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from engram.errors import Forbidden
from engram.gateway._streams import is_loopback

if TYPE_CHECKING:
    from starlette.requests import Request

_PROXIED = (
    "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip",
    "cdn-loop",
)  # fmt: skip
_PROXIED_ALIKE = ("x-forwarded", "x-envoy-", "x-original-forwarded")
"""How other headers of proxies begin."""


def is_local(request: Request, host: str) -> bool:
    """Say whether a request is the operator's. `host`: the name that the node was told to listen at.

    Raises `Forbidden` for what comes from a page of another site, or to a name that is not this machine's.
    """
    _refuse_other_sites(request)
    if request.client is None or not is_loopback(request.client.host):
        return False
    if any(name in _PROXIED or name.startswith(_PROXIED_ALIKE) for name in request.headers):
        return False
    asked = request.headers.get("host", "")
    if asked and not _is_ours(asked, host):
        raise Forbidden(
            f"host {asked[:80]!r} is not a name of this machine; ask for 127.0.0.1 or localhost", field="host"
        )
    return True


def _refuse_other_sites(request: Request) -> None:
    origin = request.headers.get("origin")
    ours = f"{request.url.scheme}://{request.headers.get('host', '')}"
    site = request.headers.get("sec-fetch-site", "none")
    followed = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
    if (origin is not None and origin != ours) or (site not in ("same-origin", "none") and not followed):
        raise Forbidden("a page of another site may not ask this node", field="origin")


def _is_ours(asked: str, host: str) -> bool:
    name = _without_port(asked).lower().rstrip(".")
    if name in ("localhost", host.lower()) or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _without_port(asked: str) -> str:
    if asked.startswith("["):
        return asked[1:].partition("]")[0]
    return asked.partition(":")[0]
