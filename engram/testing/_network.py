"""A simulated network: streams in one process, late, in pieces, cut off, as its seed says.

Each direction of a connection is a bounded queue of chunks with the time at which they arrive; order holds, sizes do
not. A host whose power is cut takes its connections along: what had left may still arrive, or not.
"""

from __future__ import annotations

import errno
import math
import operator
from collections import deque
from typing import TYPE_CHECKING

import msgspec
import trio
from trio.abc import HalfCloseableStream, Listener

from engram.testing._disk import failure

if TYPE_CHECKING:
    from random import Random

    from trio.abc import Stream

    from engram.testing._power import Power

LOOPBACK = "127.0.0.1"
_BUFFER_BYTES = 64 * 1024
_FIRST_PORT = 49_152


class NetworkFaults(msgspec.Struct, frozen=True):
    """How bad a network is. Seconds; shares of the sends, the receives, the connects."""

    latency_s: float = 0.0005
    latency_spread_s: float = 0.002
    pieces: float = 0.2
    """Receives that give less than has arrived."""
    resets: float = 0.0
    """Sends that end the connection instead."""
    refusals: float = 0.0
    """Connects that are refused though somebody listens."""


class SimNetwork:
    """All hosts and connections. `host` gives the Network port of one of them."""

    def __init__(self, rng: Random, faults: NetworkFaults | None = None) -> None:
        self.faults = faults or NetworkFaults()
        self.rng = rng
        self.listeners: dict[int, _SimListener] = {}
        self.streams: list[SimStream] = []
        self._healed_at = -math.inf
        self._next_port = _FIRST_PORT

    def host(self, power: Power | None = None) -> HostNetwork:
        """Give the port of a host; with `power`, its connections end when that is cut."""
        host = HostNetwork(self, power)
        if power is not None:
            power.when_cut(host.lose_power)
        return host

    def part(self, duration_s: float) -> None:
        """Let nothing that is sent from now on arrive before `duration_s` have passed."""
        self._healed_at = trio.current_time() + duration_s

    def arrival(self) -> float:
        """Say when what is sent now arrives."""
        late = self.faults.latency_s + self.rng.random() ** 3 * self.faults.latency_spread_s
        return max(trio.current_time() + late, self._healed_at)

    def free_port(self) -> int:
        """Give a port at which nobody listens."""
        self._next_port += 1
        return self._next_port


class HostNetwork:
    """The Network port of one host."""

    def __init__(self, network: SimNetwork, power: Power | None) -> None:
        self._network = network
        self._power = power
        self._own: list[SimStream | _SimListener] = []

    async def resolve(self, host: str) -> list[str]:
        """Give the address of this process."""
        await trio.lowlevel.checkpoint()
        if host not in (LOOPBACK, "localhost"):
            raise failure(errno.ENOENT, host)
        return [LOOPBACK]

    async def listen(self, host: str, port: int) -> list[tuple[tuple[str, int], Listener[HalfCloseableStream]]]:
        """Listen at `port`, or at a free one."""
        await trio.lowlevel.checkpoint()
        self._check()
        port = port or self._network.free_port()
        if port in self._network.listeners:
            raise failure(errno.EADDRINUSE, host)
        listener = _SimListener(self._network, port, self)
        self._network.listeners[port] = listener
        self._own.append(listener)
        return [((LOOPBACK, port), listener)]

    async def connect(self, host: str, port: int) -> SimStream:
        """Connect to who listens there."""
        network = self._network
        await trio.sleep_until(network.arrival())
        self._check()
        listener = network.listeners.get(port)
        if listener is None or network.rng.random() < network.faults.refusals:
            raise failure(errno.ECONNREFUSED, f"{host}:{port}")
        there, back = _Pipe(network), _Pipe(network)
        stream = self.stream(there, back)
        listener.arrive(listener.host.stream(back, there))
        return stream

    def peer(self, stream: Stream) -> str:
        """Give the address of this process."""
        del stream
        return LOOPBACK

    def stream(self, out: _Pipe, back: _Pipe) -> SimStream:
        """Give a stream of this host."""
        stream = SimStream(self._network, out, back)
        self._own.append(stream)
        self._network.streams.append(stream)
        return stream

    def lose_power(self) -> None:
        """End every connection, and stop listening, at once."""
        for each in self._own:
            each.lose()

    def _check(self) -> None:
        if self._power is not None:
            self._power.check()


