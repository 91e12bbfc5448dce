"""A client of a node for simulations: MessagePack-RPC by the wire codec, over any Network port."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import msgspec
import trio

from engram.errors import EngramError
from engram.wire import ClientConnection, Response

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from engram.ports import Network
    from engram.wire import Answer, Request

A = TypeVar("A", bound=msgspec.Struct)

_CHUNK_BYTES = 64 * 1024


class NoAnswer(Exception):
    """The connection ended, or the time was over, before the answer came: what became of the call is not known."""

    late = False
    """Whether the time was over."""


class AsyncClient:
    """One connection to a node at a time, made when it is needed; one task at a time uses it."""

    def __init__(self, network: Network, host: str, port: int, *, patience_s: float = 30.0) -> None:
        """`patience_s`: how long a call waits for its answer."""
        self._network = network
        self._address = host, port
        self._patience_s = patience_s
        self._stream: trio.abc.HalfCloseableStream | None = None
        self._codec = ClientConnection()

    async def call(self, request: Request[A]) -> A:
        """Carry out one call. Raises what the node answered, or `NoAnswer`."""
        [outcome] = await self.call_all([request])
        if isinstance(outcome, Exception):
            raise outcome
        return cast("A", outcome)

    async def call_all(self, requests: Sequence[Request[Any]]) -> list[Answer | EngramError | NoAnswer]:
        """Send every request, then wait for every answer; what the codec refuses is its own outcome."""
        outcomes: dict[int, Answer | EngramError | NoAnswer] = {}
        numbers: dict[int, int] = {}
        try:
            with trio.fail_after(self._patience_s):
                stream = await self._connected()
                for number, request in enumerate(requests):
                    try:
                        call_id, data = self._codec.call(request)
                    except EngramError as error:
                        outcomes[number] = error
                        continue
                    numbers[call_id] = number
                    await stream.send_all(data)
                while numbers:
                    for response in await self._receive(stream):
                        outcomes[numbers.pop(response.id)] = response.outcome
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, EngramError) as error:
            await self.close()
            lost = NoAnswer(f"{type(error).__name__}: {error}")
            lost.late = isinstance(error, trio.TooSlowError)
            outcomes = {number: outcomes.get(number, lost) for number in range(len(requests))}
        return [outcomes[number] for number in range(len(requests))]

    async def send_raw(self, data: bytes) -> bytes:
        """Send bytes that may be no message, and give what comes back first; nothing where the node hangs up."""
        try:
            with trio.fail_after(self._patience_s):
                stream = await self._connected()
                await stream.send_all(data)
                return bytes(await stream.receive_some(_CHUNK_BYTES))
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            return b""
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection; the next call makes another."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _connected(self) -> trio.abc.HalfCloseableStream:
        if self._stream is None:
            self._stream = await self._network.connect(*self._address)
            self._codec = ClientConnection()
        return self._stream

    async def _receive(self, stream: trio.abc.HalfCloseableStream) -> list[Response]:
        data = await stream.receive_some(_CHUNK_BYTES)
        if not data:
            raise trio.BrokenResourceError("the node closed the connection")
        return [event for event in self._codec.receive(bytes(data)) if isinstance(event, Response)]
