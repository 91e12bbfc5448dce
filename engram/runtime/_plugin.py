"""Plug-ins: actors of one's own, which a node is told of in its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from engram.errors import BadRequest
from engram.runtime._event_actor import EventActor

if TYPE_CHECKING:
    from collections.abc import Mapping

PLUGIN_LANE = "plugins"
"""The Offload lane for what plug-ins would block with."""


class Node(Protocol):
    """The node as a plug-in sees it: like any client."""

    async def call(self, request: Any) -> Any:
        """Carry out a request of `engram.wire` by the rules for every caller; raises the `EngramError` it ends in."""
        ...


class Plugin(EventActor):
    """Base of plug-ins: an actor that may follow the log, has options, and may call the node.

    It is never essential: one that keeps crashing is given up and shown as failed, and the node lives on.
    """

    Options: ClassVar[type[msgspec.Struct] | None] = None
    """What its options are: a msgspec Struct; the keys of its table in node.toml, but `class` and `plugin`."""

    options: Any
    """An instance of `Options`; None where it takes none."""

    node: Node


def options_of(kind: type[Plugin], given: Mapping[str, Any], at: str) -> msgspec.Struct | None:
    """Check the options that a plug-in was given. `at`: what errors call their table. Raises `BadRequest`."""
    if kind.Options is None:
        if given:
            raise BadRequest(f"{at}: {kind.__name__} takes no options, and {', '.join(given)} came", field=at)
        return None
    known = {field.encode_name for field in msgspec.structs.fields(kind.Options)}
    for key in given:
        if key not in known:
            raise BadRequest(
                f"{at}.{key} is no option of {kind.__name__}; it takes {', '.join(sorted(known)) or 'none'}", field=key
            )
    try:
        return msgspec.convert(given, kind.Options)
    except msgspec.ValidationError as error:
        message = str(error)
        said, _, path = message.partition(" - at `$")
        key = path.rstrip("`").removeprefix(".")
        where = f"{at}.{key}" if key else at
        raise BadRequest(f"{where} will not do for {kind.__name__}: {said}", field=key or at) from None
