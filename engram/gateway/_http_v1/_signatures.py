"""Signatures in a body, sans-IO: who signed this request, who owns this namespace.

A request is signed by three fields of its body: `hotkey` (ss58), `nonce` (unix time in ms) and `signature`, over
`{nonce}:{Endpoint}:{sha256}`, where sha256 is the hex hash of the body without those three, as JSON with sorted keys,
no blanks and ASCII escapes. So what was sent is read first, and then written again: blanks and the order of keys do not
matter, every value does. A namespace is claimed by `namespace_hotkey`, `namespace_sig` and `namespace_timestamp_ms`
over `engram-ns:{namespace}:{timestamp_ms}`; that covers no body, and stands for its owner only beside one of his own
requests, or on this machine.

Each is verified or refused with `Unauthenticated`. Half a signature is none, and none is no caller.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from engram.errors import BadRequest, Busy, Unauthenticated, Unprocessable
from engram.identity import from_ss58, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_FIELDS = ("hotkey", "nonce", "signature")
NAMESPACE_FIELDS = ("namespace_hotkey", "namespace_sig", "namespace_timestamp_ms")

_REQUEST_WINDOW_MS = 30_000
_NAMESPACE_WINDOW_MS = 60_000
_SIGNATURE = re.compile(r"(?:0x)?([0-9a-fA-F]{128})")
_BUCKET_MS = 1000
_REMEMBERED = 200_000
"""Nonces at most, of all callers: 30 MB. Verifying as many signatures takes the node 8 s of the 60 that they count."""


class Replays:
    """The nonces that were used, for as long as each could be used again."""

    def __init__(self, since_ms: int, limit: int = _REMEMBERED) -> None:
        """`since_ms`: the time now. What was signed before could have been used before."""
        self._since_ms = since_ms
        self._limit = limit
        self._used: dict[int, set[bytes]] = {}
        self._count = 0

    def use(self, public: bytes, nonce: int, now_ms: int) -> None:
        """Use a nonce that is in its window. `Unauthenticated` if it may have been used, `Busy` if too many were.

        Nothing is forgotten to make room, and a clock that is set back brings nothing back: either would let a
        signature in again.
        """
        self._forget(now_ms)
        if nonce < self._since_ms:
            raise Unauthenticated(
                "nonce: from before this node began to remember nonces; sign the request anew", field="nonce"
            )
        entry = public + nonce.to_bytes(8)
        bucket = self._used.setdefault(nonce // _BUCKET_MS, set())
        if entry in bucket:
            raise Unauthenticated(
                "nonce: this hotkey has used it already; sign each request anew, each with a millisecond of its own",
                field="nonce",
            )
        if self._count >= self._limit:
            raise Busy(
                f"nonce: this node remembers {self._limit} signed requests, which is its limit; wait a little",
                field="nonce",
                retry_after_s=1.0,
            )
        bucket.add(entry)
        self._count += 1

    def _forget(self, now_ms: int) -> None:
        oldest = (now_ms - _REQUEST_WINDOW_MS) // _BUCKET_MS
        for key in [key for key in self._used if key < oldest]:
            self._count -= len(self._used.pop(key))
        self._since_ms = max(self._since_ms, oldest * _BUCKET_MS)


def signer_of(body: Mapping[str, Any], endpoint: str, now_ms: int, replays: Replays) -> bytes | None:
    """Give the key that signed a request, None where nothing says that one did. Raises `Unauthenticated`, `Busy`."""
    if not _claimed(body, REQUEST_FIELDS, "a request's signature"):
        return None
    public = _key(body, "hotkey")
    nonce = _time(body, "nonce", now_ms, _REQUEST_WINDOW_MS)
    message = request_message(body, endpoint)
    if not verify(public, message, _signature(body, "signature")):
        raise Unauthenticated(
            f"signature: it is not the hotkey's over {{nonce}}:{endpoint}:{{sha256 of the other fields}}; sign the "
            "body as JSON with sorted keys, no blanks and ASCII escapes",
            field="signature",
        )
    replays.use(public, nonce, now_ms)
    return public


def owner_of(body: Mapping[str, Any], now_ms: int) -> bytes | None:
    """Give the key that claims the body's namespace, None where none does. Raises `Unauthenticated`, `BadRequest`."""
    if not _claimed(body, NAMESPACE_FIELDS, "a namespace's signature"):
        return None
    namespace = body.get("namespace")
    if not isinstance(namespace, str) or not namespace:
        raise BadRequest("namespace: it is missing beside its signature, so nobody can tell which", field="namespace")
    public = _key(body, "namespace_hotkey")
    timestamp_ms = _time(body, "namespace_timestamp_ms", now_ms, _NAMESPACE_WINDOW_MS)
    if not verify(public, namespace_message(namespace, timestamp_ms), _signature(body, "namespace_sig")):
        raise Unauthenticated(
            "namespace_sig: it is not the namespace_hotkey's over engram-ns:{namespace}:{namespace_timestamp_ms}",
            field="namespace_sig",
        )
    return public


def request_message(body: Mapping[str, Any], endpoint: str) -> bytes:
    """Give the bytes that the signer of a body signs; its `nonce` is in it."""
    rest = {name: value for name, value in body.items() if name not in REQUEST_FIELDS}
    written = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return f"{body['nonce']}:{endpoint}:{hashlib.sha256(written.encode()).hexdigest()}".encode()


def namespace_message(namespace: str, timestamp_ms: int) -> bytes:
    """Give the bytes that the owner of a namespace signs to claim it for a minute."""
    return f"engram-ns:{namespace}:{timestamp_ms}".encode()


def _claimed(body: Mapping[str, Any], names: tuple[str, ...], what: str) -> bool:
    missing = [name for name in names if body.get(name) is None]
    if missing and len(missing) < len(names):
        raise Unauthenticated(
            f"{missing[0]}: it is missing; {what} is the fields {', '.join(names)}, all or none", field=missing[0]
        )
    return not missing


def _key(body: Mapping[str, Any], name: str) -> bytes:
    address = body[name]
    try:
        if isinstance(address, str):
            return from_ss58(address)
    except Unprocessable:
        pass
    raise Unauthenticated(f"{name}: not the ss58 address of a key, with prefix 42", field=name)


def _time(body: Mapping[str, Any], name: str, now_ms: int, window_ms: int) -> int:
    time_ms = body[name]
    if type(time_ms) is not int:
        raise Unauthenticated(f"{name}: it must be unix time in milliseconds, a whole number", field=name)
    if abs(time_ms - now_ms) > window_ms:
        raise Unauthenticated(
            f"{name}: more than {window_ms // 1000} s from this node's clock, which says {now_ms}; is yours right?",
            field=name,
        )
    return time_ms


def _signature(body: Mapping[str, Any], name: str) -> bytes:
    text = body[name]
    found = _SIGNATURE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Unauthenticated(f"{name}: a signature is 0x and 128 hex digits", field=name)
    return bytes.fromhex(found[1])
