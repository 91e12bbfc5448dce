"""Turn what a scanner or a decoder says into errors that name the field, what was expected, and what came."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, cast

from engram.errors import BadRequest, EngramError, TooLarge, UnknownMethod
from engram.wire._messages._writing import Item

if TYPE_CHECKING:
    from collections.abc import Iterable

    import msgspec

    from engram.limits import Limits
    from engram.wire._messages._base import Request

_SHOWN = 80
"""Characters of a stranger's text that an error repeats."""

_PARAMS = "[3][0]"
"""Where a request's parameters stand in its message."""


def from_fault(fault: str, limits: Limits) -> EngramError:
    """Give the error of a stream that cannot be followed any further: a scanner's fault."""
    match fault:
        case "too_deep":
            return BadRequest(f"the message is nested more than {limits.message_depth} deep")
        case "too_large":
            return TooLarge(
                f"the message is larger than {limits.message_bytes} bytes; send the items in smaller batches"
            )
        case _:
            return BadRequest("this is not msgpack: the byte 0xc1 is reserved; send [0, id, method, [params]]")


def from_flaw(flaw: str, path: str, limits: Limits) -> EngramError:
    """Give the error of a whole message that is not fit to be decoded: a flaw and its path."""
    field = path.removeprefix(_PARAMS).removeprefix(".") or None
    match flaw:
        case "key_twice":
            return BadRequest(f"`{field}` comes twice", field=field)
        case "key_not_string":
            return BadRequest(f"a key in `{field or 'params'}` is not a string", field=field)
        case "not_utf8":
            return BadRequest(f"`{field or 'params'}` holds a string that is not UTF-8", field=field)
        case "ext":
            return BadRequest(f"`{field or 'params'}` holds an ext type, which Engram does not use", field=field)
        case "too_many":
            return TooLarge(
                "the message holds too many maps and arrays; send the items in smaller batches", field=field
            )
        case "too_large" | "too_deep" | "reserved":
            return from_fault(flaw, limits)
        case _:
            return BadRequest(f"the message is not one msgpack value: {flaw}", field=field)


def from_json_flaw(flaw: str, path: str, at: int, limits: Limits) -> EngramError:
    """Give the error of a body that is not fit to be decoded: a flaw, its path, and the byte where it is."""
    match flaw:
        case "key_twice" | "not_utf8" | "too_many" | "too_deep":
            return from_flaw(flaw, path, limits)
        case "surrogate":
            field = path.removeprefix(".") or None
            return BadRequest(f"`{field or 'params'}` holds a lone surrogate, which is not Unicode text", field=field)
        case "trailing":
            return BadRequest(f"the body is not one JSON value: something follows it at byte {at}")
        case _:
            return BadRequest(f"the body is not JSON: {flaw} was expected at byte {at}")


def from_validation(
    error: msgspec.ValidationError, kind: type[msgspec.Struct], method: str | None = None
) -> EngramError:
    """Give the error of parameters that do not fit their Struct; `field` is the path, such as `items[3].text`.

    They stood in an array that holds one map, as RPC has it. `method`: what errors call it; a request has its own.
    """
    method = method or cast("type[Request[Any]]", kind).method
    what, _, where = str(error).replace("got `None`", "got `null`").rpartition(" - at ")
    if not what:
        return BadRequest(f"{method}: params must be an array that holds one map: {_lower(where)}")
    path = where.removeprefix("`key` in ").strip("`").removeprefix("$[0]").removeprefix(".")
    if what.startswith("Object contains unknown field `"):
        return _unknown_field(what.split("`", 1)[1].removesuffix("`"), path, kind, method)
    if what.startswith("Object missing required field `"):
        name = what.split("`")[1]
        return BadRequest(f"{method}: `{_join(path, name)}` is missing", field=_join(path, name))
    if " of length <= " in what:
        return TooLarge(f"{method}: `{path}` is too long: {_lower(what)}", field=path)
    named = f"{method}: `{path}`: " if path else f"{method}: params: "
    key = " as a key" if where.startswith("`key`") else ""
    return BadRequest(f"{named}{_lower(what)}{key}", field=path or None)


def unknown_method(name: str, known: Iterable[str]) -> UnknownMethod:
    """Give the error of a method that this build has not, with the names nearest to it."""
    names = sorted(known)
    near = difflib.get_close_matches(name[:_SHOWN], names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the methods are {', '.join(names)}"
    return UnknownMethod(f"no method {shown(name)}; {hint}", field="method")


def unknown_path(path: str, known: Iterable[str]) -> UnknownMethod:
    """Give the error of a path at which nothing stands, with the paths nearest to it."""
    paths = sorted(known)
    near = difflib.get_close_matches(path[:_SHOWN], paths, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "GET /openapi.json lists them"
    return UnknownMethod(f"nothing stands at {shown(path)}; {hint}", field="path")


def shown(text: str) -> str:
    """Quote a stranger's text, cut to what an error may repeat."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _unknown_field(name: str, path: str, kind: type[msgspec.Struct], method: str) -> BadRequest:
    known = Item.__struct_encode_fields__ if path else kind.__struct_encode_fields__
    near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"the fields are {', '.join(known) or 'none'}"
    where = f" in `{path}`" if path else ""
    return BadRequest(f"{method}: no field {shown(name)}{where}; {hint}", field=_join(path, name[:_SHOWN]))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
