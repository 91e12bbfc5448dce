"""One client of the RPC door: a task that reads, and a task a call, or a task for several that came together.

What bounds it: requests in flight (then its socket is not read), bytes of requests and of unread answers held by the
whole door, the time of a call, of a write to a slow reader, and of half a message. What is answered at once takes no
task, and leaves with all that was answered in the same breath. Answers leave in the order in which they are ready.

How a client ends decides what becomes of its calls. One that stops sending, as TCP and TLS both know how to say, gets
its answers. One whose connection breaks hears no answer: its calls are cancelled, and what they wait for is not begun.
A write that the store has taken is not undone by that; one that still waits to be embedded is never made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from engram.errors import DeadlineExceeded, EngramError, Internal
from engram.gateway._outbox import Outbox
from engram.gateway._streams import is_broken
from engram.runtime import Log, described
from engram.wire import Call, Fatal, ServerConnection, patience_s

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import Any

    from trio.abc import Stream

    from engram.gateway._door import Door
    from engram.gateway._hello import Introduction
    from engram.identity import Caller
    from engram.wire import Answer, Event, Request

CHUNK_BYTES = 64 * 1024
_TOGETHER = 32
"""Calls that are carried out in one go, at most: with more of them others would wait for the loop."""
_BREATH_S = 0.001
_BREATH_CALLS = 128
"""How long a client's calls are answered at once, and how many, before others have the loop."""
_LOOK_S = 0.25
"""How often a connection that is not read is looked at, whether it is broken."""

log = Log()


