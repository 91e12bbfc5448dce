"""Where a request stands in HTTP, there and back: verb, target and body from a request, and the request from them.

A server matches the raw path: what is percent-encoded is decoded within a segment only, so that a key may hold slashes.
In a query string `+` is a space, as forms have it; a name that comes twice is refused.
"""

from __future__ import annotations

import array
import functools
import math
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, unquote_to_bytes

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import BadRequest, TooLarge, UnknownMethod, Unprocessable
from engram.limits import LIMITS, Limits
from engram.wire._codec import check_sendable
from engram.wire._json import decode_request, encode
from engram.wire._messages._base import Expect, Request
from engram.wire._messages._reading import Query
from engram.wire._messages._writing import Item, Put, PutMany
from engram.wire._refusals import from_validation, unknown_path
from engram.wire._rest import ROUTES, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

R = TypeVar("R", Put, Query, Item)


# -- asking -----------------------------------------------------------------------------------------------------------


class HttpCall(msgspec.Struct, frozen=True):
    """What to ask of a node over HTTP. `body`: JSON; None where there is none to send."""

    verb: str
    target: str
    body: bytes | None


def http_call(request: Request[Any], limits: Limits = LIMITS) -> HttpCall:
    """Give a request as HTTP carries it. Raise `TooLarge`, `BadRequest` or `Unprocessable` for what no node would take.

    Raises `UnknownMethod` for the requests of a connection, such as `hello`, which HTTP has not.
    """
    route = ROUTES.get(type(request))
    if route is None:
        raise UnknownMethod(f"{request.method} is of a connection's, and HTTP has no such call", field="method")
    check_sendable(request, limits)
    sent = _sendable(request)
    values = {name: value for name, value, default in _fields(sent) if value is not msgspec.UNSET and value != default}
    path = "/".join(
        _segment(getattr(sent, part[1:-1])) if part.startswith("{") else part for part in route.path.split("/")
    )
    for name in route.in_path:
        values.pop(name, None)
    if route.has_body:
        body = encode(values)
        if len(body) > limits.http_body_bytes:
            raise TooLarge(
                f"the {request.method} has {len(body)} bytes, and a body at most {limits.http_body_bytes};"
                " send the items in smaller batches"
            )
        return HttpCall(route.verb, path, body)
    query = "&".join(f"{name}={quote(_as_text(name, value), safe='')}" for name, value in values.items())
    return HttpCall(route.verb, f"{path}?{query}" if query else path, None)


def _segment(name: str) -> str:
    """Give a name as a segment of a path; one of dots alone would be taken for a step up or none."""
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


def _fields(request: msgspec.Struct) -> list[tuple[str, Any, Any]]:
    return [(sent, getattr(request, name), default) for sent, name, default in _defaults(type(request))]


@functools.cache
def _defaults(kind: type[msgspec.Struct]) -> list[tuple[str, str, Any]]:
    """Give each field's name on the wire, its name here, and its default."""
    return [(field.encode_name, field.name, field.default) for field in msgspec.structs.fields(kind)]


def _as_text(name: str, value: Any) -> str:
    if name == "types":
        return ",".join(value)
    return value if isinstance(value, str) else encode(value).decode()


def _sendable(request: Request[Any]) -> Request[Any]:
    """Give a request that JSON carries whole: it has no NaN, and would write other things as it likes."""
    match request:
        case Put():
            return _fit(request, "")
        case Query():
            return _fit(request, "")
        case PutMany():
            items = [_fit(item, f"items[{index}].") for index, item in enumerate(request.items)]
            return msgspec.structs.replace(request, items=items)
        case _:
            _check_json_value(getattr(request, "filter", None), "filter")
            return request


def _fit(request: R, place: str) -> R:
    for name in ("metadata", "filter"):
        _check_json_value(getattr(request, name, None), place + name)
    vector = request.vector
    if isinstance(vector, list) and not all(map(math.isfinite, vector)):
        return msgspec.structs.replace(request, vector=array.array("f", vector).tobytes())  # refused by the node
    return request


