"""Serving HTTP: listeners from the Network port, connections within their bounds, an end with grace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext

from engram.errors import Unprocessable
from engram.gateway._metrics import Metrics
from engram.gateway._places import RETRY_S
from engram.gateway._rpc import is_near, listen
from engram.gateway._streams import LINGER_S, abort, close, is_loopback, linger, takes_the_last
from engram.gateway._tls import ssl_context_of
from engram.gateway.http._app import application
from engram.gateway.http._connection import Connection
from engram.gateway.http._door import HttpDoor, HttpSettings
from engram.gateway.http._protocol import quiet_config
from engram.limits import LIMITS, Limits
from engram.runtime import Log, RealClock, RealNetwork, RealRng, described
from engram.wire import encode_error

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from hypercorn.typing import ASGIFramework
    from trio.abc import HalfCloseableStream, Stream

    from engram.errors import Busy
    from engram.gateway._service import Service
    from engram.gateway._tls import Certificate
    from engram.gateway.http._connection import Address
    from engram.ports import Clock, Network, Rng

_REFUSALS = 64
"""Connections over the limit that are told so at one time; those beyond are only closed."""
_HANDSHAKE = b"\x16"
"""The first byte of TLS; no request begins so."""
_LOOPBACK: Address = ("127.0.0.1", 0)

log = Log()


class HttpServer:
    """A running door: what `serve_http` reports through `task_status`."""

    def __init__(self, addresses: Sequence[Address], scheme: str) -> None:
        self.addresses = addresses
        self._scheme = scheme
        self._stop = trio.Event()

    @property
    def url(self) -> str:
        """The first address."""
        host, port = self.addresses[0]
        return f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"

    def stop(self) -> None:
        """Stop gracefully; `serve_http` returns when it is done. Cancelling it instead drops everything at once."""
        self._stop.set()

    async def wait_stopping(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()


async def serve_http(
    service: Service,
    *,
    host: str = "127.0.0.1",
    port: int = 8091,
    limits: Limits = LIMITS,
    settings: HttpSettings | None = None,
    certificate: Certificate | None = None,
    network: Network | None = None,
    clock: Clock | None = None,
    rng: Rng | None = None,
    metrics: Metrics | None = None,
    task_status: trio.TaskStatus[HttpServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `service` over HTTP/1.1 until `HttpServer.stop`.

    Port 0 takes any free one; the ports are the machine's own unless given. Raises `Unprocessable` for a host that is
    not loopback without a certificate, or a port that is none, and `Unavailable` where the port is taken.
    """
    settings = settings or HttpSettings()
    network = network or RealNetwork()
    near = await is_near(network, host)
    if not near and certificate is None:
        raise Unprocessable(
            f"host {host!r} is not loopback: there HTTP is served with a certificate only", field="host"
        )
    listening = await listen(network, host, port, field="http_port")
    server = HttpServer([address for address, _ in listening], "http" if near else "https")
    door = HttpDoor(
        service, limits, settings, rng or RealRng(), clock=clock or RealClock(), metrics=metrics or Metrics(), host=host
    )
    reception = _Reception(
        door, network, None if near or certificate is None else ssl_context_of(certificate, ["http/1.1"])
    )
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(_accept, reception, [listener for _, listener in listening], connections)
            task_status.started(server)
            await server.wait_stopping()
            accepting.cancel_scope.cancel()
        await reception.stop()
        connections.cancel_scope.deadline = trio.current_time() + settings.grace_s
    if connections.cancel_scope.cancelled_caught:
        log.warning("http_grace_over", grace_s=settings.grace_s)


async def _accept(
    reception: _Reception, listeners: list[trio.abc.Listener[HalfCloseableStream]], connections: trio.Nursery
) -> None:
    await trio.serve_listeners(reception.serve, listeners, handler_nursery=connections)


class _Reception:
    """Serves every client of a door. No client's fault ends another's connection."""

    def __init__(self, door: HttpDoor, network: Network, context: ssl.SSLContext | None) -> None:
        self._door = door
        self._network = network
        self._context = context
        self._app = ASGIWrapper(_asgi(door))
        self._config = quiet_config()
        self._worker = WorkerContext(None)
        self._connections: set[Connection] = set()
        self._refusals = 0

    async def stop(self) -> None:
        """Take no further request; those under way are answered, and streams end."""
        self._door.stopping.set()
        await self._worker.terminated.set()
        for connection in self._connections:
            connection.stop()

    async def serve(self, stream: HalfCloseableStream) -> None:
        """Serve one client to its end."""
        try:
            if takes_the_last(stream):
                log.debug("http_descriptors_spent")
                return
            client = self._network.peer(stream)
            with self._door.places.place(near=is_loopback(client)) as busy:
                if busy is None:
                    await self._enter(stream, (client, 0))
            if busy is not None:
                await self._refuse(stream, busy)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):  # of a bare socket
            log.debug("http_client_gone")
        except Exception as error:  # noqa: BLE001 - the gateway's edge: a bug in one connection is not the others' end
            _report(error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _enter(self, stream: HalfCloseableStream, client: Address) -> None:
        server = _own_address(stream)
        if self._context is None or not isinstance(stream, trio.SocketStream):
            await self._converse(stream, client, server, encrypted=False)
            return
        chosen: Stream | None = None
        with trio.move_on_after(self._door.settings.handshake_deadline_s):
            chosen = await self._encrypted(stream, self._context, near=is_loopback(client[0]))
        if chosen is not None:
            await self._converse(chosen, client, server, encrypted=chosen is not stream)

    async def _encrypted(self, stream: trio.SocketStream, context: ssl.SSLContext, *, near: bool) -> Stream | None:
        """Give the stream to converse on: who is on this machine may do so plainly, and nobody else."""
        first = await stream.socket.recv(1, trio.socket.MSG_PEEK)
        if first != _HANDSHAKE:
            return stream if first and near else None
        encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await encrypted.do_handshake()
        return encrypted

    async def _converse(self, stream: Stream, client: Address, server: Address, *, encrypted: bool) -> None:
        if self._door.stopping.is_set():
            return
        connection = Connection(
            self._door, stream, self._app, self._config, self._worker, client=client, server=server, encrypted=encrypted
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
        if not connection.gone:
            await linger(stream)
        await (abort(stream) if connection.gone else close(stream))

    async def _refuse(self, stream: HalfCloseableStream, busy: Busy) -> None:
        if self._refusals >= _REFUSALS:
            return
        self._refusals += 1
        try:
            body = encode_error(busy)
            head = (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n"
                f"retry-after: {RETRY_S:g}\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            with trio.move_on_after(LINGER_S):
                await stream.send_all(head.encode() + body)
                await linger(stream)
        finally:
            self._refusals -= 1


def _report(error: Exception) -> None:
    log.error("http_connection_failed", error=described(error))


def _asgi(door: HttpDoor) -> ASGIFramework:
    return application(door)  # type: ignore[return-value] # Starlette and Hypercorn each have types of their own for it


def _own_address(stream: Stream) -> Address:
    """Give the address that was connected to. A simulated stream has none, and is on loopback."""
    found: Address = stream.socket.getsockname()[:2] if isinstance(stream, trio.SocketStream) else _LOOPBACK
    return found
