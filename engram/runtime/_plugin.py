"""Plug-ins: actors of one's own, which a node is told of in its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from engram.runtime._event_actor import EventActor

if TYPE_CHECKING:
    import msgspec


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
