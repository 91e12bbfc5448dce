"""A key of the configuration: what it allows, what an error says of it, what `engram-node init` teaches."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import msgspec

from engram.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


class Key(msgspec.Struct, frozen=True):
    """One key. `sound` judges a value that has the right type; it gives the value to use or raises `ValueError`.

    `secret`: what came is not shown, since it may be a password in the wrong place.
    """

    name: str
    kind: Any
    allowed: str
    teaching: str
    sound: Callable[[Any], Any]
    secret: bool = False


class Unfit(ValueError):
    """A part of a value that will not do, and why."""

    def __init__(self, part: object, why: str) -> None:
        super().__init__(part, why)
        self.part = part
        self.why = why


def value_of(keys: Mapping[str, Key], name: str, value: object, title: str, what: str, *, as_text: bool = False) -> Any:
    """Give a key's value, checked. `title` is what errors call it, `what` is what has the keys.

    `as_text`: the value came as a string, whatever the key is; of a list, with commas or blanks between.

    Raises `BadRequest` with the key in `field`, and with what came and what is allowed in its message.
    """
    key = keys.get(name)
    if key is None:
        near = difflib.get_close_matches(name, keys, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
        raise BadRequest(f"{title} is not a key of {what}; {hint}", field=name)
    if as_text and get_origin(key.kind) is list:
        value = str(value).replace(",", " ").split()
    try:
        return key.sound(
            msgspec.convert(str(value) if isinstance(value, Path) else value, key.kind, strict=not as_text)
        )
    except Unfit as error:
        raise BadRequest(f"{title}: {shown(error.part)} will not do: {error.why}. {key.allowed}", field=name) from None
    except ValueError:
        came = "(what came is not shown)" if key.secret else f"= {shown(value)}"
        raise BadRequest(f"{title} {came} will not do. {key.allowed}", field=name) from None


def in_range(least: float, most: float) -> Callable[[Any], Any]:
    """Judge a number."""

    def sound(value: float) -> float:
        if not least <= value <= most:
            raise ValueError(value)
        return value

    return sound


def a_path(value: str) -> Path:
    """Judge a path; ~ is the home."""
    if not value or "\0" in value:
        raise ValueError(value)
    return Path(value).expanduser()


def unchanged(value: str) -> str:
    """Judge nothing: the type says it all."""
    return value


def shown(value: object) -> str:
    """Show a value that was refused, as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)[:200]


def named_tables(
    found: object, key: str, title: Callable[[str], str], allowed: str, taken: Sequence[str], why: str = ""
) -> Mapping[str, object]:
    """Check that `found`, the value of `key`, is tables under names that will do, and give it. Raises `BadRequest`.

    `taken`: names that are not to be had, and `why`.
    """
    if not isinstance(found, Mapping):
        raise BadRequest(f"{title(key)} = {shown(found)} will not do. {allowed}", field=key)
    for name in found:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in taken:
            raise BadRequest(
                f"{title(f'{key}.{name}')}: {shown(name)} will not do as a name. Allowed: 1 to 32 letters, digits and "
                f". _ -, the first a letter or digit; not {', '.join(taken)}{why}.",
                field=key,
            )
    return found
