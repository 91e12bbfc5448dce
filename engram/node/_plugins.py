"""Loading plug-ins: what the configuration names becomes a class, its options, and a plan for the supervisor.

Nothing is loaded because it is installed: an entry point runs code of whoever wrote it with all that the node may do,
so it runs where the operator has named it, and nowhere else.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

import msgspec

from engram.errors import BadRequest
from engram.runtime import PLUGIN_LANE, Feed, Plan, Plugin, check_actor, options_of
from engram.wire import checked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from engram.node._actor_config import ActorSpec
    from engram.ports import Disk
    from engram.runtime import Tail
    from engram.wire import Answer, Request

GROUP = "engram.actors"
_THREADS = 2


class Loaded(msgspec.Struct, frozen=True):
    """A plug-in that will do: its name, its class, its options."""

    name: str
    kind: type[Plugin]
    options: msgspec.Struct | None


def load_plugins(specs: Mapping[str, ActorSpec]) -> list[Loaded]:
    """Import the classes that the configuration names and check their options; nothing of them runs yet.

    Raises `BadRequest`, with one sentence on what will not do.
    """
    return [_load(name, spec) for name, spec in specs.items()]


def lanes_of(loaded: list[Loaded]) -> dict[str, int]:
    """Give the Offload lanes of plug-ins: one that all of them share, where there are any."""
    return {PLUGIN_LANE: _THREADS} if loaded else {}


class Plugins:
    """The plug-ins of a running node, and what each knows of the log."""

    def __init__(self, loaded: list[Loaded], tail: Tail, disk: Disk, data_dir: Path) -> None:
        self._loaded = loaded
        self.feeds = {each.name: Feed(each.name, tail, disk, data_dir / "projections") for each in loaded}

    def plans(self, call: Callable[[Request[Any]], Awaitable[Answer]]) -> list[Plan]:
        """Give what the supervisor is to start. `call` is how they call the node."""
        node = _Node(call)
        return [Plan(each.name, functools.partial(self._make, each, node), essential=False) for each in self._loaded]

    def _make(self, loaded: Loaded, node: _Node) -> Plugin:
        try:
            plugin = loaded.kind()
        except Exception as error:
            at = f"actors.{loaded.name}"
            raise BadRequest(
                f"{at}: making a {loaded.kind.__name__} fails with {type(error).__name__}: {error}; what may fail "
                "belongs in on_start",
                field=at,
            ) from error
        plugin.feed = self.feeds[loaded.name]
        plugin.options = loaded.options
        plugin.node = node
        return plugin


class _Node:
    def __init__(self, call: Callable[[Request[Any]], Awaitable[Answer]]) -> None:
        self._call = call

    async def call(self, request: Request[Any]) -> Answer:
        return await self._call(checked(request))


def _load(name: str, spec: ActorSpec) -> Loaded:
    at = f"actors.{name}"
    kind = spec.place if isinstance(spec.place, type) else _found(at, spec)
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        called = getattr(kind, "__qualname__", repr(kind))
        raise BadRequest(f"{at}: {called} is not a subclass of engram.runtime.Plugin", field=at)
    try:
        check_actor(kind)
    except TypeError as error:
        raise BadRequest(f"{at}: {error}", field=at) from None
    return Loaded(name, kind, options_of(kind, spec.options, at))


def _found(at: str, spec: ActorSpec) -> object:
    if spec.plugin is None:
        module, _, attribute = str(spec.place).partition(":")
        point = importlib.metadata.EntryPoint(at, f"{module}:{attribute}", GROUP)
    else:
        point = _entry_point(at, spec.plugin)
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise BadRequest(
            f"{at}: {point.value} needs the module {error.name}, which this Python does not find; install its package",
            field=at,
        ) from None
    except AttributeError:
        raise BadRequest(f"{at}: the module {point.module} has no {point.attr}", field=at) from None
    except Exception as error:
        raise BadRequest(
            f"{at}: importing {point.module} fails with {type(error).__name__}: {error}", field=at
        ) from error


def _entry_point(at: str, plugin: str) -> importlib.metadata.EntryPoint:
    points = importlib.metadata.entry_points(group=GROUP)
    found = [point for point in points if point.name == plugin]
    if not found:
        installed = ", ".join(sorted({point.name for point in points})) or "none"
        raise BadRequest(
            f"{at}.plugin: no installed package has an entry point {plugin!r} in the group {GROUP}; "
            f"there are: {installed}",
            field=at,
        )
    if len({point.value for point in found}) > 1:
        places = " and ".join(sorted(point.value for point in found))
        raise BadRequest(f"{at}.plugin: {plugin!r} is two entry points, {places}; name the class instead", field=at)
    return found[0]