def _check_json_value(value: Any, path: str) -> None:
    if value is None or isinstance(value, (str, bool, int)):
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_json_value(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _check_json_value(inner, f"{path}[{index}]")
    elif not isinstance(value, float):
        raise Unprocessable(
            f"{path}: a {type(value).__name__} is not a JSON value; make it a string or a number", field=path
        )
    elif not math.isfinite(value):
        raise Unprocessable(f"{path}: {value} is not a number that JSON has (no NaN, no infinity)", field=path)


# -- being asked ------------------------------------------------------------------------------------------------------


class WrongVerb(UnknownMethod):
    """The path is known, and takes other verbs: those in `allowed`."""

    http_status = 405
    allowed: tuple[str, ...] = ()


def wrong_verb(verb: str, allowed: Iterable[str]) -> WrongVerb:
    """Give the error of a verb that a path has not."""
    verbs = tuple(sorted(allowed))
    error = WrongVerb(f"{verb[:16]!r} is no verb of this path, which takes {', '.join(verbs)}", field="method")
    error.allowed = verbs
    return error


def find_route(verb: str, path: bytes) -> tuple[type[Request[Any]], dict[str, str]]:
    """Give the request that stands at a raw path, and the fields that the path holds.

    Raises `UnknownMethod` for a path that none has, and `WrongVerb` for a verb that this one has not.
    """
    parts = path.split(b"/")
    found = [each for each in _TEMPLATES.get(len(parts), ()) if each.fits(parts)]
    found = [each for each in found if not each.names] or found  # a path that is written out is no other's segment
    for template in found:
        if template.route.verb == verb:
            return template.request, template.fields(parts)
    if found:
        raise wrong_verb(verb, {template.route.verb for template in found})
    raise unknown_path(path.decode("utf-8", "replace"), sorted({route.path for route in ROUTES.values()}))


def request_of(verb: str, path: bytes, query: bytes, body: bytes, limits: Limits = LIMITS) -> Request[Any]:
    """Give the request that verb, raw path, raw query string and body make, or raise what RPC would."""
    request, fields = find_route(verb, path)
    return request_at(request, fields, query, body, limits)


def request_at(
    request: type[Request[Any]], fields: Mapping[str, str], query: bytes, body: bytes, limits: Limits = LIMITS
) -> Request[Any]:
    """Give the request of a route that `find_route` has found."""
    asked = parse_query(query)
    if not ROUTES[request].has_body:
        if body:
            raise BadRequest(f"{request.method}: it takes no body; its fields stand in the query string")
        return _of_query(request, fields, asked, limits)
    if asked:
        name = next(iter(asked))
        raise BadRequest(f"{request.method}: `{name[:80]}` stands in the query string; put it in the body", field=name)
    return decode_request(request, body, fields, limits)


def parse_query(query: bytes) -> dict[str, str]:
    """Give the names and values of a raw query string."""
    found: dict[str, str] = {}
    for pair in filter(None, query.split(b"&")):
        raw_name, _, raw_value = pair.partition(b"=")
        name = _text(raw_name.replace(b"+", b" "), "query string")
        if name in found:
            raise BadRequest(f"`{name[:80]}` comes twice", field=name[:80])
        found[name] = _text(raw_value.replace(b"+", b" "), name)
    return found


class _Template:
    """A path with its parts: names in braces stand for one segment each."""

    def __init__(self, request: type[Request[Any]], route: Route) -> None:
        self.request = request
        self.route = route
        self._parts = [part.encode() for part in route.path.split("/")]
        self.names = {i: part[1:-1].decode() for i, part in enumerate(self._parts) if part.startswith(b"{")}

    def fits(self, parts: list[bytes]) -> bool:
        return all(i in self.names or part == self._parts[i] for i, part in enumerate(parts))

    def fields(self, parts: list[bytes]) -> dict[str, str]:
        return {name: _text(parts[i], name) for i, name in self.names.items()}


def _templates() -> dict[int, list[_Template]]:
    found: dict[int, list[_Template]] = {}
    for request, route in sorted(ROUTES.items(), key=lambda entry: "{" in entry[1].path):
        found.setdefault(route.path.count("/") + 1, []).append(_Template(request, route))
    return found


_TEMPLATES = _templates()


def _of_query(
    request: type[Request[Any]], fields: Mapping[str, str], asked: Mapping[str, str], limits: Limits
) -> Request[Any]:
    if twice := fields.keys() & asked.keys():
        name = min(twice)
        raise BadRequest(f"`{name}` comes twice", field=name)
    kinds = _kinds(request)
    values = {name: _value(name, text, kinds.get(name, str), limits) for name, text in asked.items()}
    try:
        converted: Request[Any] = msgspec.convert([{**fields, **values}], tuple[request])[0]  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise from_validation(error, request) from None
    return converted


@functools.cache
def _kinds(request: type[Request[Any]]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(request)}


def _value(name: str, text: str, kind: Any, limits: Limits) -> Any:
    """Read a field of a query string, as JSON where it is no string; what is not JSON is one, and refused as such."""
    if name == "types":
        return text.split(",") if text else []
    if name == "filter":
        return _filter(text, limits) if text.lstrip().startswith("{") else text
    if kind == Expect:
        return None if text == "null" else text
    if kind in (str, str | None):
        return text
    try:
        return msgspec.json.decode(text)
    except (*UNDECODABLE, UnicodeEncodeError):
        return text


def _filter(text: str, limits: Limits) -> Any:
    body = b'{"filter":' + text.encode() + b"}"
    return cast("Query", decode_request(Query, body, limits=limits)).filter


def _text(raw: bytes, field: str) -> str:
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadRequest(f"`{field[:80]}` holds a string that is not UTF-8", field=field[:80]) from None
