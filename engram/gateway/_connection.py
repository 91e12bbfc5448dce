"""The clients of the RPC door: one `ServerConnection` each, every call that waits for anything a task of its own.

What bounds them: connections (the next one is told `busy`), requests in flight a connection (then its socket is not
read), bytes of requests held by the whole door, the time of a call, of a write to a slow reader, and of half a message.
Answers leave in the order in which they are ready. A client that has gone away cancels nothing: its calls run to their
end, and only their answers are dropped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import trio

from engram.errors import Busy, DeadlineExceeded, EngramError, Internal
from engram.runtime import Log, described
from engram.wire import BadCall, Call, Fatal, Notice, ServerConnection, patience_s

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import Any

    from trio.abc import HalfCloseableStream

    from engram.gateway._service import Service
    from engram.limits import Limits
    from engram.ports import Rng
    from engram.wire import Answer, Event, Request

_CHUNK_BYTES = 64 * 1024
_LINGER_S = 2.0
"""How long a closing connection reads on: closing on unread bytes resets it, and the last words would be lost."""
_TOGETHER = 32
"""Calls that are carried out in one go, at most: with more of them others would wait for the loop."""
_REFUSALS = 64
"""Connections over the limit that are told so at one time; those beyond are only closed."""
_RETRY_S = 1.0

log = Log()


class RpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose about the door."""

    call_deadline_s: float = 60.0
    """Long texts have longer: `engram.wire.patience_s`."""
    write_deadline_s: float = 30.0
    silence_deadline_s: float = 60.0
    """How long a client may be silent in the middle of a message; between messages it may be so for ever."""
    grace_s: float = 10.0
    """How long a graceful stop waits for the calls in flight."""
    held_bytes: int = 256 * 1024 * 1024
    """Bytes of requests, whole or half, that the door holds for all its clients."""


class Door:
    """What the connections of one door share."""

    def __init__(self, service: Service, limits: Limits, settings: RpcSettings, rng: Rng) -> None:
        self.service = service
        self.limits = limits
        self.settings = settings
        self.rng = rng
        self.held_bytes = 0
        self._connections: set[_Connection] = set()
        self._refusals = 0
        self._stopping = False

    async def serve(self, stream: HalfCloseableStream) -> None:
        """Serve one client to its end. No client's fault ends another's connection."""
        try:
            async with stream:
                if self._stopping:
                    return
                if len(self._connections) >= self.limits.connections:
                    await self._refuse(stream)
                    return
                await self._converse(_Connection(self, stream))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("rpc_client_gone")
        except Exception as error:  # noqa: BLE001 - the gateway's edge: a bug in one connection is not the others' end
            _report(error)

    def stop(self) -> None:
        """Take no new message from anybody."""
        self._stopping = True
        for connection in self._connections:
            connection.stop()

    async def _converse(self, connection: _Connection) -> None:
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    async def _refuse(self, stream: HalfCloseableStream) -> None:
        if self._refusals >= _REFUSALS:
            return
        self._refusals += 1
        try:
            error = Busy(
                f"{self.limits.connections} connections are open, which is the limit; close one, or wait",
                retry_after_s=_RETRY_S,
            )
            with trio.move_on_after(_LINGER_S):
                await stream.send_all(ServerConnection(self.limits).send_refusal(Fatal(error)))
                await _linger(stream)
        finally:
            self._refusals -= 1


