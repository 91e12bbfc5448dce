"""What `engram-node doctor` looks at on the network: the ports, and the certificate."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from engram.cli._doctor_check import Check
from engram.errors import EngramError

if TYPE_CHECKING:
    from engram.node import Config

_TIMEOUT_S = 2.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a node that listens there is asked here


def check_port(config: Config) -> Check:
    """Judge whether the port of RPC is free, or which node answers there."""
    return _port("port", config.host, config.port, "engram")


def check_http_port(config: Config) -> Check:
    """Judge whether the port of HTTP is free, or which node answers there."""
    if config.http_port < 0:
        return Check("HTTP port", "ok", "no HTTP (http_port = -1)")
    if config.http_port and config.http_port == config.port:
        return Check("HTTP port", "fail", f"{config.http_port} is the port of RPC too", "take another: --http-port")
    return _port("HTTP port", config.host, config.http_port, "http")


def _port(name: str, host: str, port: int, scheme: str) -> Check:
    if port == 0:
        return Check(name, "ok", "0: any free one")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        return Check(name, "fail", f"{port} needs a right that you lack", "take a port from 1024 up")
    except OSError as error:
        return _neighbour(name, host, port, scheme, error.strerror or str(error))
    return Check(name, "ok", f"{port} is free")


def _neighbour(name: str, host: str, port: int, scheme: str, refused: str) -> Check:
    from engram.sdk import EngramClient

    there = _ANYWHERE.get(host, host)
    url = f"{scheme}://[{there}]:{port}" if ":" in there else f"{scheme}://{there}:{port}"
    try:
        with EngramClient(url, timeout=_TIMEOUT_S) as client:
            status = client.status()
    except EngramError:
        flag = name.lower().replace(" ", "-")
        return Check(name, "fail", f"{port} cannot be had: {refused}, and no node answers", f"take another: --{flag}")
    return Check(name, "ok", f"a node answers at {url}: engram {status.version}, {status.records:,} records")
