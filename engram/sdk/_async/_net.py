"""What touches the world, for asyncio and trio: time, names, and waiting for a socket. `_sync/_net.py` is its twin.

Sockets never block and belong to no loop: what is ready is taken at once, and only else waited for.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Sequence

Where = tuple[int, int, int, tuple[Any, ...]]
"""Family, kind and protocol of a socket, and the address to connect it to."""

now = anyio.current_time
sleep = anyio.sleep


def home() -> int:
    """Give the process that this is: connections of another one are not ours."""
    return os.getpid()


def loop() -> object:
    """Give the loop that runs: what belongs to one is of no use in another."""
    return current_token()


async def resolve(host: str, port: int, deadline: float) -> Sequence[Where]:
    """Give the addresses of a host. Raise `OSError`, or `TimeoutError`."""
    with anyio.fail_after(left_s(deadline)):
        found = await anyio.getaddrinfo(_name(host), port, type=socket.SOCK_STREAM)
    return [(family, kind, protocol, where) for family, kind, protocol, _, where in found]


def _name(host: str) -> str | bytes:
    """Give a host's name so that no codec is imported for it: a child forked meanwhile would wait for it for ever."""
    return host.encode() if host.isascii() else host


async def readable(sock: socket.socket, deadline: float) -> None:
    """Wait until there is something to read, or the end. Raise `TimeoutError`, or `OSError` for a closed socket."""
    with anyio.fail_after(left_s(deadline)):
        try:
            await anyio.wait_readable(sock)
        except (anyio.ClosedResourceError, ValueError):
            raise OSError from None


async def writable(sock: socket.socket, deadline: float) -> None:
    """Wait until there is room to write. Raise as `readable` does."""
    with anyio.fail_after(left_s(deadline)):
        try:
            await anyio.wait_writable(sock)
        except (anyio.ClosedResourceError, ValueError):
            raise OSError from None


async def received(sock: socket.socket, size: int, deadline: float) -> bytes:
    """Give what comes, at most `size` bytes; none at the end. Raise as `readable` does."""
    while True:
        await readable(sock, deadline)
        with contextlib.suppress(BlockingIOError):
            return sock.recv(size)


def patient(sock: socket.socket) -> None:
    """Make a socket ready for `received`: here it is."""


def close(sock: socket.socket) -> None:
    """Close a socket. Who waits for it is told."""
    if sock.fileno() >= 0:
        with contextlib.suppress(anyio.NoEventLoopError):  # after the loop's end nobody waits
            anyio.notify_closing(sock)
        sock.close()


def left_s(deadline: float) -> float:
    """Give the seconds that are left. Raise `TimeoutError` where none is."""
    left = deadline - now()
    if left <= 0:
        raise TimeoutError
    return left


class Slots:
    """At most so many at a time; the others wait their turn."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[anyio.Event] = deque()

    async def acquire(self, deadline: float) -> None:
        """Take a slot. Raise `TimeoutError` where none comes free in time."""
        if self._free:
            self._free -= 1
            return
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            with anyio.fail_after(left_s(deadline)):
                await turn.wait()
        except BaseException:
            if turn.is_set():
                self.release()
            else:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give a slot back, to who has waited longest."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1
