"""Calls over REST, by httpx, which is imported with the first of them. Batches go one call at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from engram.errors import EngramError, Unauthenticated, Unavailable
from engram.limits import LIMITS
from engram.sdk._async._calls import AsyncCalls
from engram.sdk._async._net import home, left_s, loop
from engram.sdk._policy import LinkLost, Policy
from engram.wire import Answer, Events, Ping, Pong, Status, StatusResult, decode_answer, http_call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

    import httpx

    from engram.sdk._options import Options
    from engram.wire import Request

R = TypeVar("R", bound=Answer)

_ANSWER_BYTES = 8 * LIMITS.message_bytes
"""JSON escapes what MessagePack does not."""
_LINKS, _IDLE_LINKS = 32, 8
_HEADERS = {"user-agent": "engram-python", "accept": "application/json", "accept-encoding": "identity"}


class AsyncHttp(AsyncCalls):
    """Carries requests to one node over `http://` or `https://`."""

    def __init__(self, options: Options) -> None:
        super().__init__(Policy(options.address, options.timeout_s))
        address = options.address
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._base = f"{address.scheme}://{host}:{address.port}{address.path}"
        self._options = options
        self._home: tuple[int, object] | None = None
        self._pools: tuple[httpx.AsyncClient, httpx.AsyncClient] | None = None
        self._doubted = False

    async def attempt(self, request: Request[R], deadline: float) -> Answer | EngramError:
        """Make the call once."""
        if self._doubted and self.policy.position:
            await self._meet(deadline)
        if isinstance(request, Ping):
            outcome = await self._exchange(Status(), deadline)
            return outcome if isinstance(outcome, EngramError) else Pong()
        return await self._exchange(self.policy.positioned(request), deadline)

    async def call_many(self, requests: AsyncIterable[Request[R]]) -> AsyncGenerator[R | EngramError]:
        """Carry out requests, one after the other; give each one's answer or error."""
        async for request in requests:
            yield await self.outcome(request)

    async def aclose(self) -> None:
        """Close every connection. Calls under way, and later ones, raise `Unavailable`."""
        self.closed = True
        if self._pools is not None and self._home == (home(), loop()):
            for pool in self._pools:
                await pool.aclose()

    async def _meet(self, deadline: float) -> None:
        """Ask who answers now, since a connection was lost: another node, or log, has other positions."""
        found = await self._exchange(Status(), deadline)
        if isinstance(found, StatusResult):
            self.policy.met(found.node_key, found.position)
            self._doubted = False

    async def _exchange(self, request: Request[Any], deadline: float) -> Answer | EngramError:
        import httpx  # noqa: PLC0415 (who speaks RPC needs none)

        call = http_call(request)
        headers = _HEADERS if call.body is None else {**_HEADERS, "content-type": "application/json"}
        pool = self._pool(follows=isinstance(request, Events) and request.wait_s > 0)
        try:
            sent = pool.stream(
                call.verb, self._base + call.target, content=call.body, headers=headers, timeout=left_s(deadline)
            )
            async with sent as response:
                body = await self._body(response, deadline)
        except httpx.TimeoutException:
            raise TimeoutError from None
        except (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            self._doubted = True
            raise self._unreachable(error) from None
        except (httpx.TransportError, RuntimeError) as error:
            self._doubted = True
            if self.closed:
                raise self._ended() from None
            if isinstance(error, RuntimeError):
                raise
            raise LinkLost from None
        return decode_answer(type(request), response.status_code, body)

    async def _body(self, response: httpx.Response, deadline: float) -> bytes:
        pieces, size = [], 0
        async for piece in response.aiter_bytes():
            left_s(deadline)
            pieces.append(piece)
            size += len(piece)
            if size > _ANSWER_BYTES:
                raise Unavailable(f"{self._options.address.url}: an answer of over {_ANSWER_BYTES} bytes is no node's")
        return b"".join(pieces)

    def _pool(self, *, follows: bool) -> httpx.AsyncClient:
        if self.closed:
            raise self._ended()
        here = (home(), loop())
        if self._pools is None or self._home != here:
            if self._home is not None and self._home[0] != here[0]:
                self.policy.after_fork()
            self._home = here
            self._pools = (self._made(_LINKS), self._made(None))
        return self._pools[follows]

    def _made(self, links: int | None) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415 (who speaks RPC needs none)

        limits = httpx.Limits(max_connections=links, max_keepalive_connections=_IDLE_LINKS)
        return httpx.AsyncClient(verify=self._verify(), limits=limits)

    def _verify(self) -> Any:
        if self._options.address.scheme == "http" or not self._options.verify:
            return False
        if self._options.ca is None:
            return True
        import ssl  # noqa: PLC0415 (http needs none)

        return ssl.create_default_context(cafile=self._options.ca)

    def _ended(self) -> Unavailable:
        return Unavailable("this client is closed; make a new one")

    def _unreachable(self, error: Exception) -> EngramError:
        url, reason = self._options.address.url, str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return Unauthenticated(
                f"{url}: no authority that this client trusts vouches for the certificate ({reason}); give ca=, a file"
                " of CAs that do",
                field="ca",
            )
        return Unavailable(f"no node answers at {url} ({reason}); start one with engram-node", field="url")
