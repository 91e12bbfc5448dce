"""Which method of an actor's class handles which type of message: worked out once a class, and checked at boot."""

from __future__ import annotations

import inspect
import types
import typing
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from engram.runtime._message import Message

Handler = TypeVar("Handler", bound="Callable[..., Any]")


class Handling(msgspec.Struct, frozen=True):
    """How one method handles. `limit`: messages at once, or the attribute that says it; None takes one as itself."""

    method: str
    kinds: frozenset[type]
    limit: int | str | None
    repeatable: bool


class _Mark(msgspec.Struct, frozen=True):
    limit: int | str | None
    repeatable: bool


def handle(method: Handler) -> Handler:
    """Mark an async method as the handler of the message type that its one parameter is annotated with.

    `A | B` handles both. What it returns is the answer; an `EngramError` that it raises goes to the asker, and anything
    else that it raises is a crash.
    """
    return _marked(method, _Mark(None, repeatable=False))


def handle_batch(limit: int | str, *, repeatable: bool = False) -> Callable[[Handler], Handler]:
    """Mark a method that takes up to `limit` waiting messages at once; a str names the actor's attribute that says it.

    Its parameter is annotated `Sequence[Kind]` or `Sequence[KindA | KindB]`; it returns one answer a message, in order,
    where an answer that is an `EngramError` goes to that asker alone.

    `repeatable` says that handling a message twice does what handling it once does. Then a batch that crashed is taken
    again, each message by itself, and only those that crash alone are dead letters; without it all of the batch are,
    since nobody can know which of them were carried out.
    """
    if isinstance(limit, int) and limit < 1:
        raise ValueError(f"handle_batch({limit}): a batch is of one message at least")

    def mark(method: Handler) -> Handler:
        return _marked(method, _Mark(limit, repeatable))

    return mark


def _marked(method: Handler, mark: _Mark) -> Handler:
    if not inspect.iscoroutinefunction(method):
        raise TypeError(
            f"{method.__qualname__} handles messages and is a plain function: make it `async def`, and run what blocks "
            "on the Offload port"
        )
    method.__engram_handles__ = mark  # type: ignore[attr-defined]
    return method


_known: weakref.WeakKeyDictionary[type, tuple[Handling, ...]] = weakref.WeakKeyDictionary()


def handlers_of(actor: type) -> tuple[Handling, ...]:
    """Give the handlers of a class. Raises `TypeError` that says what is wrong with them."""
    if actor not in _known:
        _known[actor] = _handlers_of(actor)
    return _known[actor]


def _handlers_of(actor: type) -> tuple[Handling, ...]:
    found: list[Handling] = []
    owners: dict[type, str] = {}
    for name, method in inspect.getmembers(actor, inspect.isfunction):
        mark: _Mark | None = getattr(method, "__engram_handles__", None)
        if mark is None:
            _refuse_unmarked(actor, name)
            continue
        kinds = _kinds(method, batch=mark.limit is not None)
        for kind in kinds:
            if owners.setdefault(kind, name) != name:
                raise TypeError(f"{actor.__name__}: {owners[kind]} and {name} both handle {kind.__name__}")
        found.append(Handling(name, frozenset(kinds), mark.limit, mark.repeatable))
    return tuple(found)


def _refuse_unmarked(actor: type, name: str) -> None:
    """Refuse an override that lost the mark of the method it overrides: its messages would have no handler."""
    for base in actor.__mro__[1:]:
        if hasattr(base.__dict__.get(name), "__engram_handles__"):
            raise TypeError(f"{actor.__name__}.{name} overrides a handler of {base.__name__}, and is not marked as one")


def _kinds(method: Callable[..., Any], *, batch: bool) -> tuple[type, ...]:
    called = method.__qualname__
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if len(parameters) != 1 or parameters[0].annotation is inspect.Parameter.empty:
        raise TypeError(f"{called}: a handler has one parameter, annotated with the type of its messages")
    hint = resolved(method, parameters[0].annotation)
    if batch:
        inside = typing.get_args(hint)
        if typing.get_origin(hint) is not Sequence or len(inside) != 1:
            raise TypeError(f"{called}: a batch handler's parameter is annotated Sequence[...], and not {hint}")
        [hint] = inside
    union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    kinds = typing.get_args(hint) if union else (hint,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Message) and kind is not Message):
            raise TypeError(f"{called}: {kind} is no subclass of Message")
    return kinds


def resolved(method: Callable[..., Any], annotation: Any) -> Any:
    """Give what an annotation means; of the others, such as the answer's, nobody need know it at run time."""
    alone = types.SimpleNamespace(__annotations__={"message": annotation})
    try:
        return typing.get_type_hints(alone, method.__globals__)["message"]
    except NameError as error:
        raise TypeError(
            f"{method.__qualname__}: its annotation {annotation!r} is not known when the program runs; import the type "
            "at the top of the module, outside TYPE_CHECKING"
        ) from error
