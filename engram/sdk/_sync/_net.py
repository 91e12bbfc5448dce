"""What touches the world, for a thread: time, names, and waiting for a socket. `_async/_net.py` is its twin.

A patient socket waits in its own calls, for a slice of time; deadlines nearer than that are kept by `readable`. Its
timeout is Python's, and not the kernel's SO_RCVTIMEO: a call that was interrupted, by a signal or by SIGSTOP, is made
again for the time that is left, where the kernel would begin to count anew, and might never come to an end.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLICE_S = 0.1
"""How long a socket waits by itself."""

Where = tuple[int, int, int, tuple[Any, ...]]
"""Family, kind and protocol of a socket, and the address to connect it to."""

now = time.monotonic
sleep = time.sleep


def home() -> int:
    """Give the process that this is: connections of another one are not ours."""
    return os.getpid()


def loop() -> object:
    """Give None: there is no loop."""
    return None


def resolve(host: str, port: int, deadline: float) -> Sequence[Where]:
    """Give the addresses of a host. Raise `OSError`. The deadline is the system's own here."""
    del deadline
    found = socket.getaddrinfo(_name(host), port, type=socket.SOCK_STREAM)
    return [(family, kind, protocol, where) for family, kind, protocol, _, where in found]


def _name(host: str) -> str | bytes:
    """Give a host's name so that no codec is imported for it: a child forked meanwhile would wait for it for ever."""
    return host.encode() if host.isascii() else host


def readable(sock: socket.socket, deadline: float) -> None:
    """Wait until there is something to read, or the end. Raise `TimeoutError`, or `OSError` for a closed socket."""
    _wait(sock, select.POLLIN, deadline)


def writable(sock: socket.socket, deadline: float) -> None:
    """Wait until there is room to write. Raise as `readable` does."""
    _wait(sock, select.POLLOUT, deadline)


def received(sock: socket.socket, size: int, deadline: float) -> bytes:
    """Give what comes, at most `size` bytes; none at the end. Raise as `readable` does.

    Where time is left, the call that takes what comes waits for it too.
    """
    while True:
        if left_s(deadline) <= _SLICE_S:
            readable(sock, deadline)
        with contextlib.suppress(TimeoutError):
            return sock.recv(size)


def patient(sock: socket.socket) -> None:
    """Make a socket ready for `received`: it waits in `recv`, for a while."""
    sock.settimeout(_SLICE_S)


def close(sock: socket.socket) -> None:
    """Close a socket."""
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
        self._slots = threading.Semaphore(limit)

    def acquire(self, deadline: float) -> None:
        """Take a slot. Raise `TimeoutError` where none comes free in time."""
        if not self._slots.acquire(timeout=left_s(deadline)):
            raise TimeoutError

    def release(self) -> None:
        """Give a slot back."""
        self._slots.release()


def _wait(sock: socket.socket, event: int, deadline: float) -> None:
    poll = select.poll()
    try:
        poll.register(sock, event)
    except ValueError:
        raise OSError from None
    if not poll.poll(math.ceil(1000 * left_s(deadline))):
        raise TimeoutError
