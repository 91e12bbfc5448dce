"""What blocks, beside the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Args = TypeVarTuple("Args")


async def aside(call: Callable[[Unpack[Args]], T], *args: *Args) -> T:
    """Make a call that may block, on a thread."""
    from anyio import to_thread  # noqa: PLC0415 (an embedded memory that reads no file needs no anyio)

    return await to_thread.run_sync(call, *args)
