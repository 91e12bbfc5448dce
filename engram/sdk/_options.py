"""What a client is made with, checked at once, so that a wrong option is said where it stands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engram.errors import BadRequest, EngramError
from engram.identity import NodeKey, from_ss58
from engram.sdk._address import Address, parse_url

_SEED_BYTES = 32

_NOT_HERE = {
    "namespace": "give `namespace=` to each call, as in client.query(…, namespace='notes')",
    "miner_url": "it is called url here, and is the first argument",
    "netuid": "finding nodes on a chain is not built yet; give the url of one, as in EngramClient('http://…:8091')",
    "namespace_key": "namespaces with a key of their own are not built yet; a namespace is its owner's",
    "keypair": "calls that a hotkey signs are not built into this client; over engram://, `key=` proves a node key",
}
"""Options of the first Engram's client, and what stands in their place."""


class Signer(Protocol):
    """An Ed25519 key pair, such as `engram.identity.NodeKey`."""

    @property
    def public(self) -> bytes:
        """The 32 bytes of its public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Give the 64 bytes of its signature."""
        ...


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `EngramClient` takes, in the form in which it is used."""

    address: Address
    timeout_s: float
    node_key: bytes | None
    key: Any
    tls: bool | None
    ca: str | None
    verify: bool

    def signer(self) -> Signer | None:
        """Give what proves who calls, if anything does."""
        return NodeKey(self.key) if isinstance(self.key, bytes) else self.key


def checked_options(
    url: str,
    timeout: float,
    *,
    node_key: str | None,
    key: object,
    tls: bool | None,
    ca: object,
    verify: bool,
    others: dict[str, object],
) -> Options:
    """Give the options of a client. Raise `BadRequest`, with the option as its field, for one that will not do."""
    for name in others:
        hint = _NOT_HERE.get(name, "the options are url, timeout, node_key, key, tls, ca and verify")
        raise BadRequest(f"{name}: this client has no such option: {hint}", field=name)
    address = parse_url(url)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise BadRequest(f"timeout: expected a number of seconds above 0, got {timeout!r:.80}", field="timeout")
    for name, flag in (("tls", tls or False), ("verify", verify)):
        if not isinstance(flag, bool):
            raise BadRequest(f"{name}: expected True or False, got {type(flag).__name__}", field=name)
    if address.scheme == "engram" and not verify:
        raise BadRequest("verify: engram:// never goes without; give node_key, which needs no CA", field="verify")
    for name, given in (("node_key", node_key), ("key", key), ("tls", tls)):
        if given is not None and address.scheme != "engram":
            raise BadRequest(f"{name}: it is of engram:// alone, and {url} is {address.scheme}://", field=name)
    return Options(
        address=address,
        timeout_s=float(timeout),
        node_key=None if node_key is None else _public(node_key),
        key=_key(key),
        tls=tls,
        ca=_file(ca),
        verify=verify,
    )


def _public(node_key: object) -> bytes:
    try:
        if isinstance(node_key, str):
            return from_ss58(node_key)
    except EngramError as error:
        raise BadRequest(f"node_key: {error.message}", field="node_key") from None
    raise BadRequest(f"node_key: expected an ss58 address, got {type(node_key).__name__}", field="node_key")


def _key(key: object) -> object:
    if isinstance(key, bytes | bytearray):
        if len(key) == _SEED_BYTES:
            return bytes(key)
        raise BadRequest(f"key: a seed has {_SEED_BYTES} bytes, and this one {len(key)}", field="key")
    if key is None or (isinstance(getattr(key, "public", None), bytes) and callable(getattr(key, "sign", None))):
        return key
    raise BadRequest(f"key: expected a seed of {_SEED_BYTES} bytes, or `public` and `sign(bytes)`", field="key")


def _file(ca: object) -> str | None:
    if ca is None:
        return None
    try:
        if Path(ca).is_file():  # type: ignore[arg-type]
            return str(ca)
    except (TypeError, ValueError):
        raise BadRequest(f"ca: expected the path of a PEM file, got {type(ca).__name__}", field="ca") from None
    raise BadRequest(f"ca: no file {str(ca)!r:.200}", field="ca")
