"""What `engram-node doctor` looks at on the network: the ports."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from engram.cli._doctor_check import Check
from engram.errors import EngramError

if TYPE_CHECKING:
    from engram.node import Config

_TIMEOUT_S = 2.0


def check_port(config: Config) -> Check:
    """Judge whether the port is free, or which node answers there."""
    url = f"engram://{config.host}:{config.port}"
    if config.port == 0:
        return Check("port", "ok", "0: any free one")
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.host, config.port))
    except PermissionError:
        return Check("port", "fail", f"{config.port} needs a right that you lack", "take a port from 1024 up")
    except OSError:
        return _neighbour(url, config.port)
    return Check("port", "ok", f"{config.port} is free")


def _neighbour(url: str, port: int) -> Check:
    from engram.sdk import EngramClient

    try:
        with EngramClient(url, timeout=_TIMEOUT_S) as client:
            status = client.status()
    except EngramError:
        return Check("port", "fail", f"{port} is taken by another program", "take another with --port")
    return Check("port", "ok", f"a node answers at {url}: engram {status.version}, {status.records:,} records")
