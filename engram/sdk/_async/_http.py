"""Calls over REST, by httpx; this module is imported where a URL is of http. Batches go one call at a time."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - imported late, in a thread, it leaves a child forked meanwhile waiting for ever
import os
import socket
import ssl
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import httpcore  # noqa: F401 - as above
import httpx

from engram.errors import EngramError, Unauthenticated, Unavailable
from engram.limits import LIMITS
from engram.sdk._async._calls import AsyncCalls
from engram.sdk._async._net import Slots, home, left_s, loop
from engram.sdk._fork import leaving
from engram.sdk._policy import LinkLost, Policy
from engram.sdk._tls import trusting
from engram.wire import Answer, Events, HttpCall, Ping, Pong, Status, StatusResult, decode_answer, http_call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

    from engram.sdk._options import Options
    from engram.wire import Request

R = TypeVar("R", bound=Answer)

_ANSWER_BYTES = 8 * LIMITS.message_bytes
"""JSON escapes what MessagePack does not."""
_LINKS, _IDLE_LINKS = 32, 8
_HEADERS = {"user-agent": "engram-python", "accept": "application/json", "accept-encoding": "identity"}
_BODY_HEADERS = {**_HEADERS, "content-type": "application/json"}


class AsyncHttp(AsyncCalls):
    """Carries requests to one node over `http://` or `https://`."""

    def __init__(self, options: Options) -> None:
        super().__init__(Policy(options.address, options.timeout_s))
        address = options.address
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._base = f"{address.scheme}://{host}:{address.port}{address.path}"
        self._options = options
        self._tls = _tls(options)
        self._process = home()
        self._lock = threading.Lock()
        self._home: tuple[int, object] | None = None
        self._pool: httpx.AsyncClient | None = None
        self._slots = Slots(_LINKS)
        self._sockets: tuple[weakref.ref[socket.socket], ...] = ()
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
        if self._pool is not None and self._home == (home(), loop()):
            self._interrupt()
            await self._pool.aclose()

    async def _meet(self, deadline: float) -> None:
        """Ask who answers now, since a connection was lost: another node, or log, has other positions."""
        found = await self._exchange(Status(), deadline)
        if isinstance(found, StatusResult):
            self.policy.met(found.node_key, found.position)
            self._doubted = False

    async def _exchange(self, request: Request[Any], deadline: float) -> Answer | EngramError:
        call = http_call(request)
        pool = self._ready()
        if isinstance(request, Events) and request.wait_s > 0:
            body_of = await self._sent(pool, call, deadline)
        else:
            slots = self._slots
            await slots.acquire(deadline)
            try:
                body_of = await self._sent(pool, call, deadline)
            finally:
                slots.release()
        return decode_answer(type(request), *body_of)

    async def _sent(self, pool: httpx.AsyncClient, call: HttpCall, deadline: float) -> tuple[int, bytes]:
        """Send a request; give the answer's status and body."""
        try:
            sent = pool.stream(
                call.verb,
                self._base + call.target,
                content=call.body,
                headers=_HEADERS if call.body is None else _BODY_HEADERS,
                timeout=left_s(deadline),
                extensions={"trace": self._trace},
            )
            async with sent as response:
                return response.status_code, await self._body(response, deadline)
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

    def _interrupt(self) -> None:
        """Have threads that wait for an answer find their connections lost: they would wait on for what cannot come."""
        for made in self._sockets:
            if (sock := made()) is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Remember the sockets that are made; one that is made while the client is closed is of no use."""
        if event not in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            return
        stream = info["return_value"]
        sock = stream.get_extra_info("socket")
        if isinstance(sock, socket.socket):
            with self._lock:
                living = (made for made in self._sockets if made() is not None)
                self._sockets = (*living, weakref.ref(sock))
        if self.closed:
            await stream.aclose()
            raise self._ended()

    async def _body(self, response: httpx.Response, deadline: float) -> bytes:
        pieces, size = [], 0
        async for piece in response.aiter_bytes():
            left_s(deadline)
            pieces.append(piece)
            size += len(piece)
            if size > _ANSWER_BYTES:
                raise Unavailable(f"{self._options.address.url}: an answer of over {_ANSWER_BYTES} bytes is no node's")
        return b"".join(pieces)

    def _ready(self) -> httpx.AsyncClient:
        """Give what carries requests here: a forked child, and another loop, have their own."""
        if self.closed:
            raise self._ended()
        if self._process != home():
            self._leave_home()
        here = (self._process, loop())
        with self._lock:
            if self._pool is None or self._home != here:
                self._home = here
                self._slots = Slots(_LINKS)
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=_IDLE_LINKS)
                self._pool = httpx.AsyncClient(verify=self._tls, limits=limits)
            return self._pool

    def _leave_home(self) -> None:
        with leaving():
            if self._process == home():
                return  # another thread was first
            self._lock = threading.Lock()  # a thread of the parent may hold that one for ever
            self._sockets = ()  # the parent's: shut down here, they would be so there
            self.policy.after_fork()
            self._process = home()  # the last: who finds itself at home uses the others

    def _ended(self) -> Unavailable:
        return Unavailable("this client is closed; make a new one")

    def _unreachable(self, error: Exception) -> EngramError:
        url, reason = self._options.address.url, _system_says(error) or str(error) or type(error).__name__
        if (refused := _certificate_error(error)) is not None:
            return Unauthenticated(
                f"{url}: no authority that this client trusts vouches for the certificate ({refused.verify_message});"
                " give ca=, a file of CAs that do",
                field="ca",
            )
        return Unavailable(f"no node answers at {url} ({reason}); start one with engram-node", field="url")


def _tls(options: Options) -> ssl.SSLContext:
    """Give the context of every connection; where there is no TLS, one that goes unused.

    Made before there are threads: a child forked while one of them made it would wait for OpenSSL's locks for ever.
    """
    if options.address.scheme == "http" or not options.verify:
        return httpx.create_ssl_context(verify=False)
    if options.ca is None:
        return httpx.create_ssl_context()
    return trusting(options.ca)


def _system_says(error: BaseException | None) -> str | None:
    """Give the system's own words beneath what was made of them, as `Connection refused`."""
    while error is not None and not (isinstance(error, OSError) and error.strerror):
        within = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = within or error.__cause__ or error.__context__
    if error is None:
        return None
    is_number_of_the_system = (error.errno or 0) > 0 and not isinstance(error, ssl.SSLError)
    return os.strerror(error.errno or 0) if is_number_of_the_system else error.strerror


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Give the refused certificate behind an error, if that is what it is."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error