class _Connection:
    """One client: a task that reads, and a task a call, or a task for several that came together."""

    def __init__(self, door: Door, stream: HalfCloseableStream) -> None:
        self._door = door
        self._stream = stream
        self._codec = ServerConnection(door.limits)
        self._slots = trio.Semaphore(door.limits.in_flight)
        self._sending = trio.StrictFIFOLock()
        self._waiting = trio.CancelScope()
        self._stopped = False
        self._pending_bytes = 0
        self._run: list[Call] = []
        self._kind: Hashable = None

    def stop(self) -> None:
        """Read no more. The calls in flight go on, and their answers leave."""
        self._stopped = True
        self._waiting.cancel()

    async def run(self) -> None:
        """Converse until the client closes or breaks the rules, or `stop` is called, and every call is answered."""
        try:
            async with trio.open_nursery() as calls:
                fatal = await self._read(calls)
        finally:
            self._hold(0)
        if fatal is not None:
            await self._send(self._codec.send_refusal(fatal))
            with trio.move_on_after(_LINGER_S):
                await _linger(self._stream)

    async def _read(self, calls: trio.Nursery) -> Fatal | None:
        while data := await self._receive():
            try:
                for event in self._codec.receive(data):
                    if isinstance(event, Fatal):
                        return event
                    await self._take(event, calls)
                    if self._stopped:
                        return None
            finally:
                self._begin(calls)
            if not self._hold(self._codec.pending_bytes):
                return Fatal(self._busy())
        if self._waiting.cancelled_caught and not self._stopped:
            limit_s = self._door.settings.silence_deadline_s
            return Fatal(DeadlineExceeded(f"half a message came, and no more for {limit_s:g} s"))
        return None

    async def _receive(self) -> bytes:
        """Give what came; nothing where no more will, or not in time. Only this wait is cut short by `stop`.

        A client that has gone is no error here: what it has asked for is carried out all the same.
        """
        limit_s = self._door.settings.silence_deadline_s if self._codec.pending_bytes else math.inf
        self._waiting = trio.CancelScope(deadline=trio.current_time() + limit_s)
        if not self._stopped:
            with self._waiting:
                try:
                    return bytes(await self._stream.receive_some(_CHUNK_BYTES))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return b""
        return b""

    async def _take(self, event: Event, calls: trio.Nursery) -> None:
        if not isinstance(event, Call):
            assert isinstance(event, BadCall | Notice)
            self._begin(calls)
            await self._send(self._codec.send_refusal(event))
            return
        if self._door.held_bytes + event.size_bytes > self._door.settings.held_bytes:
            self._begin(calls)
            await self._send(self._codec.send_error(event.id, self._busy()))
            return
        if (answered := self._at_once(event)) is not None:
            self._begin(calls)
            await self._send(answered)
            return
        if not self._slots.value:
            self._begin(calls)
            await self._slots.acquire()
        else:
            self._slots.acquire_nowait()
        if self._stopped:
            return
        self._door.held_bytes += event.size_bytes
        kind = self._door.service.together(event.request)
        if kind is None or kind != self._kind or len(self._run) == _TOGETHER:
            self._begin(calls)
        self._run.append(event)
        self._kind = kind

    def _at_once(self, call: Call) -> bytes | None:
        try:
            answer = self._door.service.answer_now(call.request)
        except EngramError as error:
            return self._codec.send_error(call.id, error)
        except Exception as error:  # noqa: BLE001 - the gateway's edge, as in `_outcome`
            return self._codec.send_error(call.id, self._internal(call.request, error))
        return None if answer is None else self._encoded(call, answer)

    def _begin(self, calls: trio.Nursery) -> None:
        """Have what has come together carried out."""
        if self._run:
            calls.start_soon(self._answer, self._run)
            self._run = []

    async def _answer(self, calls: Sequence[Call]) -> None:
        try:
            outcomes = await self._outcomes([call.request for call in calls])
            await self._send(b"".join(map(self._encoded, calls, outcomes)))
        finally:
            for call in calls:
                self._door.held_bytes -= call.size_bytes
                self._slots.release()

    async def _outcomes(self, requests: Sequence[Request[Any]]) -> Sequence[Answer | EngramError]:
        if len(requests) == 1:
            return [await self._outcome(requests[0])]
        limit_s = self._door.settings.call_deadline_s
        try:
            with trio.move_on_after(limit_s):
                return await self._door.service.call_together(requests)
        except EngramError as error:
            return [error] * len(requests)
        except Exception:  # noqa: BLE001 - the gateway's edge: whose bug it is, is found out, answered and logged
            return [await self._outcome(request) for request in requests]
        return [self._late(request, limit_s) for request in requests]

    async def _outcome(self, request: Request[Any]) -> Answer | EngramError:
        limit_s = self._door.settings.call_deadline_s + patience_s(request)
        try:
            with trio.move_on_after(limit_s):
                return await self._door.service.call(request)
        except EngramError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the gateway's edge: a bug is answered, and logged without users' text
            return self._internal(request, error)
        return self._late(request, limit_s)

    def _encoded(self, call: Call, outcome: Answer | EngramError) -> bytes:
        if isinstance(outcome, EngramError):
            return self._codec.send_error(call.id, outcome)
        try:
            return self._codec.send_result(call.id, outcome)
        except (TypeError, ValueError, OverflowError) as error:
            return self._codec.send_error(call.id, self._internal(call.request, error))

    async def _send(self, data: bytes) -> None:
        """Send, or find that nobody reads: then the connection is closed, and what follows is dropped."""
        try:
            self._sending.acquire_nowait()  # to wait for a lock that is free costs a turn of the loop
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            with trio.fail_after(self._door.settings.write_deadline_s):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            log.info("rpc_reader_too_slow", write_deadline_s=self._door.settings.write_deadline_s)
            await trio.aclose_forcefully(self._stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.stop()
        finally:
            self._sending.release()

    def _hold(self, pending_bytes: int) -> bool:
        """Count the half message among the bytes that the door holds. False: they are too many."""
        self._door.held_bytes += pending_bytes - self._pending_bytes
        self._pending_bytes = pending_bytes
        return pending_bytes == 0 or self._door.held_bytes <= self._door.settings.held_bytes

    def _late(self, request: Request[Any], limit_s: float) -> DeadlineExceeded:
        return DeadlineExceeded(f"the {request.method} took longer than {limit_s:g} s; a put can be sent again")

    def _busy(self) -> Busy:
        limit = self._door.settings.held_bytes
        return Busy(f"the node holds {limit} bytes of requests, which is its limit", retry_after_s=_RETRY_S)

    def _internal(self, request: Request[Any], error: Exception) -> Internal:
        incident = self._door.rng.bytes(4).hex()
        log.error("rpc_call_failed", method=request.method, error=described(error), incident=incident)
        return Internal(f"the node failed on this {request.method}; its log has more under {incident}")


async def _linger(stream: HalfCloseableStream) -> None:
    await stream.send_eof()
    while await stream.receive_some(_CHUNK_BYTES):
        pass


def _report(error: Exception) -> None:
    log.error("rpc_connection_failed", error=described(error))
