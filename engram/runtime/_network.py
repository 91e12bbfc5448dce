"""The real Network port: TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from trio.abc import HalfCloseableStream, Listener, Stream


class RealNetwork:
    """TCP behind `engram.ports.Network`."""

    async def resolve(self, host: str) -> list[str]:
        """Ask the system's resolver."""
        found = await trio.socket.getaddrinfo(host, None)
        return [str(address[0]).partition("%")[0] for *_, address in found]

    async def listen(self, host: str, port: int) -> list[tuple[tuple[str, int], Listener[HalfCloseableStream]]]:
        """Listen on a socket for each address of `host`."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        return [(listener.socket.getsockname()[:2], listener) for listener in listeners]

    async def connect(self, host: str, port: int) -> HalfCloseableStream:
        """Connect to the first address that answers."""
        return await trio.open_tcp_stream(host, port)

    def peer(self, stream: Stream) -> str:
        """Ask the socket."""
        assert isinstance(stream, trio.SocketStream)
        return str(stream.socket.getpeername()[0])
