"""Addresses of embedding servers."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import msgspec

DEFAULT_PORTS = {"http": 80, "https": 443}
"""The schemes that there are, and the port that each has where none is named."""


class Url(msgspec.Struct, frozen=True):
    """Where a server is. `path` has no slash at its end."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def on_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_url(text: str) -> Url:
    """Take a URL apart. Raises `ValueError`, without the text, for what is no plain address of a server.

    A name and password, a query and a fragment are refused: they may be secrets, and a URL is shown in messages.
    """
    if not text.isascii() or any(letter.isspace() or not letter.isprintable() for letter in text):
        raise ValueError("it has letters that no URL has")
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("it does not begin with https:// or http:// and a host")
    if "@" in parts.netloc:
        raise ValueError("it has a name or a password; a key goes into the variable that api_key_env names")
    if "?" in text or "#" in text:
        raise ValueError("it has a ? or a #, which an address of this kind has not")
    return Url(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))
