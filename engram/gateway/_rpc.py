"""The MessagePack-RPC door: plain streams on loopback, TLS 1.3 elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from engram.errors import Unprocessable
from engram.gateway._door import Door, RpcSettings
from engram.gateway._reception import Reception
from engram.gateway._serving import Serving, is_near, keep_serving, listen
from engram.limits import LIMITS, Limits
from engram.runtime import Log, RealNetwork, RealRng

if TYPE_CHECKING:
    from engram.gateway._service import Service
    from engram.gateway._tls import Certificate
    from engram.ports import Network, Rng

log = Log()


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
    task_status: trio.TaskStatus[Serving] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `service` over MessagePack-RPC until `Serving.stop`.

    Port 0 takes any free one. `network` and `rng` are the machine's own unless given. Raises `Unprocessable` for a host
    that is not loopback without a certificate, or a port that is none, and `Unavailable` where the port is taken.
    """
    settings = settings or RpcSettings()
    network = network or RealNetwork()
    near = await is_near(network, host)
    if not near and certificate is None:
        raise Unprocessable(f"host {host!r} is not loopback: there RPC is served with a certificate only", field="host")
    listening = await listen(network, host, port)
    door = Door(service, limits, settings, rng or RealRng())
    reception = Reception(door, network, None if near else certificate)
    if not await keep_serving(listening, "engram", reception.serve, reception.stop, settings.grace_s, task_status):
        log.warning("rpc_grace_over", grace_s=settings.grace_s)
