"""What every door does alike: listen where it may, let clients in until it is told to stop, and then give them a grace.

Stopping takes no new message, lets what is in flight finish and leave, and closes what is left when the grace is over.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import trio

from engram.errors import Unavailable, Unprocessable
from engram.gateway._streams import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio.abc import HalfCloseableStream, Listener

    from engram.ports import Network

    Listening = Sequence[tuple[tuple[str, int], Listener[HalfCloseableStream]]]

GRACE_S = 5.0
"""How long a graceful stop waits for the calls in flight: half of what who ends a container gives a program."""


class Serving:
    """A running door: what it reports through `task_status`."""

    def __init__(self, addresses: Sequence[tuple[str, int]], scheme: str) -> None:
        self.addresses = addresses
        self._scheme = scheme
        self._stop = trio.Event()

    @property
    def url(self) -> str:
        """The first address, as `EngramClient` takes it."""
        host, port = self.addresses[0]
        return f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"

    def stop(self) -> None:
        """Stop gracefully; who serves returns when that is done. Cancelling it instead drops everything at once."""
        self._stop.set()

    async def wait_stopping(self) -> None:
        """Wait until `stop` is called."""
        await self._stop.wait()


async def keep_serving(
    listening: Listening,
    scheme: str,
    serve: Callable[[HalfCloseableStream], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    grace_s: float,
    task_status: trio.TaskStatus[Serving],
) -> bool:
    """Serve each client that comes, until `Serving.stop`; then `stop` takes no further message.

    Gives False where clients were cut off, since the grace was over.
    """
    serving = Serving([address for address, _ in listening], scheme)
    listeners = [listener for _, listener in listening]
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(_accept, serve, listeners, connections)
            task_status.started(serving)
            await serving.wait_stopping()
            accepting.cancel_scope.cancel()
        await stop()
        connections.cancel_scope.deadline = trio.current_time() + grace_s
    return not connections.cancel_scope.cancelled_caught


async def _accept(
    serve: Callable[[HalfCloseableStream], Awaitable[None]],
    listeners: list[Listener[HalfCloseableStream]],
    connections: trio.Nursery,
) -> None:
    await trio.serve_listeners(serve, listeners, handler_nursery=connections)


async def listen(network: Network, host: str, port: int, field: str = "port") -> Listening:
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
