"""The blocking client of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from engram.sdk._sync import Api
from engram.sdk._transport import Transport
from engram.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from types import TracebackType
    from typing import Self

    from engram.errors import EngramError
    from engram.wire import Request

R = TypeVar("R", bound=Answer)


class EngramClient(Api):
    """A node, over MessagePack-RPC: `EngramClient("engram://127.0.0.1:8090")`.

    Connects when it is first used. Any thread may call it; a forked or unpickled one makes connections of its own. It
    reads its own writes: a query waits until the node's index has what this client has put. `timeout` is the seconds
    that one call may take in all, and one more for each 2,500 characters of text that it embeds; a batch is several
    calls. Use it in a `with`, or close it.
    """

    def __init__(self, url: str = "engram://127.0.0.1:8090", timeout: float = 30.0) -> None:
        self.url = url
        self.timeout = timeout
        self._transport = Transport(url, timeout)

    def close(self) -> None:
        """Close the connections; later calls raise `Unavailable`."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[EngramClient], tuple[str, float]]:
        return (EngramClient, (self.url, self.timeout))

    def __repr__(self) -> str:
        return f"EngramClient({self.url!r})"

    def _call(self, request: Request[R]) -> R:
        return self._transport.call(request)

    def _call_many(self, requests: Iterable[Request[R]]) -> Generator[R | EngramError]:
        return self._transport.call_many(requests)
