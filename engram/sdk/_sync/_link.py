# Made by scripts/generate_sync.py from engram/sdk/_async/_link.py: change that one.
"""One connection to a node: how it is made, and the calls of one caller at a time on it."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from engram.errors import BadRequest, EngramError, Unauthenticated, Unavailable
from engram.sdk._address import is_loopback
from engram.sdk._policy import LinkLost
from engram.sdk._sync._net import close, left_s, now, patient, readable, received, resolve, writable
from engram.sdk._tls import ALPN, tls_context
from engram.wire import Answer, ClientConnection, Notification

if TYPE_CHECKING:
    import ssl

    from engram.sdk._options import Options
    from engram.sdk._sync._net import Where
    from engram.wire import Request

_CHUNK_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""To linger for no time: the connection is reset where it is closed."""


def connect(options: Options, context: ssl.SSLContext | None, deadline: float) -> Link:
    """Connect to a node; with TLS where it is another machine. Raise `TimeoutError`, or what is wrong.

    `context`: the one for TLS, where TLS was foreseen.
    """
    url = options.address.url
    try:
        found = resolve(options.address.host, options.address.port, deadline)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unavailable(f"{url}: the host is not known: {reason}", field="url") from None
    failure: OSError | None = None
    for at, where in enumerate(found):
        share = left_s(deadline) / (len(found) - at)  # an address that never answers leaves time for the others
        try:
            return _reach(options, context, where, now() + share, deadline)
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise failure
    reason = (failure.strerror or failure) if failure else "no address"
    raise Unavailable(f"no node answers at {url} ({reason}); start one with engram-node", field="url")


def _reach(options: Options, context: ssl.SSLContext | None, where: Where, until: float, deadline: float) -> Link:
    sock = _connected(where, until)
    tls = options.tls if options.tls is not None else not is_loopback(str(where[3][0]))
    if not tls:
        patient(sock)
        return Link(sock, None)
    secured = _wrapped(options, context, sock)
    try:
        _shake_hands(secured, options.address.url, deadline)
        return Link(secured, secured.getpeercert(binary_form=True))
    except BaseException:
        close(secured)
        raise


def _connected(where: Where, until: float) -> socket.socket:
    family, kind, protocol, address = where
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        writable(sock, until)
        if failed := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(failed, os.strerror(failed))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        close(sock)
        raise
    return sock


def _wrapped(options: Options, context: ssl.SSLContext | None, sock: socket.socket) -> ssl.SSLSocket:
    try:
        return (context or tls_context(options)).wrap_socket(
            sock, do_handshake_on_connect=False, server_hostname=options.address.host
        )
    except ValueError as error:
        close(sock)
        raise BadRequest(f"{options.address.url}: TLS takes no such name: {error}", field="url") from None
    except BaseException:
        close(sock)
        raise


def _shake_hands(secured: ssl.SSLSocket, url: str, deadline: float) -> None:
    import ssl  # noqa: PLC0415 (loopback needs none)

    try:
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                readable(secured, deadline)
            except ssl.SSLWantWriteError:
                writable(secured, deadline)
            else:
                break
    except ssl.SSLCertVerificationError as error:
        raise Unauthenticated(
            f"{url}: no authority that this system trusts vouches for the node's certificate ({error.verify_message});"
            " give node_key='5…', the node's own key, which `engram status` beside it says, or ca=, a file of CAs",
            field="node_key",
        ) from None
    except TimeoutError:
        raise
    except OSError as error:  # an SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or error
        raise Unavailable(f"{url}: what answers there does not speak TLS 1.3 ({reason})", field="url") from None
    if secured.selected_alpn_protocol() != ALPN:
        raise Unavailable(f"{url}: what answers there speaks TLS, but not {ALPN}", field="url")


class Link:
    """One connection to a node. `certificate`: the one that the node has shown, DER, if this is TLS."""

    def __init__(self, sock: socket.socket | ssl.SSLSocket, certificate: bytes | None) -> None:
        self._socket = sock
        self._wants_read: tuple[type[OSError], ...] = (BlockingIOError,)
        self._wants_write: tuple[type[OSError], ...] = (BlockingIOError, TimeoutError)
        if certificate is not None:
            import ssl  # noqa: PLC0415 (loopback needs none)

            self._wants_read = (ssl.SSLWantReadError,)
            self._wants_write = (ssl.SSLWantWriteError,)
        self._codec = ClientConnection()
        self._outcomes: dict[int, Answer | EngramError] = {}
        self._told: EngramError | None = None
        self.certificate = certificate
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
                except self._wants_write:
                    writable(self._socket, deadline)
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

    def ask(self, request: Request[Any], deadline: float) -> Answer | EngramError:
        """Make a call and wait for its outcome. Raise as `prepare`, `send` and `outcome` do."""
        call_id, data = self.prepare(request)
        self.send(data, deadline)
        return self.outcome(call_id, deadline)

    def has_outcome(self, call_id: int) -> bool:
        """Whether a call's outcome has come already."""
        return call_id in self._outcomes

    @property
    def reusable(self) -> bool:
        """Whether the node has neither closed it nor said that something is wrong: both would be there to be read."""
        if self.closed or self._told is not None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def interrupt(self) -> None:
        """Have who waits for an answer find the connection lost; it closes it. Any thread may call this."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; twice is allowed.

        Where an answer is owed that nobody waits for any more, it is reset: so the node ceases to work for it.
        """
        if self.owed and not self.closed:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.closed = True
        close(self._socket)

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
        if self.certificate is None:
            return received(self._socket, _CHUNK_BYTES, deadline)
        while True:
            if not self._has_read():
                readable(self._socket, deadline)
            with contextlib.suppress(*self._wants_read):
                return self._socket.recv(_CHUNK_BYTES)

    def _has_read(self) -> bool:
        """Whether TLS has more to give than the socket shows."""
        return cast("ssl.SSLSocket", self._socket).pending() > 0

    def _read_last_words(self, deadline: float) -> None:
        while self._receive(deadline):
            pass
        if self._told is not None:
            raise self._told
