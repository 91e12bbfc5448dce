"""The MessagePack-RPC door: plain streams on loopback, TLS 1.3 elsewhere.

Stopping takes no new message, lets what is in flight finish and leave, and closes what is left when the grace is over.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import trio

from engram.errors import Unavailable, Unprocessable
from engram.gateway._door import Door, RpcSettings
from engram.gateway._reception import Reception
from engram.gateway._streams import is_loopback
from engram.limits import LIMITS, Limits
from engram.runtime import Log, RealNetwork, RealRng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.abc import HalfCloseableStream, Listener

    from engram.gateway._service import Service
    from engram.gateway._tls import Certificate
    from engram.ports import Network, Rng

log = Log()


class RpcServer:
    """A running door: what `serve_rpc` reports through `task_status`."""

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self.addresses = addresses
        self._stop = trio.Event()

    @property
    def url(self) -> str:
        """The first address, as `EngramClient` takes it."""
        host, port = self.addresses[0]
        return f"engram://[{host}]:{port}" if ":" in host else f"engram://{host}:{port}"

    def stop(self) -> None:
        """Stop gracefully; `serve_rpc` returns when it is done. Cancelling it instead drops everything at once."""
        self._stop.set()

    async def wait_stopping(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()


async def serve_rpc(
    service: Service,
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    limits: Limits = LIMITS,
    settings: RpcSettings | None = None,
    certificate: Certificate | None = None,
    network: Network | None = None,
    rng: Rng | None = None,
    task_status: trio.TaskStatus[RpcServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `service` over MessagePack-RPC until `RpcServer.stop`.

    Port 0 takes any free one. `network` and `rng` are the machine's own unless given. Raises `Unprocessable` for a host
    that is not loopback without a certificate, or a port that is none, and `Unavailable` where the port is taken.
    """
    settings = settings or RpcSettings()
    network = network or RealNetwork()
    near = await is_near(network, host)
    if not near and certificate is None:
        raise Unprocessable(f"host {host!r} is not loopback: there RPC is served with a certificate only", field="host")
    listening = await listen(network, host, port)
    server = RpcServer([address for address, _ in listening])
    door = Door(service, limits, settings, rng or RealRng())
    reception = Reception(door, network, None if near else certificate)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(_accept, reception, [listener for _, listener in listening], connections)
            task_status.started(server)
            await server.wait_stopping()
            accepting.cancel_scope.cancel()
        reception.stop()
        connections.cancel_scope.deadline = trio.current_time() + settings.grace_s
    if connections.cancel_scope.cancelled_caught:
        log.warning("rpc_grace_over", grace_s=settings.grace_s)


async def _accept(
    reception: Reception, listeners: list[Listener[HalfCloseableStream]], connections: trio.Nursery
) -> None:
    await trio.serve_listeners(reception.serve, listeners, handler_nursery=connections)


async def listen(
    network: Network, host: str, port: int, field: str = "port"
) -> Sequence[tuple[tuple[str, int], Listener[HalfCloseableStream]]]:
    """Listen for a door; `field`: the key of the configuration that its port is of."""
    if not 0 <= port <= 65535:
        raise Unprocessable(f"port {port}: a port is 0 to 65535", field=field)
    try:
        return await network.listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = "is taken by another process (a node that runs already?); stop it, or choose another port"
        elif error.errno == errno.EACCES:
            advice = "is not for this user; choose one above 1023"
        else:
            advice = f"cannot be listened on: {error.strerror}"
        raise Unavailable(f"port {port} on {host} {advice}", field=field) from error


async def is_near(network: Network, host: str) -> bool:
    """Say whether every address of `host` is loopback. Raises `Unprocessable` for a host that has none."""
    try:
        return all(map(is_loopback, await network.resolve(host)))
    except OSError as error:
        raise Unprocessable(f"host {host!r} is not known: {error.strerror}", field="host") from error
