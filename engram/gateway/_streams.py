"""What the door asks of a stream beside its bytes: who is at its other end, and whether that has gone."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import resource
import struct

import trio
from trio.abc import HalfCloseableStream, Stream

_CHUNK_BYTES = 64 * 1024
_DISKS = 256
"""Descriptors that no connection takes; a quarter, where there are few."""
LINGER_S = 2.0
"""How long a closing connection reads on: closing on unread bytes resets it, and the last words would be lost."""


def is_broken(stream: Stream) -> bool:
    """Say whether a connection that nobody reads has been reset: the kernel knows, and tells only who asks."""
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if not isinstance(transport, trio.SocketStream):
        return False  # a simulated one
    try:
        return transport.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_ERROR) != 0
    except OSError:
        return True


def takes_the_last(stream: Stream) -> bool:
    """Say whether a connection has one of this process's last descriptors, which are the disk's and no client's.

    Without any the store cannot open its next file, and ends. Numbers are given lowest first, so this one's says it.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if not isinstance(stream, trio.SocketStream) or limit == resource.RLIM_INFINITY:
        return False
    return stream.socket.fileno() >= limit - min(_DISKS, limit // 4)


def is_loopback(address: str) -> bool:
    """Say whether an IP address is this machine's own way to itself."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def send_now(stream: Stream, data: bytes) -> int:
    """Send what the kernel takes at once, and give how much that was. Raises `BrokenResourceError`.

    trio's own way takes a turn of the loop behind each send, which is a good part of what a small answer costs.
    """
    if not isinstance(stream, trio.SocketStream):
        return 0
    try:
        return os.write(stream.socket.fileno(), data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise trio.BrokenResourceError from error


async def linger(stream: Stream) -> None:
    """Say that no more will be sent, and read on for a while: what was sent last is heard."""
    with trio.move_on_after(LINGER_S):
        if isinstance(stream, HalfCloseableStream):
            await stream.send_eof()
        while await stream.receive_some(_CHUNK_BYTES):
            pass


async def close(stream: Stream) -> None:
    """Close a stream, with the farewell of TLS unless who does not read holds that up."""
    with trio.move_on_after(LINGER_S):
        await stream.aclose()


async def abort(stream: Stream) -> None:
    """Close a stream so that the other end is told at once, and the kernel keeps nothing for it."""
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(transport, trio.SocketStream):
        with contextlib.suppress(OSError):
            transport.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
