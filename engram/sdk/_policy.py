"""What a client may do about a call that has not gone well, the same over every wire. It does none of it.

Theory of operation. A call has one deadline for all that is done about it. A connection that was lost before the
answer came leaves open whether the call has happened: it is made again, once, where that does no harm. A read does
none, nor a put, for equal memories are kept once. A deletion might find that it has happened itself, and what expects a
key to be as it was might refuse what it has done: these are the caller's to look into. `busy` and `rate_limited` were
not carried out, and are waited out within the deadline.

A client sends the highest position that it knows of as `min_position`, and so reads its own writes. Another node, or a
log that was put back from a backup, has other positions: they are forgotten where the log is found shorter, where the
node has another key, and where a read waited for a position in vain.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import UNSET

from engram.errors import Busy, DeadlineExceeded, EngramError, RateLimited, Unavailable
from engram.wire import (
    Answer,
    Challenge,
    Delete,
    DeleteResult,
    Events,
    KeyDelete,
    KeyResult,
    KeySet,
    NamespaceDelete,
    NamespaceDeleteResult,
    NamespaceInfo,
    Put,
    PutMany,
    PutManyResult,
    PutResult,
    Request,
    patience_s,
)

if TYPE_CHECKING:
    from engram.sdk._address import Address

R = TypeVar("R", bound=Answer)

_BUSY_S = 1.0
_LEAST_S = 0.01
_WRITTEN = (PutResult, PutManyResult, DeleteResult, KeyResult, NamespaceInfo, NamespaceDeleteResult)
"""Answers whose position is an event's: the log that has it is one longer. That of a read is the log's size."""


class LinkLost(Exception):
    """The connection ended before the answer came."""


def repeatable(request: Request[Any]) -> bool:
    """Say whether a request does no harm when it is made again after it may have happened."""
    match request:
        case Delete() | KeyDelete() | NamespaceDelete() | Challenge():
            return False
        case Put() | KeySet():
            return request.expect is UNSET
        case PutMany():
            return all(item.expect is UNSET for item in request.items)
        case _:
            return True


class Policy:
    """What holds for every call of one client; any thread may use it."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._url = address.url
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._node: bytes | str | None = None
        self.position = 0
        """The size that the node's log has reached, as far as this client knows."""

    def limit_s(self, request: Request[Any]) -> float:
        """Give the seconds that a call may take in all."""
        return self._timeout_s + patience_s(request) + (request.wait_s if isinstance(request, Events) else 0.0)

    def positioned(self, request: Request[R]) -> Request[R]:
        """Let a read wait for what this client has seen already."""
        if self.position and "min_position" in request.__struct_fields__:
            return msgspec.structs.replace(request, min_position=self.position)
        return request

    def note(self, outcome: Answer | EngramError) -> None:
        """Take the position that an answer speaks for."""
        reached = getattr(outcome, "position", 0) + isinstance(outcome, _WRITTEN)
        if reached > self.position:
            with self._lock:
                self.position = max(self.position, reached)

    def met(self, node: bytes | str, log_size: int) -> None:
        """Take who answers now, and how long its log is."""
        with self._lock:
            if log_size < self.position or self._node not in (None, node):
                self.position = 0
            self._node = node

    def forget(self) -> None:
        """Know of no position any more."""
        with self._lock:
            self.position = 0

    def after_fork(self) -> None:
        """Let go of a lock that a thread of the parent may hold for ever."""
        self._lock = threading.Lock()

    def too_late(self, request: Request[Any]) -> DeadlineExceeded:
        """Give the error of a call that was not answered in time."""
        known = "" if repeatable(request) else "; ask whether it has happened"
        return DeadlineExceeded(
            f"no answer to the {request.method} from {self._url} in {self.limit_s(request):g} s{known}"
        )

    def gone(self, request: Request[Any]) -> Unavailable:
        """Give the error of a call whose connection was lost."""
        known = "" if repeatable(request) else "; ask whether it has happened"
        return Unavailable(f"the connection to {self._url} was lost before the {request.method} was answered{known}")


class Course:
    """The course of one call: its deadline, and what has been tried."""

    def __init__(self, policy: Policy, request: Request[Any], now: float) -> None:
        self._policy = policy
        self._request = request
        self._lost = False
        self._waited_for = 0
        self.deadline = now + policy.limit_s(request)

    def lose(self) -> None:
        """Go on after a connection was lost. Raise `Unavailable` where the call must not be made again."""
        if self._lost or not repeatable(self._request):
            raise self._policy.gone(self._request) from None
        self._lost = True

    def wait_s(self, outcome: Answer | EngramError, now: float) -> float | None:
        """Give the seconds after which the call is made again; None where this outcome is the caller's."""
        if isinstance(outcome, Busy | RateLimited):
            wait_s = _BUSY_S if outcome.retry_after_s is None else max(_LEAST_S, outcome.retry_after_s)
            return wait_s if now + wait_s < self.deadline else None
        if isinstance(outcome, Unavailable) and outcome.field == "min_position" and not self._waited_for:
            self._waited_for = self._policy.position
            self._policy.forget()
            return 0.0 if self._waited_for else None
        return None
