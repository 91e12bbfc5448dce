"""The plug-ins of the configuration, `[actors.NAME]`: checked key by key, and taught as comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from engram.errors import BadRequest
from engram.node._keys import named_tables, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_TAKEN = ("store", "checkpointer", "embedder", "asker", "indexer", "recall_checker", "scrubber", "prover", "challenger")

TEACHING = """
# Actors of your own beside the node's, each under a name. Only what stands here is loaded; it runs with all that this
# node may do. docs/plugins.md says how one is written and tested. Key by key:
#
# [actors.census]
# class = "my_package.actors:Census"   # module:class, importable by the node's Python
# plugin = "census"                    # or, instead of class: the name of an entry point in the group engram.actors
# report_every = 100                   # every other key is an option of the actor's own
"""


class ActorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A plug-in to load: by its class (`module:Class`, or the class itself), or by the name of an entry point."""

    place: str | type | None = None
    plugin: str | None = None
    options: dict[str, Any] = {}


def actors_of(found: object, title: Callable[[str], str]) -> dict[str, ActorSpec]:
    """Check the table of plug-ins. `title` gives what errors call a key. Raises `BadRequest`."""
    named = named_tables(found, "actors", title, _A_TABLE, _TAKEN, ", which are the node's own")
    return {name: _actor(name, keys, title) for name, keys in named.items()}


_A_TABLE = 'Allowed: tables, such as [actors.census] with class = "my_package.actors:Census".'


def _actor(name: str, given: object, title: Callable[[str], str]) -> ActorSpec:
    at = f"actors.{name}"
    if isinstance(given, ActorSpec):
        return given
    if not isinstance(given, Mapping):
        raise BadRequest(f"{title(at)} = {shown(given)} will not do. {_A_TABLE}", field=at)
    place, plugin = given.get("class"), given.get("plugin")
    if (place is None) == (plugin is None):
        raise BadRequest(f"{title(at)}: give either class or plugin, which say what to load", field=at)
    if place is not None and not isinstance(place, type) and not (isinstance(place, str) and _CLASS.fullmatch(place)):
        raise BadRequest(
            f'{title(f"{at}.class")} = {shown(place)} will not do. Allowed: "package.module:Class".', field="class"
        )
    if plugin is not None and not (isinstance(plugin, str) and plugin.strip()):
        raise BadRequest(
            f"{title(f'{at}.plugin')} = {shown(plugin)} will not do. Allowed: the name of an entry point.",
            field="plugin",
        )
    options = {str(key): value for key, value in given.items() if key not in {"class", "plugin"}}
    return ActorSpec(place=place, plugin=plugin, options=options)
