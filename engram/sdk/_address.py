"""Where a node is: `engram://host:port`, or `http://` and `https://` with any path before the node's own."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

import msgspec

from engram.errors import BadRequest

DEFAULT_URL = "engram://127.0.0.1:8090"
_PORTS = {"engram": 8090, "http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>engram|https?)://(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\[\]:/@?#\s]+))(?::(?P<port>\d{1,9}))?"
    r"(?P<path>/[^?#\s]*)?"
)


class Address(msgspec.Struct, frozen=True):
    """Where a node is."""

    scheme: Literal["engram", "http", "https"]
    host: str
    port: int
    path: str
    """What stands before the node's own paths; nothing, or it begins with a slash and ends without one."""
    url: str


def parse_url(url: str) -> Address:
    """Give the address in a URL. Raise `BadRequest` for what is none."""
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise BadRequest(f"{url!r:.200} is no address of a node; {_EXAMPLES}", field="url")
    scheme: Literal["engram", "http", "https"] = found["scheme"]  # type: ignore[assignment]
    port = int(found["port"] or _PORTS[scheme])
    if not 1 <= port <= 65535:
        raise BadRequest(f"{url}: a port is 1 to 65535", field="url")
    path = (found["path"] or "").rstrip("/")
    if path and scheme == "engram":
        raise BadRequest(f"{url}: engram:// has no path; {_EXAMPLES}", field="url")
    return Address(scheme, found["v6"] or found["host"], port, path, url)


_EXAMPLES = f"one is {DEFAULT_URL}, or http://127.0.0.1:8091"


def names_loopback(host: str) -> bool:
    """Say whether a host's name, or address, is this machine's for itself; of other names only the system knows."""
    try:
        return is_loopback(host)
    except ValueError:
        return host == "localhost"


def is_loopback(ip: str) -> bool:
    """Say whether an IP address is this machine's own way to itself."""
    found = ipaddress.ip_address(ip.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
