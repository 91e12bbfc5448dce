"""The certificate that a node shows off loopback: the operator's, or one that it makes for itself and keeps.

What it makes is `keys/tls.key` (an EC key on P-256, which browsers take too; mode 0600) and `keys/tls.crt`, each made
durable before it has its name, the key first. It is valid without end: who the node is says its signature in `hello`,
and a certificate that ran out would only stop it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from engram.errors import FolderRefused
from engram.gateway import read_certificate

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from engram.gateway import Certificate
    from engram.ports import Disk, Rng

_BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_NO_END = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
"""RFC 5280 §4.1.2.5: of a certificate that has no well-defined expiration."""
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256."""
_FILE_BYTES = 1 << 20


def certificate_of(files: tuple[Path, Path] | None, disk: Disk, data_dir: Path, rng: Rng, host: str) -> Certificate:
    """Give the certificate in `files` (certificate and key), or the node's own, made durably where there is none.

    `host`: where it listens, which its own is to name. Raises `Unprocessable` for files of the
    operator's that will not do, `FolderRefused` for a key in the data folder that is damaged.
    """
    if files is not None:
        return read_certificate(*files)
    folder = data_dir / "keys"
    key_file, certificate_file = folder / "tls.key", folder / "tls.crt"
    disk.make_folder(folder)
    if not disk.exists(key_file):
        _forget(disk, certificate_file)  # it would not fit the next key
        _write(disk, key_file, _new_key(rng), private=True)
    if not disk.exists(certificate_file):
        _write(disk, certificate_file, _new_certificate(disk, key_file, rng, host), private=False)
    disk.sync_folder(folder)  # who made them may have been killed before their names were durable
    return read_certificate(certificate_file, key_file)


def _new_key(rng: Rng) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 (28 ms, and loopback needs none)
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    secret = int.from_bytes(rng.bytes(48)) % (_ORDER - 1) + 1
    return ec.derive_private_key(secret, ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _new_certificate(disk: Disk, key_file: Path, rng: Rng, host: str) -> bytes:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    key = _key_in(disk, key_file)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "engram node")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(rng.bytes(16)) + 1)
        .not_valid_before(_BEGIN)
        .not_valid_after(_NO_END)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_in(disk: Disk, path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    file = disk.open(path, writable=False)
    try:
        data = file.read(0, _FILE_BYTES)
    finally:
        file.close()
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FolderRefused(f"{path} is not the key that a node makes; remove it, and the node makes another")
    return key


def _names(host: str) -> list[x509.GeneralName]:
    from cryptography import x509  # noqa: PLC0415

    near = (ipaddress.ip_address(address) for address in ("127.0.0.1", "::1"))
    names = [x509.DNSName("localhost"), *map(x509.IPAddress, near)]
    if host != "localhost" and not (address := ipaddress.ip_address(host)).is_unspecified:
        names.append(x509.IPAddress(address))
    return names


def _write(disk: Disk, path: Path, data: bytes, *, private: bool) -> None:
    fresh = path.with_name(path.name + ".new")
    _forget(disk, fresh)
    file = disk.open(fresh, create=True, private=private)
    try:
        file.write(0, data)
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, path)
    disk.sync_folder(path.parent)


def _forget(disk: Disk, path: Path) -> None:
    """Remove a file, if it is there, durably."""
    if disk.exists(path):
        disk.remove(path)
        disk.sync_folder(path.parent)
