"""Wait, in a task of asyncio or of trio, for what another thread will tell."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

R = TypeVar("R")


async def told(begin: Callable[[Callable[[], None]], R], give_up: Callable[[R], None] | None = None) -> R:
    """Begin something that will call what `begin` is given, from any thread; wait for that, and give what it began.

    Cancelled, it tells `give_up` and goes. Without a `give_up` it waits all the same, and is cancelled after that.
    """
    if trio.lowlevel.in_trio_task():
        return await _told_in_trio(begin, give_up)
    return await _told_in_asyncio(begin, give_up)


async def breathe() -> None:
    """Let the loop's other tasks have their turn."""
    if trio.lowlevel.in_trio_task():
        await trio.lowlevel.checkpoint()
        return
    import asyncio  # noqa: PLC0415 (a program of trio's has no need of it)

    await asyncio.sleep(0)


async def _told_in_trio(begin: Callable[[Callable[[], None]], R], give_up: Callable[[R], None] | None) -> R:
    token, event = trio.lowlevel.current_trio_token(), trio.Event()

    def tell() -> None:
        with contextlib.suppress(trio.RunFinishedError):  # nobody waits any more
            token.run_sync_soon(event.set)

    begun = begin(tell)
    try:
        with trio.CancelScope(shield=give_up is None):
            await event.wait()
    except trio.Cancelled:
        if give_up is not None:
            give_up(begun)
        raise
    return begun


async def _told_in_asyncio(begin: Callable[[Callable[[], None]], R], give_up: Callable[[R], None] | None) -> R:
    import asyncio  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, future)

    begun = begin(tell)
    if give_up is None:
        await _whatever_comes(future)
        return begun
    try:
        await future
    except asyncio.CancelledError:
        give_up(begun)
        raise
    return begun


async def _whatever_comes(future: asyncio.Future[None]) -> None:
    """Wait for it, and be cancelled after that."""
    import asyncio  # noqa: PLC0415

    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