class _SimListener(Listener[HalfCloseableStream]):
    def __init__(self, network: SimNetwork, port: int, host: HostNetwork) -> None:
        self.host = host
        self._network = network
        self._port = port
        self._waiting: deque[SimStream] = deque()
        self._arrived = trio.Event()
        self._closed = False

    def arrive(self, stream: SimStream) -> None:
        self._waiting.append(stream)
        self._arrived.set()

    async def accept(self) -> HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise trio.ClosedResourceError
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self.lose()
        await trio.lowlevel.checkpoint()

    def lose(self) -> None:
        """Stop listening; who was not accepted is cut off."""
        if not self._closed:
            self._closed = True
            self._network.listeners.pop(self._port, None)
            while self._waiting:
                self._waiting.popleft().reset()
            self._arrived.set()


class SimStream(HalfCloseableStream):
    """One end of a connection."""

    def __init__(self, network: SimNetwork, out: _Pipe, back: _Pipe) -> None:
        self._network = network
        self._out = out
        self._back = back
        self._sends, self._receives = _OneTask("sending"), _OneTask("receiving")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, waiting for room."""
        with self._sends:
            await trio.lowlevel.checkpoint()
            if data and self._network.rng.random() < self._network.faults.resets:
                self.reset()
            await self._out.wait_for_room()
            await self._out.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        with self._sends:
            await trio.lowlevel.checkpoint()
            await self._out.wait_for_room()

    async def send_eof(self) -> None:
        """Say that no more will be sent."""
        with self._sends:
            await trio.lowlevel.checkpoint()
            self._out.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give some of what has arrived; nothing at the end."""
        limit = _BUFFER_BYTES if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError(f"max_bytes must be at least 1, got {limit}")
        with self._receives:
            await trio.lowlevel.checkpoint()
            return await self._back.receive(limit)

    async def aclose(self) -> None:
        """Close this end."""
        if self in self._network.streams:
            self._network.streams.remove(self)
        self._out.end()
        self._back.stop_reading()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the connection for both ends."""
        self._out.break_()
        self._back.break_()

    def lose(self) -> None:
        """Break it as a host does that loses its power: some of what has left arrives, then no more."""
        if self in self._network.streams:
            self._network.streams.remove(self)
        self._out.break_(after=self._network.rng.randrange(4))
        self._back.break_()


class _OneTask:
    """What one task may do at a time."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(f"another task is {self._doing} on this stream")
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False


class _Pipe:
    """One direction of a connection."""

    def __init__(self, network: SimNetwork) -> None:
        self._network = network
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._ended = self._unread = self._broken = self._breaks = False
        self._last_arrival = 0.0
        self._changed = trio.Event()

    async def send(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            await self.wait_for_room()
            part = data[at : at + _BUFFER_BYTES - self._held]
            self._last_arrival = max(self._last_arrival, self._network.arrival())
            self._chunks.append((self._last_arrival, part))
            self._held += len(part)
            at += len(part)
            self._change()

    async def wait_for_room(self) -> None:
        while True:
            if self._ended:
                raise trio.ClosedResourceError
            if self._broken or self._breaks or self._unread:
                raise trio.BrokenResourceError
            if self._held < _BUFFER_BYTES:
                return
            await self._changed.wait()

    async def receive(self, limit: int) -> bytes:
        while True:
            if self._unread:
                raise trio.ClosedResourceError
            if self._broken:
                raise trio.BrokenResourceError
            if self._chunks and self._chunks[0][0] <= trio.current_time():
                return self._take(limit)
            if not self._chunks and self._breaks:
                raise trio.BrokenResourceError
            if not self._chunks and self._ended:
                return b""
            with trio.move_on_at(self._chunks[0][0] if self._chunks else math.inf):
                await self._changed.wait()

    def _take(self, limit: int) -> bytes:
        arrival, data = self._chunks.popleft()
        rng = self._network.rng
        size = rng.randint(1, len(data)) if rng.random() < self._network.faults.pieces else len(data)
        taken, rest = data[: min(size, limit)], data[min(size, limit) :]
        if rest:
            self._chunks.appendleft((arrival, rest))
        self._held -= len(taken)
        self._change()
        return taken

    def end(self) -> None:
        self._ended = True
        self._change()

    def stop_reading(self) -> None:
        self._unread = True
        self._chunks.clear()
        self._change()

    def break_(self, after: int = 0) -> None:
        """Break it, at once or once the first `after` chunks under way are read."""
        if after:
            self._breaks = True
            while len(self._chunks) > after:
                self._chunks.pop()
        else:
            self._broken = True
            self._chunks.clear()
        self._change()

    def _change(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
