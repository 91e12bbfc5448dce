"""JSON for the doors that speak HTTP: strict on the way in, the same errors as MessagePack-RPC gives.

A body takes two looks, as a message of RPC does: is it fit to be decoded (JSON at all, keys distinct, strings that are
Unicode: msgspec alone would let some of it pass); does it fit its Struct. Vectors are numbers, or base64 of
little-endian float32; answers give base64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import EngramError, TooLarge, Unavailable, from_wire
from engram.limits import LIMITS, Limits
from engram.native._core import check_json
from engram.wire._messages import METHODS
from engram.wire._messages._base import Answer, Request
from engram.wire._refusals import from_json_flaw, from_validation

if TYPE_CHECKING:
    from collections.abc import Mapping

R = TypeVar("R", bound=msgspec.Struct)

encode = msgspec.json.Encoder().encode
"""Write an answer, or any Struct, as JSON."""


class HttpError(Answer, frozen=True, kw_only=True):
    """An error as HTTP carries it, beside a true status: what `ErrorInfo` says, with the text under `error`."""

    error: str
    code: str
    field: str | None = None
    retry_after_s: float | None = None
    current: str | None = None
    """Of a `conflict` over a key: the CID that the key names now; absent where it names none."""


_bodies = {request: msgspec.json.Decoder(tuple[request]) for request, _ in METHODS.values()}  # type: ignore[valid-type]
_answers = {request: msgspec.json.Decoder(answer) for request, answer in METHODS.values()}
_error = msgspec.json.Decoder(HttpError)


def check_body(body: bytes, limits: Limits = LIMITS) -> None:
    """Refuse a body that is over the limit, or not fit to be decoded: `TooLarge`, `BadRequest`."""
    if len(body) > limits.http_body_bytes:
        raise body_too_large(limits)
    if (flaw := check_json(body, limits.message_depth)) is not None:
        raise from_json_flaw(*flaw, limits)


def body_too_large(limits: Limits = LIMITS) -> TooLarge:
    """Give the error of a body over the limit."""
    return TooLarge(f"the body is larger than {limits.http_body_bytes} bytes; send the items in smaller batches")


def decode_request(
    request: type[Request[Any]], body: bytes, fields: Mapping[str, str] | None = None, limits: Limits = LIMITS
) -> Request[Any]:
    """Decode a body into a request; `fields` are those that stood elsewhere, such as in the path.

    Raises what the same request raises over RPC.
    """
    whole = _joined(body, fields) if fields else body
    check_body(body, limits)
    if fields and (flaw := check_json(whole, limits.message_depth)) is not None:
        raise from_json_flaw(*flaw, limits)
    try:
        decoded: Request[Any] = _bodies[request].decode(b"[" + whole + b"]")[0]
    except msgspec.ValidationError as error:
        raise from_validation(error, request) from None
    return decoded


def decode_body(kind: type[R], name: str, body: bytes, limits: Limits = LIMITS) -> R:
    """Decode a body into a Struct that is no request of `METHODS`; errors name it `name`."""
    check_body(body, limits)
    try:
        decoded: R = msgspec.json.decode(b"[" + body + b"]", type=tuple[kind])[0]  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise from_validation(error, kind, name) from None
    return decoded


def encode_error(error: EngramError) -> bytes:
    """Give an error's body."""
    return encode(
        HttpError(
            error=error.message.encode("utf-8", "replace").decode(),
            code=error.code,
            field=error.field,
            retry_after_s=error.retry_after_s,
            current=error.current,
        )
    )


def decode_answer(request: type[Request[Any]], status: int, body: bytes) -> Answer | EngramError:
    """Give the answer that a node sent to a request, or its error, as an exception to raise.

    Raises `Unavailable` where who answered speaks something else: a proxy, another program, another version.
    """
    try:
        if 200 <= status < 300:
            return _answers[request].decode(body)
        info = _error.decode(body)
    except UNDECODABLE:
        raise Unavailable(f"the peer does not speak this version of Engram's HTTP: it answered {status}") from None
    return from_wire(info.code, info.error, info.field, info.retry_after_s, info.current)


def _joined(body: bytes, fields: Mapping[str, str]) -> bytes:
    """Put fields before those of an object; what is none is left, and refused for what it is."""
    start = body.find(b"{")
    if start < 0 or body[:start].strip(b" \t\r\n"):
        return body
    rest = body[start + 1 :]
    comma = b"" if rest.lstrip(b" \t\r\n").startswith(b"}") else b","
    return encode(fields)[:-1] + comma + rest
