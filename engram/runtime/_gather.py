"""Run several calls at once, a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import trio

from engram.runtime._failures import leaf

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")


async def gather(calls: Sequence[Callable[[], Awaitable[T]]], limit: int) -> list[T]:
    """Give every call's result, in order, with at most `limit` of them running.

    The first exception cancels the others. It is raised as itself, not in a group; where another failed beside it, the
    graver one is.
    """
    results: list[T | None] = [None] * len(calls)
    failures: list[Exception] = []
    limiter = trio.CapacityLimiter(limit)

    async def one(index: int) -> None:
        async with limiter:
            try:
                results[index] = await calls[index]()
            except Exception as error:  # noqa: BLE001 (raised below, without the nursery's group around it)
                failures.append(error)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for index in range(len(calls)):
            nursery.start_soon(one, index)
    if failures:
        raise leaf(ExceptionGroup("several calls failed", failures))
    return cast("list[T]", results)
