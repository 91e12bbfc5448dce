"""One POST over HTTP/1.1 that can be given up: at a deadline that holds for all of it, or when a flag is set.

The standard library's parser on sockets of our own. Every wait for the server is cut into slices; between them the
deadline and the flag are looked at, so that neither a server that says nothing nor one that says a byte a minute keeps
a node from stopping. Connections are kept and used again. Nothing is followed, no proxy is asked, TLS is verified.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - imported late, in a thread, it leaves a child forked meanwhile waiting for ever
import http.client
import io
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from engram.embed._url import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer

    from engram.embed._url import Url

_SLICE_S = 0.1
_CONNECT_S = 5.0
_IDLE = 8


class Answer(msgspec.Struct, frozen=True):
    """What the server said."""

    status: int
    body: bytes
    retry_after: str | None = None


class NoAnswer(Exception):
    """The server gave no answer that could be read; the message says why and holds nothing of what was sent."""


class GivenUp(Exception):
    """The caller's flag was set."""


class Server:
    """A server that is posted to, from any thread."""

    def __init__(self, url: Url, *, answer_bytes: int) -> None:
        """`answer_bytes`: the most that is read of an answer."""
        self.url = url
        self._answer_bytes = answer_bytes
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._idle: list[_Socket] = []
        self._closed = False
        self._lock = threading.Lock()

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], deadline: float, stopped: Callable[[], bool]
    ) -> Answer:
        """Send `body` and read the answer. Raises `NoAnswer`, `TimeoutError` at the deadline, or `GivenUp`."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._exchange(kept, path, body, headers, deadline, stopped)
            except NoAnswer:
                pass  # it was closed while it lay idle; what was sent twice is only computed twice
        return self._exchange(self._connect(deadline), path, body, headers, deadline, stopped)

    def close(self) -> None:
        """Close the connections that lie idle; those in use are closed after it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.hang_up()

    def _connect(self, deadline: float) -> _Socket:
        try:
            plain = socket.create_connection((self.url.host, self.url.port), min(_CONNECT_S, _left_s(deadline)))
            try:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Socket(self._tls.wrap_socket(plain, server_hostname=self.url.host) if self._tls else plain)
            except BaseException:
                plain.close()
                raise
        except ssl.SSLCertVerificationError as error:
            raise NoAnswer(f"its certificate is not to be trusted: {error.verify_message}") from None
        except TimeoutError:
            raise NoAnswer("it cannot be reached: no connection in time") from None
        except OSError as error:
            raise NoAnswer(f"it cannot be reached: {error.strerror or type(error).__name__}") from None

    def _exchange(
        self,
        connection: _Socket,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline: float,
        stopped: Callable[[], bool],
    ) -> Answer:
        connection.until(deadline, stopped)
        keep = False
        try:
            http_connection = http.client.HTTPConnection(self.url.host, self.url.port)
            http_connection.default_port = DEFAULT_PORTS[self.url.scheme]  # what the Host header leaves out
            http_connection.sock = connection
            http_connection.request("POST", self.url.path + path, body, headers)
            response = http_connection.getresponse()
            answer = Answer(response.status, response.read(self._answer_bytes + 1), response.getheader("Retry-After"))
            if len(answer.body) > self._answer_bytes:
                raise NoAnswer(f"its answer is over {self._answer_bytes} bytes")
            keep = response.isclosed() and not response.will_close
        except TimeoutError:
            raise
        except OSError as error:
            raise NoAnswer(f"the connection ended: {error.strerror or type(error).__name__}") from None
        except http.client.HTTPException as error:
            raise NoAnswer(f"it does not speak HTTP: {type(error).__name__}") from None
        finally:
            self._put_away(connection, keep=keep)
        return answer

    def _put_away(self, connection: _Socket, *, keep: bool) -> None:
        with self._lock:
            if keep and not self._closed and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.hang_up()


class _Socket:
    """A socket as `http.client` uses one, with a deadline and a flag for every wait."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._deadline = 0.0
        self._stopped: Callable[[], bool] = bool

    def until(self, deadline: float, stopped: Callable[[], bool]) -> None:
        """Set how long the next exchange may take, and what ends it."""
        self._deadline, self._stopped = deadline, stopped

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send all of it."""
        del flags
        self._inner.settimeout(_left_s(self._deadline))
        self._inner.sendall(data)

    def receive_into(self, buffer: WriteableBuffer) -> int:
        """Wait for bytes, and give how many came; 0 at the end."""
        while True:
            if self._stopped():
                raise GivenUp
            self._inner.settimeout(min(_SLICE_S, _left_s(self._deadline)))
            try:
                return self._inner.recv_into(buffer)
            except TimeoutError:
                continue

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        """Give what `http.client` reads the answer from."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Do nothing: `http.client` says so before it has read the answer. See `hang_up`."""

    def hang_up(self) -> None:
        """Close the connection."""
        self._inner.close()


class _Reader(io.RawIOBase):
    def __init__(self, connection: _Socket) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what has come."""
        return self._connection.receive_into(buffer)


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
