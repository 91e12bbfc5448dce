"""What blocks may block here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Args = TypeVarTuple("Args")


def aside(call: Callable[[Unpack[Args]], T], *args: *Args) -> T:
    """Make a call that may block."""
    return call(*args)
