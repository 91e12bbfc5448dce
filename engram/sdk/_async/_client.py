"""The client of a node: the API over the wire that the URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from engram.errors import Busy, DeadlineExceeded, RateLimited, Unavailable
from engram.sdk._address import DEFAULT_URL
from engram.sdk._async._api import AsyncApi
from engram.sdk._async._net import sleep
from engram.sdk._async._rpc import AsyncRpc
from engram.sdk._options import checked_options
from engram.wire import Answer

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, AsyncIterable, Callable
    from types import TracebackType
    from typing import Self

    from engram.errors import EngramError
    from engram.sdk._async._calls import AsyncCalls
    from engram.sdk._options import Options, Signer
    from engram.wire import Events, EventsResult, Request

R = TypeVar("R", bound=Answer)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


class AsyncEngramClient(AsyncApi):
    """A node, over the wire that `url` names: `engram://127.0.0.1:8090` is RPC, `http://127.0.0.1:8091` is REST.

    Connects when it is first used. A forked or unpickled one makes connections of its own. It reads its own writes: a
    query waits until the node's index has what this client has put. Use it in an `async with`, or close it.

    `timeout`: the seconds that one call may take in all, and one more for each 2,500 characters of text that it embeds;
    a batch is several calls. `node_key`: the ss58 address of the node's key; a node that has another one is refused.
    `key`: 32 bytes, the seed of an Ed25519 key, or an object with `public` and `sign(bytes)`: the caller proves it, and
    speaks with it. `tls`: whether `engram://` is encrypted; left out, it is unless the host is this machine. `ca`: a
    PEM file of certificates to trust. `verify=False`: `https://` trusts whoever answers.

    Raises `BadRequest` for an option that will not do.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout: float = 30.0,
        *,
        node_key: str | None = None,
        key: bytes | Signer | None = None,
        tls: bool | None = None,
        ca: str | os.PathLike[str] | None = None,
        verify: bool = True,
        **others: Any,
    ) -> None:
        self.url = url
        self.timeout = timeout
        self._given = {"node_key": node_key, "key": key, "tls": tls, "ca": ca, "verify": verify}
        options = checked_options(
            url, timeout, node_key=node_key, key=key, tls=tls, ca=ca, verify=verify, others=others
        )
        self._calls = _calls_of(options)

    async def aclose(self) -> None:
        """Close the connections; calls under way, and later ones, raise `Unavailable`. Twice is allowed."""
        await self._calls.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (_made_again, (type(self), self.url, self.timeout, self._given))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def _call(self, request: Request[R]) -> R:
        return await self._calls.call(request)

    def _call_many(self, requests: AsyncIterable[Request[R]]) -> AsyncGenerator[R | EngramError]:
        return self._calls.call_many(requests)

    async def _call_again(self, request: Events) -> EventsResult:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return await self._calls.call(request)
            except (Unavailable, DeadlineExceeded, Busy, RateLimited):
                if self._calls.closed:
                    raise
            await sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _calls_of(options: Options) -> AsyncCalls:
    if options.address.scheme == "engram":
        return AsyncRpc(options)
    from engram.sdk._async._http import AsyncHttp  # noqa: PLC0415 (who speaks RPC needs no JSON)

    return AsyncHttp(options)


def _made_again(cls: type[AsyncEngramClient], url: str, timeout: float, given: dict[str, Any]) -> AsyncEngramClient:
    return cls(url, timeout, **given)
