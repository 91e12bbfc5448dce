"""One connection to a node: where it goes, how it is made, and one thread's calls on it."""

from __future__ import annotations

import contextlib
import math
import re
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import msgspec

from engram.errors import BadRequest, EngramError, Unavailable, Unprocessable
from engram.wire import Answer, ClientConnection, Notification

if TYPE_CHECKING:
    from engram.wire import Request

DEFAULT_PORT = 8090

_CHUNK_BYTES = 256 * 1024

_URL = re.compile(
    r"(?P<scheme>[a-z]+)://(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\[\]:/@?#]+))(?::(?P<port>\d+))?/?"
)


class Address(msgspec.Struct, frozen=True):
    """Where a node is."""

    host: str
    port: int
    url: str


def parse_url(url: str) -> Address:
    """Give the address in `engram://host:port`. Raise `BadRequest` for what is no such URL."""
    found = _URL.fullmatch(url)
    scheme = url.partition("://")[0]
    if scheme in ("http", "https"):
        raise BadRequest(f"{url}: the HTTP door is not built yet; use engram://", field="url")
    if found is None or found["scheme"] != "engram":
        raise BadRequest(f"{url!r} is no address of a node; one is engram://127.0.0.1:{DEFAULT_PORT}", field="url")
    port = int(found["port"] or DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise BadRequest(f"{url}: a port is 1 to 65535", field="url")
    return Address(found["v6"] or found["host"], port, url)


def connect(address: Address, deadline: float) -> Link:
    """Connect to a node on this machine. Raise `TimeoutError`, `Unavailable`, or `Unprocessable` for another one."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"{address.url}: the host is not known: {error.strerror}", field="url") from None
    failure: OSError | None = None
    for family, kind, protocol, _, where in found:
        _refuse_remote(address, str(where[0]))
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left_s(deadline))
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return Link(sock)
    if isinstance(failure, TimeoutError):
        raise failure
    reason = failure.strerror if failure else "no address"
    raise Unavailable(f"no node answers at {address.url} ({reason}); start one with engram-node", field="url")


def _refuse_remote(address: Address, ip: str) -> None:
    if not ip.startswith("127.") and ip not in ("::1", "::ffff:127.0.0.1"):
        raise Unprocessable(
            f"{address.url} ({ip}) is another machine: without TLS, which is not built yet, memories travel on"
            " loopback only; tunnel it, for example with ssh -L",
            field="url",
        )


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class LinkLost(Exception):
    """The connection ended before the answer came."""


class Link:
    """One connection to a node.

    The socket never blocks: what is ready is taken at once, and only else waited for. A socket with a timeout would be
    set anew, and waited on, before each call.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._poll = select.poll()
        self._codec = ClientConnection()
        self._outcomes: dict[int, Answer | EngramError] = {}
        self._told: EngramError | None = None
        self.owed = 0
        """Calls sent and not answered."""
        self.closed = False

    def prepare(self, request: Request[Any]) -> tuple[int, bytes]:
        """Give the call's id and its bytes. Raise for what cannot be sent; the link is as it was."""
        return self._codec.call(request)

    def send(self, data: bytes, deadline: float, calls: int = 1) -> None:
        """Send prepared calls. Raise `TimeoutError` or `LinkLost`."""
        self.owed += calls
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    self._wait(select.POLLOUT, deadline)
        except TimeoutError:
            raise
        except OSError:
            self._read_last_words(deadline)
            raise LinkLost from None

    def outcome(self, call_id: int, deadline: float) -> Answer | EngramError:
        """Wait for a call's outcome. Raise `TimeoutError`, `LinkLost`, or what the node said before it closed."""
        while call_id not in self._outcomes:
            if not self._receive(deadline):
                raise self._told or LinkLost()
        self.owed -= 1
        return self._outcomes.pop(call_id)

    def has_outcome(self, call_id: int) -> bool:
        """Whether a call's outcome has come already."""
        return call_id in self._outcomes

    @property
    def reusable(self) -> bool:
        """Whether the node has neither closed it nor said that something is wrong."""
        if self.closed or self._told is not None:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the connection; twice is allowed."""
        self.closed = True
        self._socket.close()

    def _receive(self, deadline: float) -> bool:
        """Take what comes. False: the node has closed."""
        try:
            data = self._awaited(deadline)
        except TimeoutError:
            raise
        except OSError:
            return False
        for message in self._codec.receive(data):
            if isinstance(message, Notification):
                self._told = message.error or self._told
            else:
                self._outcomes[message.id] = message.outcome
        return bool(data)

    def _awaited(self, deadline: float) -> bytes:
        while True:
            self._wait(select.POLLIN, deadline)
            with contextlib.suppress(BlockingIOError):
                return self._socket.recv(_CHUNK_BYTES)

    def _wait(self, event: int, deadline: float) -> None:
        """Wait until the socket is ready, or broken or closed, which its next call tells. Raise `TimeoutError`."""
        if self.closed:
            return
        self._poll.register(self._socket, event)
        if not self._poll.poll(math.ceil(1000 * _left_s(deadline))):
            raise TimeoutError

    def _read_last_words(self, deadline: float) -> None:
        while self._receive(deadline):
            pass
        if self._told is not None:
            raise self._told
