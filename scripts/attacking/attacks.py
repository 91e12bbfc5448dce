"""Attacks on a door of a node: each goes on until it is cancelled, and holds no more than it says."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable

    from attacking.doors import Door

    Attack = Callable[[Door, int, random.Random], Awaitable[None]]

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


async def silence(door: Door, port: int, rng: random.Random) -> None:
    """1,000 connections that say nothing."""
    del door, rng
    await _side_by_side(1000, lambda: _stay(port))


async def slow_senders(door: Door, port: int, rng: random.Random) -> None:
    """500 connections that send a call byte by byte."""
    await _side_by_side(500, lambda: _drip(port, door.query(rng)))


async def slow_readers(door: Door, port: int, rng: random.Random) -> None:
    """100 connections that ask for as much as they may, and read 100 bytes a second."""
    del rng
    await _side_by_side(100, lambda: _sip(port, door.much()))


async def vanishing(door: Door, port: int, rng: random.Random) -> None:
    """50 clients that ask, or write, or say half of it, and break the connection, again and again."""
    await _side_by_side(50, lambda: _vanish(door, port, rng))


async def huge(door: Door, port: int, rng: random.Random) -> None:
    """20 clients that send 9 MiB, again and again."""
    del rng
    data = door.huge()
    await _side_by_side(20, lambda: _say(port, data))


async def endless(door: Door, port: int, rng: random.Random) -> None:
    """50 clients that send headers, or an array, that have no end."""
    await _side_by_side(50, lambda: _go_on(door, port, rng))


async def nested(door: Door, port: int, rng: random.Random) -> None:
    """20 clients that send what is nested 100,000 deep, again and again."""
    del rng
    data = door.nested()
    await _side_by_side(20, lambda: _say(port, data))


async def random_bytes(door: Door, port: int, rng: random.Random) -> None:
    """20 clients that send random bytes, and calls of which some bytes are others."""
    await _side_by_side(20, lambda: _babble(door, port, rng))


ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (silence, slow_senders, slow_readers, vanishing, huge, endless, nested, random_bytes)
}


# -- one connection ---------------------------------------------------------------------------------------------------


async def _side_by_side(count: int, life: Callable[[], Awaitable[None]]) -> None:
    """Live so many lives, each begun again at its end, at most 20 times a second."""

    async def live() -> None:
        while True:
            begun = trio.current_time()
            with contextlib.suppress(*_GONE):
                await life()
            await trio.sleep_until(begun + 0.05)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(live)
            await trio.sleep(0.001)


@contextlib.asynccontextmanager
async def _connected(port: int) -> AsyncIterator[trio.SocketStream]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def _stay(port: int) -> None:
    async with _connected(port) as stream:
        while await stream.receive_some():
            pass


async def _drip(port: int, data: bytes) -> None:
    async with _connected(port) as stream:
        for at in range(len(data)):
            await stream.send_all(data[at : at + 1])
            await trio.sleep(0.2)


async def _sip(port: int, data: bytes) -> None:
    async with _connected(port) as stream:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await stream.send_all(data)
        while await stream.receive_some(100):  # noqa: ASYNC110 - it dawdles on purpose
            await trio.sleep(1)


async def _vanish(door: Door, port: int, rng: random.Random) -> None:
    async with _connected(port) as stream:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        data = b"".join(rng.choice((door.query, door.put))(rng) for _ in range(rng.randint(1, 10)))
        await stream.send_all(data[: rng.randint(1, len(data))])
        await trio.sleep(rng.random() * 0.05)


async def _say(port: int, data: bytes) -> None:
    async with _connected(port) as stream:
        await stream.send_all(data)
        with trio.move_on_after(2):
            await stream.receive_some()


async def _go_on(door: Door, port: int, rng: random.Random) -> None:
    async with _connected(port) as stream:
        for piece in door.endless(rng):
            await stream.send_all(piece)
            await trio.sleep(0.002)


async def _babble(door: Door, port: int, rng: random.Random) -> None:
    async with _connected(port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_hear, stream, nursery.cancel_scope)
        for _ in range(rng.randint(1, 50)):
            await stream.send_all(_noise(door, rng))
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def _hear(stream: trio.SocketStream, whole: trio.CancelScope) -> None:
    with contextlib.suppress(*_GONE):
        while await stream.receive_some():
            pass
    whole.cancel()


def _noise(door: Door, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return rng.randbytes(rng.randint(1, 20_000))
    data = bytearray(rng.choice((door.query, door.put))(rng))
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.getrandbits(8)
    return bytes(data)
