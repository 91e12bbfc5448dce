"""Which method of a class folds, or reacts to, which type of event: worked out from annotations, and checked."""

from __future__ import annotations

import inspect
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar

from engram.events import Event
from engram.runtime._handlers import resolved

if TYPE_CHECKING:
    from collections.abc import Callable

Method = TypeVar("Method", bound="Callable[..., Any]")

_APPLIES, _REACTS = "__engram_applies__", "__engram_reacts__"


def apply(method: Method) -> Method:
    """Mark `def stored(self, event: RecordStored, position: int) -> None` as the fold of one type of event.

    `A | B` folds both. A fold changes `self.state` and nothing else, and depends on nothing else: no clock, no other
    actor, no disk. What it raises is a crash.
    """
    if inspect.iscoroutinefunction(method):
        raise TypeError(f"{method.__qualname__} folds events, which waits for nothing: make it a plain `def`")
    setattr(method, _APPLIES, True)
    return method


def react(method: Method) -> Method:
    """Mark `async def on_deleted(self, event: RecordDeleted, position: int) -> None` as the reaction to an event.

    `A | B` reacts to both. Every event comes at least once, in order, one at a time: one whose reaction crashed, or was
    under way when the process ended, comes again.
    """
    if not inspect.iscoroutinefunction(method):
        raise TypeError(f"{method.__qualname__} reacts to events and is a plain function: make it `async def`")
    setattr(method, _REACTS, True)
    return method


def folds_of(actor: type) -> dict[type[Event], str]:
    """Give the names of the methods that fold, by type of event. Raises `TypeError` that says what is wrong."""
    return _marked(actor, _APPLIES)


def reactions_of(actor: type) -> dict[type[Event], str]:
    """Give the names of the methods that react, by type of event. Raises `TypeError` that says what is wrong."""
    return _marked(actor, _REACTS)


def _marked(actor: type, mark: str) -> dict[type[Event], str]:
    found: dict[type[Event], str] = {}
    for name, method in inspect.getmembers(actor, inspect.isfunction):
        if not hasattr(method, mark):
            continue
        for kind in _kinds(method):
            if found.setdefault(kind, name) != name:
                raise TypeError(f"{actor.__name__}: {found[kind]} and {name} both take {kind.__name__}")
    return found


def _kinds(method: Callable[..., Any]) -> tuple[type[Event], ...]:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if len(parameters) != 2 or parameters[0].annotation is inspect.Parameter.empty:
        raise TypeError(f"{method.__qualname__}: it takes an event, annotated with its type, and a position")
    hint = resolved(method, parameters[0].annotation)
    kinds = typing.get_args(hint) if typing.get_origin(hint) in {typing.Union, types.UnionType} else (hint,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Event) and kind is not Event):
            raise TypeError(f"{method.__qualname__}: {kind} is no type of event")
    return kinds