class Connection:
    """One client, from its first message to its last answer."""

    def __init__(self, door: Door, stream: Stream, introduction: Introduction) -> None:
        self.unsent_bytes = 0
        self.gone = False
        self._door = door
        self._stream = stream
        self._introduction = introduction
        self._codec = ServerConnection(door.limits)
        self._outbox = Outbox(door, self, stream)
        self._slots = trio.Semaphore(door.limits.in_flight)
        self._waiting = trio.CancelScope()
        self._life = trio.CancelScope()
        self._stopped = False
        self._pending_bytes = 0
        self._run: list[Call] = []
        self._kind: Hashable = None
        self._caller = introduction.caller
        self.near = introduction.caller.operator
        self._ready: list[bytes] = []
        self._ready_bytes = 0
        self._breath_ends = -math.inf
        self._heard = trio.current_time()

    @property
    def idle_s(self) -> float:
        """How long the client has asked for nothing, and waits for no answer."""
        busy = self._codec.pending_bytes or self._slots.value < self._door.limits.in_flight
        return 0.0 if busy else trio.current_time() - self._heard

    def stop(self) -> None:
        """Read no more. The calls in flight go on, and their answers leave."""
        self._stopped = True
        self._waiting.cancel()

    def give_up(self) -> None:
        """End at once: cancel the calls in flight, and drop their answers."""
        self.gone = True
        self._life.cancel()

    async def run(self) -> Fatal | None:
        """Converse until the client closes or breaks the rules, or `stop` is called, and every call is answered.

        Give what the client was told last, where it broke the rules.
        """
        fatal = None
        try:
            with self._life:
                async with trio.open_nursery() as looking:
                    async with trio.open_nursery() as calls:
                        fatal = await self._read(calls)
                        looking.start_soon(self._look)
                    looking.cancel_scope.cancel()
        finally:
            self._hold(0)
            self._outbox.drop()
        if fatal is not None:
            await self._outbox.send(self._codec.send_refusal(fatal))
        return fatal

    async def _read(self, calls: trio.Nursery) -> Fatal | None:
        while data := await self._receive():
            self._heard = trio.current_time()
            self._breath_ends = self._heard + _BREATH_S
            try:
                for event in self._codec.receive(data):
                    if isinstance(event, Fatal):
                        return event
                    await self._take(event, calls)
                    if self._stopped:
                        return None
            finally:
                self._begin(calls)
                await self._flush()
            if not self._hold(self._codec.pending_bytes):
                return Fatal(self._door.busy(near=self.near))
        if self._waiting.cancelled_caught and not self._stopped:
            what = "no hello" if self._introduction.due else "half a message came, and no more"
            return Fatal(DeadlineExceeded(f"{what} for {self._silence_s():g} s"))
        return None

    async def _receive(self) -> bytes:
        """Give what came; nothing where no more will, or not in time. Only this wait is cut short by `stop`."""
        self._waiting = trio.CancelScope(deadline=trio.current_time() + self._silence_s())
        if not self._stopped:
            with self._waiting:
                try:
                    return bytes(await self._stream.receive_some(CHUNK_BYTES))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._lost()
        return b""

    def _silence_s(self) -> float:
        """Say how long the client may be silent now: not for long until it has said who it is."""
        if self._introduction.due:
            return self._door.settings.handshake_deadline_s
        return self._door.settings.silence_deadline_s if self._codec.pending_bytes else math.inf

    async def _look(self) -> None:
        """See whether a client that is read no more still waits for its answers."""
        while not is_broken(self._stream):  # noqa: ASYNC110 - the kernel has no other way to say so
            await trio.sleep(_LOOK_S)
        self._lost()

    def _lost(self) -> None:
        log.debug("rpc_client_gone")
        self.give_up()

    # -- one message --

    async def _take(self, event: Event, calls: trio.Nursery) -> None:
        if (answered := self._at_once(event)) is not None:
            self._begin(calls)
            await self._add(answered)
            return
        assert isinstance(event, Call)
        if self._slots.value:
            self._slots.acquire_nowait()
        else:
            self._begin(calls)
            await self._flush()
            await self._wait_for_slot()
        if self._stopped:
            return
        self._door.held_bytes += event.size_bytes
        kind = self._door.service.together(event.request)
        caller = self._introduction.caller
        if kind is None or kind != self._kind or caller is not self._caller or len(self._run) == _TOGETHER:
            self._begin(calls)
        self._run.append(event)
        self._kind, self._caller = kind, caller

    def _at_once(self, event: Event) -> bytes | None:
        """Give the bytes that answer what waits for nothing; None for a call that is to be carried out."""
        if not isinstance(event, Call):
            return self._codec.send_refusal(event)
        try:
            answer = self._introduction.answer(event.request)
            if answer is None:
                answer = self._door.service.answer_now(event.request, self._introduction.caller)
        except EngramError as error:
            return self._codec.send_error(event.id, error)
        except Exception as error:  # noqa: BLE001 - the gateway's edge, as in `_outcome`
            return self._codec.send_error(event.id, self._internal(event.request, error))
        if answer is not None:
            return self._encoded(event, answer)
        if not self._door.holds(event.size_bytes, near=self.near):
            return self._codec.send_error(event.id, self._door.busy(near=self.near))
        return None

    async def _wait_for_slot(self) -> None:
        """Wait until a call is answered; who waits so long is not read, and may be gone without a sound."""
        while not self._slots.value:
            with trio.move_on_after(_LOOK_S):
                await self._slots.acquire()
                return
            if is_broken(self._stream):
                self._lost()
        await self._slots.acquire()

    async def _add(self, data: bytes) -> None:
        """Have an answer leave with the others of this breath."""
        self._ready.append(data)
        self._ready_bytes += len(data)
        if (
            len(self._ready) >= _BREATH_CALLS
            or self._ready_bytes >= CHUNK_BYTES
            or trio.current_time() >= self._breath_ends
        ):
            await self._flush()
            await trio.lowlevel.checkpoint()
            self._breath_ends = trio.current_time() + _BREATH_S

    async def _flush(self) -> None:
        if self._ready:
            ready, self._ready, self._ready_bytes = self._ready, [], 0
            await self._outbox.send(ready[0] if len(ready) == 1 else b"".join(ready))

    # -- the calls in flight --

    def _begin(self, calls: trio.Nursery) -> None:
        """Have what has come together carried out."""
        if self._run:
            calls.start_soon(self._answer, self._run, self._caller)
            self._run = []

    async def _answer(self, calls: Sequence[Call], caller: Caller) -> None:
        try:
            outcomes = await self._outcomes([call.request for call in calls], caller)
            data = b"".join(map(self._encoded, calls, outcomes))
            del outcomes  # an answer waits for its reader once, as bytes
            await self._outbox.send(data)
        finally:
            for call in calls:
                self._door.held_bytes -= call.size_bytes
                self._slots.release()

    async def _outcomes(self, requests: Sequence[Request[Any]], caller: Caller) -> Sequence[Answer | EngramError]:
        if len(requests) == 1:
            return [await self._outcome(requests[0], caller)]
        limit_s = self._door.settings.call_deadline_s
        try:
            with trio.move_on_after(limit_s):
                return await self._door.service.call_together(requests, caller)
        except EngramError as error:
            return [error] * len(requests)
        except Exception:  # noqa: BLE001 - the gateway's edge: whose bug it is, is found out, answered and logged
            return [await self._outcome(request, caller) for request in requests]
        return [self._late(request, limit_s) for request in requests]

    async def _outcome(self, request: Request[Any], caller: Caller) -> Answer | EngramError:
        limit_s = self._door.settings.call_deadline_s + patience_s(request)
        try:
            with trio.move_on_after(limit_s):
                return await self._door.service.call(request, caller)
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

    # -- bounds and errors --

    def _hold(self, pending_bytes: int) -> bool:
        """Count the half message among the bytes that the door holds. False: they are too many."""
        self._door.held_bytes += pending_bytes - self._pending_bytes
        self._pending_bytes = pending_bytes
        return pending_bytes == 0 or self._door.holds(0, near=self.near)

    def _late(self, request: Request[Any], limit_s: float) -> DeadlineExceeded:
        return DeadlineExceeded(f"the {request.method} took longer than {limit_s:g} s; a put can be sent again")

    def _internal(self, request: Request[Any], error: Exception) -> Internal:
        incident = self._door.rng.bytes(4).hex()
        log.error("rpc_call_failed", method=request.method, error=described(error), incident=incident)
        return Internal(f"the node failed on this {request.method}; its log has more under {incident}")
