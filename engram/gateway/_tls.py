"""TLS 1.3: the certificate that a node shows, and how the RPC door encrypts. `formats.md` §6.

The names in a certificate prove nothing here: who the node is, its signature in `hello` says, which binds the
certificate. So a self-signed one is as good as any.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path  # noqa: TC003 - a field's type
from typing import TYPE_CHECKING

import msgspec

from engram.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Sequence

ALPN = "engram/1"

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Certificate(msgspec.Struct, frozen=True):
    """A certificate and its key, as files. `der`: the certificate itself, which `hello` binds."""

    certificate_file: Path
    key_file: Path
    der: bytes


def read_certificate(certificate_file: Path, key_file: Path) -> Certificate:
    """Read a certificate, with its chain behind it, and its key from PEM files.

    Raises `Unprocessable` with the file and what is wrong with it, in the terms of node.toml's keys.
    """
    data = _read(certificate_file, "tls_cert")
    _read(key_file, "tls_key")
    found = _PEM.search(data)
    if found is None:
        raise Unprocessable(f"tls_cert {certificate_file}: there is no PEM certificate in it", field="tls_cert")
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0].decode("ascii"))
    except ValueError as error:
        raise Unprocessable(f"tls_cert {certificate_file}: it is damaged: {error}", field="tls_cert") from None
    certificate = Certificate(certificate_file, key_file, der)
    ssl_context_of(certificate, [ALPN])
    return certificate


def ssl_context_of(certificate: Certificate, protocols: Sequence[str]) -> ssl.SSLContext:
    """Give the context of a server that speaks TLS 1.3 and `protocols` (ALPN).

    It gives no session tickets: a resumed session would show no certificate. Raises as `read_certificate` does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.set_alpn_protocols(list(protocols))
    try:
        context.load_cert_chain(certificate.certificate_file, certificate.key_file, _no_passphrase)
    except OSError as error:  # an SSLError is one
        raise _refusal(certificate, error) from None
    except ValueError:
        raise _refusal(certificate, None) from None
    return context


def _no_passphrase() -> str:
    """Refuse to be asked: without this OpenSSL would ask at the terminal."""
    raise ValueError


def _refusal(certificate: Certificate, error: OSError | None) -> Unprocessable:
    key = f"tls_key {certificate.key_file}"
    if error is None:
        return Unprocessable(
            f"{key}: it has a passphrase, and a node has nobody to ask; store it without", field="tls_key"
        )
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return Unprocessable(f"{key}: it is not the key of {certificate.certificate_file}", field="tls_key")
    return Unprocessable(
        f"{key}: it and {certificate.certificate_file} are no key and certificate in PEM that TLS 1.3 takes ({reason})",
        field="tls_key",
    )


def _read(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unprocessable(f"{field} {path}: cannot be read: {error.strerror}", field=field) from None
