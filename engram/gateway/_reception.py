"""Where clients come in: who is let in and as whom, and what is encrypted.

On loopback a connection is plain, and its caller the operator. Elsewhere it is TLS 1.3 with ALPN `engram/1`. A door
that listens elsewhere too tells the two apart by the first byte: a client on this machine may speak plainly to it
still, and stays the operator over TLS; any other one that does not speak TLS is told so.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING

import trio

from engram.errors import BadRequest
from engram.gateway._connection import Connection
from engram.gateway._hello import Introduction
from engram.gateway._streams import LINGER_S, abort, close, is_broken, is_loopback, linger, takes_the_last
from engram.gateway._tls import ALPN, ssl_context_of
from engram.identity import ANONYMOUS, OPERATOR
from engram.runtime import Log, described
from engram.wire import Fatal, ServerConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.abc import HalfCloseableStream, Stream

    from engram.errors import Busy
    from engram.gateway._door import Door
    from engram.gateway._tls import Certificate
    from engram.identity import Caller
    from engram.ports import Network

_REFUSALS = 64
"""Connections over the limit that are told so at one time; those beyond are only closed."""
_HANDSHAKE = b"\x16"
"""The first byte of TLS; no message of ours begins so."""

log = Log()


class Reception:
    """Serves every client of a door. No client's fault ends another's connection."""

    def __init__(self, door: Door, network: Network, certificate: Certificate | None) -> None:
        """`certificate`: where the door listens elsewhere than on loopback."""
        self._door = door
        self._network = network
        self._certificate = certificate
        self._context = None if certificate is None else ssl_context_of(certificate, [ALPN])
        self._connections: set[Connection] = set()
        self._handshakes: OrderedDict[trio.CancelScope, None] = OrderedDict()
        self._refusals = 0
        self._stopping = False

    def stop(self) -> None:
        """Take no new message from anybody."""
        self._stopping = True
        for connection in self._connections:
            connection.stop()
        for scope in list(self._handshakes):
            scope.cancel()

    async def serve(self, stream: HalfCloseableStream) -> None:
        """Serve one client to its end."""
        try:
            if is_broken(stream):
                log.debug("rpc_client_gone")  # while it stood in line: those behind it wait for whoever is let in
            elif takes_the_last(stream):
                log.debug("rpc_descriptors_spent")
            elif self._context is None:
                await self._converse(stream, OPERATOR, None)
            else:
                await self._enter(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):  # of a bare socket
            log.debug("rpc_client_gone")
        except Exception as error:  # noqa: BLE001 - the gateway's edge: a bug in one connection is not the others' end
            _report(error)
        finally:
            await trio.aclose_forcefully(stream)

    # -- plain or not --

    async def _enter(self, stream: HalfCloseableStream) -> None:
        assert isinstance(stream, trio.SocketStream), "simulated networks have no elsewhere"
        assert self._context is not None
        assert self._certificate is not None
        near = is_loopback(self._network.peer(stream))
        encrypted = trio.SSLStream(stream, self._context, server_side=True)
        plain: bool | None = None
        with self._handshake() as scope:
            first = await stream.socket.recv(1, trio.socket.MSG_PEEK)
            plain = bool(first) and first != _HANDSHAKE
            if first and not plain:
                await encrypted.do_handshake()
        if scope.cancelled_caught or plain is None or not first:
            log.debug("rpc_handshake_given_up")
        elif not plain:
            await self._converse_encrypted(encrypted, OPERATOR if near else ANONYMOUS, self._certificate.der)
        elif near:
            await self._converse(stream, OPERATOR, None)
        else:
            await self._tell(stream, Fatal(BadRequest("this is no loopback, where memories travel by TLS 1.3 only")))

    @contextlib.contextmanager
    def _handshake(self) -> Iterator[trio.CancelScope]:
        """Give a time to be encrypted in, and a place among those that are. The oldest makes room for one more.

        A client that means it is done in milliseconds: so those who dawdle can keep nobody out.
        """
        settings = self._door.settings
        if len(self._handshakes) >= settings.handshakes:
            self._handshakes.popitem(last=False)[0].cancel()
        with trio.move_on_after(settings.handshake_deadline_s) as scope:
            self._handshakes[scope] = None
            try:
                yield scope
            finally:
                self._handshakes.pop(scope, None)

    async def _converse_encrypted(self, stream: trio.SSLStream[trio.SocketStream], caller: Caller, der: bytes) -> None:
        if stream.selected_alpn_protocol() != ALPN:
            await self._tell(stream, Fatal(BadRequest(f"TLS here is with ALPN {ALPN}, which was not offered")))
        else:
            await self._converse(stream, caller, der)

    # -- conversations --

    async def _converse(self, stream: Stream, caller: Caller, certificate: bytes | None) -> None:
        if self._stopping:
            return
        connection = Connection(self._door, stream, Introduction(self._door.service, caller, certificate))
        with self._door.places.place(near=caller.operator) as busy:
            if busy is None:
                self._connections.add(connection)
                try:
                    fatal = await connection.run()
                finally:
                    self._connections.discard(connection)
        if busy is not None:
            self._make_room()
            await self._refuse(stream, busy)
            return
        if fatal:
            await linger(stream)
        await (abort(stream) if connection.gone else close(stream))

    def _make_room(self) -> None:
        """End the stranger that has been idle for longest, if for long: so those who only stay keep nobody out."""
        idle = max((each for each in self._connections if not each.near), key=lambda each: each.idle_s, default=None)
        if idle is not None and idle.idle_s > self._door.settings.silence_deadline_s:
            idle.stop()

    async def _refuse(self, stream: Stream, busy: Busy) -> None:
        if self._refusals >= _REFUSALS:
            return
        self._refusals += 1
        try:
            await self._tell(stream, Fatal(busy))
        finally:
            self._refusals -= 1

    async def _tell(self, stream: Stream, fatal: Fatal) -> None:
        with trio.move_on_after(LINGER_S):
            await stream.send_all(ServerConnection(self._door.limits).send_refusal(fatal))
            await linger(stream)


def _report(error: Exception) -> None:
    log.error("rpc_connection_failed", error=described(error))
