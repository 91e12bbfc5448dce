"""What leaves on one connection: answers in the order in which they are ready, those that wait together in one go."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from engram.gateway._streams import send_now
from engram.runtime import Log

if TYPE_CHECKING:
    from trio.abc import Stream

    from engram.gateway._door import Door, Reader

_CHUNK_BYTES = 64 * 1024

log = Log()


class Outbox:
    """The sending half of a stream, for many tasks. What cannot be sent ends the reader; what follows is dropped."""

    def __init__(self, door: Door, reader: Reader, stream: Stream) -> None:
        self._door = door
        self._reader = reader
        self._stream = stream
        self._lock = trio.StrictFIFOLock()
        self._waiting: deque[bytes] = deque()
        self._added = self._taken = 0
        self._deadline_s = door.settings.write_deadline_s

    async def send(self, data: bytes) -> None:
        """Send, and return when it has left; each wait for the reader has a deadline.

        What the kernel takes at once costs no turn of the loop: this is a checkpoint only where it must wait.
        """
        self._door.unsent(self._reader, len(data))
        self._waiting.append(data)
        self._added += 1
        ticket = self._added
        try:
            self._lock.acquire_nowait()  # to wait for a lock that is free costs a turn of the loop
        except trio.WouldBlock:
            try:
                await self._lock.acquire()
            except BaseException:
                self.drop()
                raise
        try:
            while self._taken < ticket:
                await self._send_some()
        finally:
            self._lock.release()

    def drop(self) -> None:
        """Send nothing of what waits."""
        for data in self._waiting:
            self._door.sent(self._reader, len(data))
        self._taken += len(self._waiting)
        self._waiting.clear()

    async def _send_some(self) -> None:
        data = self._next()
        try:
            if (sent := send_now(self._stream, data)) < len(data):
                with trio.fail_after(self._deadline_s):
                    await self._stream.send_all(memoryview(data)[sent:])
        except trio.TooSlowError:
            log.info("reader_too_slow", write_deadline_s=self._deadline_s)
            self._reader.give_up()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("client_gone")
            self._reader.give_up()
        finally:
            self._door.sent(self._reader, len(data))

    def _next(self) -> bytes:
        parts = [self._waiting.popleft()]
        size_bytes = len(parts[0])
        while self._waiting and size_bytes + len(self._waiting[0]) <= _CHUNK_BYTES:
            parts.append(self._waiting.popleft())
            size_bytes += len(parts[-1])
        self._taken += len(parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)
