"""What the connections of one door share: the service, what an operator may choose, the bounds that hold for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from engram.errors import Busy
from engram.gateway._places import RETRY_S, Places, share
from engram.runtime import Log

if TYPE_CHECKING:
    from engram.gateway._service import Service
    from engram.limits import Limits
    from engram.ports import Rng

log = Log()


class RpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose about the door."""

    call_deadline_s: float = 60.0
    """Long texts have longer: `engram.wire.patience_s`."""
    write_deadline_s: float = 30.0
    silence_deadline_s: float = 60.0
    """How long a client may be silent in the middle of a message; between messages it may be so for ever."""
    handshake_deadline_s: float = 10.0
    """How long a client may take until its connection is encrypted, or has said its first byte; and then its hello."""
    handshakes: int = 256
    """Connections that may be so far at one time; one more ends the oldest of them."""
    grace_s: float = 10.0
    """How long a graceful stop waits for the calls in flight."""
    held_bytes: int = 256 * 1024 * 1024
    """Bytes of requests, whole or half, that the door holds for all its clients."""
    unsent_bytes: int = 256 * 1024 * 1024
    """Bytes of answers that wait for their readers, of all clients; over it, who has most of them waiting is let go.

    A stranger goes before who is on this machine.
    """


class Reader(Protocol):
    """Who reads answers: a connection, as the door's bound on what is unsent sees it."""

    unsent_bytes: int
    near: bool
    """Whether it is on this machine."""

    def give_up(self) -> None:
        """End it at once, with all that it has asked for."""
        ...


class Door:
    """Service, limits, settings, and what is counted over all connections."""

    def __init__(self, service: Service, limits: Limits, settings: RpcSettings, rng: Rng) -> None:
        self.service = service
        self.limits = limits
        self.settings = settings
        self.rng = rng
        self.places = Places(limits.connections)
        self.held_bytes = 0
        self.unsent_bytes = 0
        self._readers: set[Reader] = set()

    def holds(self, more_bytes: int, *, near: bool) -> bool:
        """Say whether there is room for so many more bytes of requests. `near`: of a caller on this machine."""
        return self.held_bytes + more_bytes <= share(self.settings.held_bytes, near=near)

    def busy(self, *, near: bool) -> Busy:
        """Give the error of who comes when there is none."""
        limit = share(self.settings.held_bytes, near=near)
        return Busy(f"the node holds {limit} bytes of requests, which is its limit", retry_after_s=RETRY_S)

    def unsent(self, reader: Reader, more_bytes: int) -> None:
        """Count bytes that wait to be read. Of too many, who has most is let go; strangers first."""
        reader.unsent_bytes += more_bytes
        self.unsent_bytes += more_bytes
        self._readers.add(reader)
        if self.unsent_bytes > self.settings.unsent_bytes:
            most = max(self._readers, key=lambda each: (not each.near, each.unsent_bytes))
            log.info("unsent_over_limit", unsent_bytes=most.unsent_bytes, limit=self.settings.unsent_bytes)
            most.give_up()

    def sent(self, reader: Reader, fewer_bytes: int) -> None:
        """Take off what has left, or will never."""
        reader.unsent_bytes -= fewer_bytes
        self.unsent_bytes -= fewer_bytes
        if not reader.unsent_bytes:
            self._readers.discard(reader)
