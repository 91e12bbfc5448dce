"""One client of the HTTP door: bytes in, requests one after the other, bytes out, each wait with its deadline.

In the place of Hypercorn's own server, which bounds none of this: a client may take for ever to read an answer (it is
sent behind a shield, which no deadline reaches), to send a body, or leave it unread; there is no limit on connections
or on bytes that wait. Here an idle connection, half-sent headers and a slow reader have deadlines, bodies have theirs
where they are read (`_bodies`), and who is answered before its body has come is listened to for a moment longer, so
that the answer is not lost in a reset.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.typing import ConnectionState

from engram.gateway._outbox import Outbox
from engram.gateway._streams import is_loopback
from engram.gateway.http._protocol import Http1, Tasks

if TYPE_CHECKING:
    from hypercorn.config import Config
    from hypercorn.events import Event
    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.typing import AppWrapper
    from trio.abc import Stream

    from engram.gateway.http._door import HttpDoor

_CHUNK_BYTES = 64 * 1024

Address = tuple[str, int]


class Connection:
    """Serves one connection to its end."""

    def __init__(
        self,
        door: HttpDoor,
        stream: Stream,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        *,
        client: Address,
        server: Address,
        encrypted: bool,
    ) -> None:
        self.unsent_bytes = 0
        self.near = is_loopback(client[0])
        self.gone = False
        """Whether the other end is to be told nothing more: it has gone, or was given up."""
        self._settings = door.settings
        self._stream = stream
        self._outbox = Outbox(door, self, stream)
        self._app = app
        self._config = config
        self._context = context
        self._client, self._server, self._encrypted = client, server, encrypted
        self._everything = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._waiting = trio.CancelScope()
        self._idle = True
        self._begun = False

    def stop(self) -> None:
        """Take no further request; one under way is answered."""
        if self._idle:
            self._reading.cancel()

    def give_up(self) -> None:
        """End at once, with all that was asked for."""
        self.gone = True
        self._everything.cancel()

    async def run(self) -> None:
        """Converse until the client goes, breaks the rules, is silent for too long, or `stop` is called."""
        with self._everything:
            async with trio.open_nursery() as tasks:
                protocol = Http1(
                    self._app,
                    self._config,
                    self._context,
                    Tasks(tasks),  # type: ignore[arg-type] # what a protocol asks of a task group, and no more
                    ConnectionState({}),
                    self._encrypted,
                    self._client,
                    self._server,
                    self._send,
                )
                with self._reading:
                    await self._read(protocol)
                await protocol.handle(Closed())
        self._outbox.drop()

    async def _read(self, protocol: Http1) -> None:
        while True:
            data = await self._receive()
            if not data:
                if self._waiting.cancelled_caught and self._begun:
                    await protocol.refuse(408)
                return
            self._begun = self._idle
            await protocol.handle(RawData(data))

    async def _receive(self) -> bytes:
        with trio.CancelScope(deadline=self._deadline()) as self._waiting:
            try:
                return bytes(await self._stream.receive_some(_CHUNK_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.gone = True
        return b""

    def _deadline(self) -> float:
        """Say until when the next bytes are waited for. What half-sent headers may take begins with their first."""
        if not self._idle:
            return math.inf
        if self._begun:
            return min(self._waiting.deadline, trio.current_time() + self._settings.headers_deadline_s)
        return trio.current_time() + self._settings.idle_deadline_s

    async def _send(self, event: Event) -> None:
        match event:
            case RawData():
                await self._outbox.send(event.data)
            case Updated():
                self._idle = event.idle
                self._begun = False
                self._waiting.deadline = self._deadline()
            case Closed():
                self._reading.cancel()
