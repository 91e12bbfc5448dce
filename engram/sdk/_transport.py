"""The calls of a client: a small pool of connections, each used by one thread at a time.

A connection is made when it is needed, and kept for the next call. A call that fails on the way is made again once, on
a fresh connection, unless it is a delete whose answer was lost: a put can be repeated, and whether a delete has
happened is for the caller to find out. `busy` is waited out within the call's time. A timed-out connection is closed,
for its answer may still come.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from engram.errors import BadRequest, Busy, DeadlineExceeded, EngramError, Unavailable
from engram.sdk._link import Link, LinkLost, connect, parse_url
from engram.wire import (
    PROTOCOL,
    Answer,
    Delete,
    DeleteResult,
    Hello,
    HelloResult,
    NamespaceInfo,
    PutManyResult,
    PutResult,
    Request,
    patience_s,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

R = TypeVar("R", bound=Answer)

_AGENT = "engram-python"
_IDLE_LINKS = 4
_WINDOW = 4
"""Calls of a batch in flight: enough to keep the node busy while the next one is prepared."""
_BUSY_S = 1.0
_WRITTEN = (PutResult, PutManyResult, DeleteResult, NamespaceInfo)
"""Answers whose position is an event's: the log that has it is one longer. That of a read is the log's size."""


class Transport:
    """Carries requests to one node, from any thread."""

    def __init__(self, url: str, timeout_s: float) -> None:
        if not timeout_s > 0:
            raise BadRequest(f"timeout: expected a number of seconds above 0, got {timeout_s!r}", field="timeout")
        self._address = parse_url(url)
        self._timeout_s = timeout_s
        self._closed = False
        self._position = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Link] = []

    def call(self, request: Request[R]) -> R:
        """Carry out a request. Raise its error, `Unavailable`, or `DeadlineExceeded`."""
        deadline = time.monotonic() + self._limit_s(request)
        lost = False
        while True:
            try:
                outcome = self._attempt(request, deadline)
            except Busy as error:
                outcome = error
            except TimeoutError:
                raise self._too_late(request) from None
            except LinkLost:
                if lost or isinstance(request, Delete):
                    raise self._gone(request) from None
                lost = True
                continue
            if isinstance(outcome, Busy) and self._wait_out(outcome, deadline):
                continue
            if isinstance(outcome, EngramError):
                raise outcome
            return cast("R", outcome)

    def call_many(self, requests: Iterable[Request[R]], window: int = _WINDOW) -> Generator[R | EngramError]:
        """Carry out requests that may be repeated, `window` in flight; give each one's answer or error, in order.

        Those whose turn it is are sent in one go, so that a node carries out small ones in one go too.
        """
        rest = iter(requests)
        waiting: deque[tuple[Request[R], _Sent | None]] = deque()
        try:
            while True:
                if some := list(itertools.islice(rest, window - len(waiting))):
                    on_way = (sent.link for _, sent in waiting if sent is not None and not sent.link.closed)
                    waiting.extend(zip(some, self._submit(some, next(on_way, None)), strict=True))
                if not waiting:
                    return
                yield self._finish(*waiting.popleft())
                while waiting and (sent := waiting[0][1]) is not None and sent.link.has_outcome(sent.call_id):
                    yield self._finish(*waiting.popleft())
        finally:
            for _, sent in waiting:
                if sent is not None:
                    sent.link.close()

    def close(self) -> None:
        """Close every connection. Calls that come later raise `Unavailable`."""
        self._closed = True
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    # -- one call --

    def _attempt(self, request: Request[R], deadline: float) -> Answer | EngramError:
        link = self._take(deadline)
        try:
            call_id, data = link.prepare(self._positioned(request))
        except EngramError:
            self._give_back(link)
            raise
        try:
            link.send(data, deadline)
            outcome = link.outcome(call_id, deadline)
        except BaseException:
            link.close()
            raise
        self._give_back(link)
        self._note(outcome)
        return outcome

    # -- a call of many --

    def _submit(self, requests: Sequence[Request[R]], link: Link | None) -> list[_Sent | None]:
        """Send calls behind those on their way. None: not now; it is made by itself when its turn comes."""
        nothing: list[_Sent | None] = [None] * len(requests)
        deadline = time.monotonic() + max(map(self._limit_s, requests))
        try:
            link = link or self._take(deadline)
        except (EngramError, TimeoutError):
            return nothing
        sent, data = list(nothing), []
        for at, request in enumerate(requests):
            with contextlib.suppress(EngramError):  # it is raised again when its turn comes
                call_id, message = link.prepare(self._positioned(request))
                data.append(message)
                sent[at] = _Sent(link, call_id)
        if not data:
            if not link.owed:
                self._give_back(link)
            return nothing
        try:
            link.send(b"".join(data), deadline, calls=len(data))
        except (EngramError, LinkLost, TimeoutError):
            link.close()
            return nothing
        return sent

    def _finish(self, request: Request[R], sent: _Sent | None) -> R | EngramError:
        outcome = None if sent is None else self._receive(sent, request)
        if outcome is not None and not isinstance(outcome, Busy):
            return cast("R | EngramError", outcome)
        try:
            return self.call(request)
        except EngramError as error:
            return error

    def _receive(self, sent: _Sent, request: Request[Any]) -> Answer | EngramError | None:
        try:
            outcome = sent.link.outcome(sent.call_id, time.monotonic() + self._limit_s(request))
        except TimeoutError:
            sent.link.close()
            return self._too_late(request)
        except (EngramError, LinkLost):
            sent.link.close()
            return None
        if not sent.link.owed:
            self._give_back(sent.link)
        self._note(outcome)
        return outcome

    # -- connections --

    def _take(self, deadline: float) -> Link:
        if self._pid != os.getpid():
            # A fork: the parent's sockets, and a lock that a thread of its may hold for ever, stay the parent's.
            self._pid, self._lock, self._idle = os.getpid(), threading.Lock(), []
        if self._closed:
            raise Unavailable("this client is closed; make a new one")
        while True:
            with self._lock:
                link = self._idle.pop() if self._idle else None
            if link is None:
                return self._open(deadline)
            if link.reusable:
                return link
            link.close()

    def _give_back(self, link: Link) -> None:
        assert not link.owed, "a late answer would be taken for the next call's"
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE_LINKS and not link.closed:
                self._idle.append(link)
                return
        link.close()

    def _open(self, deadline: float) -> Link:
        link = connect(self._address, deadline)
        try:
            if self._position:
                self._greet(link, deadline)
        except BaseException:
            link.close()
            raise
        return link

    def _greet(self, link: Link, deadline: float) -> None:
        """Ask the node that answers now for its log's size: a smaller one is another log, and has other positions."""
        call_id, data = link.prepare(Hello(protocol=PROTOCOL, agent=_AGENT, nonce=os.urandom(32)))
        link.send(data, deadline)
        outcome = link.outcome(call_id, deadline)
        if isinstance(outcome, EngramError):
            raise outcome
        assert isinstance(outcome, HelloResult)
        if outcome.log_size < self._position:
            self._position = 0

    # -- positions --

    def _positioned(self, request: Request[R]) -> Request[R]:
        """Let a read wait for what this client has seen already."""
        if self._position and "min_position" in request.__struct_fields__:
            return msgspec.structs.replace(request, min_position=self._position)
        return request

    def _note(self, outcome: Answer | EngramError) -> None:
        reached = getattr(outcome, "position", 0) + isinstance(outcome, _WRITTEN)
        with self._lock:
            self._position = max(self._position, reached)

    # -- errors, time --

    def _limit_s(self, request: Request[Any]) -> float:
        return self._timeout_s + patience_s(request)

    def _wait_out(self, busy: Busy, deadline: float) -> bool:
        wait_s = _BUSY_S if busy.retry_after_s is None else max(0.0, busy.retry_after_s)
        if time.monotonic() + wait_s >= deadline:
            return False
        time.sleep(wait_s)
        return True

    def _too_late(self, request: Request[Any]) -> DeadlineExceeded:
        limit_s = self._limit_s(request)
        return DeadlineExceeded(f"no answer to the {request.method} from {self._address.url} in {limit_s:g} s")

    def _gone(self, request: Request[Any]) -> Unavailable:
        known = "; ask whether it has happened" if isinstance(request, Delete) else ""
        return Unavailable(
            f"the connection to {self._address.url} was lost before the {request.method} was answered{known}"
        )


class _Sent(msgspec.Struct, frozen=True):
    """A call on its way."""

    link: Link
    call_id: int
