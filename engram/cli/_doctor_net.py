"""What `engram-node doctor` looks at on the network: the ports, the certificate, and who challenges whom."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from engram.cli._doctor_check import Check
from engram.cli._text import duration
from engram.errors import EngramError

if TYPE_CHECKING:
    from pathlib import Path

    from engram.node import Config

_TIMEOUT_S = 2.0
_FOR_OTHERS = 0o077
_SOON = timedelta(days=14)
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


def check_tls(config: Config) -> Check | None:
    """Judge the certificate that is shown to other machines, and its key, where files of them are configured."""
    if config.tls_cert is None or config.tls_key is None:
        return None
    import ssl

    for file in (config.tls_cert, config.tls_key):
        if not os.access(file, os.R_OK) or not file.is_file():
            return Check("TLS", "fail", f"{file} cannot be read", "name PEM files in tls_cert and tls_key, or neither")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_cert, config.tls_key, _no_passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        advice = "tls_cert wants the certificate with its chain, tls_key its own key without a passphrase, both PEM"
        return Check("TLS", "fail", f"{config.tls_cert} and {config.tls_key}: {error}", advice)
    if config.tls_key.stat().st_mode & _FOR_OTHERS:
        return Check("TLS", "warn", f"{config.tls_key} can be read by others", f"chmod 600 {config.tls_key}")
    return _validity(config.tls_cert)


def check_challenges(config: Config) -> Check | None:
    """Say who may challenge this node, and whom it challenges, where the configuration says either."""
    said = []
    if config.challengers:
        said.append(f"challenged by its own key and {', '.join(config.challengers)}")
    if (spec := config.challenge) is not None:
        said.append(f"challenges {', '.join(spec.nodes)} every {duration(spec.every_s)}, {spec.m} records each")
    return Check("challenges", "ok", "; ".join(said)) if said else None


def _validity(certificate: Path) -> Check:
    from cryptography import x509

    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    left = ends - datetime.now(UTC)
    found = f"{certificate}, valid to {ends:%Y-%m-%d}"
    if left < timedelta(0):
        return Check("TLS", "fail", found, "it has run out: get a new one")
    if left < _SOON:
        return Check("TLS", "warn", found, "get a new one soon; the node reads it when it starts")
    return Check("TLS", "ok", found)


def _no_passphrase() -> str:
    """Answer in place of OpenSSL, which would ask on the terminal."""
    return ""


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
