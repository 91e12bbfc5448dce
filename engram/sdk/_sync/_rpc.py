# Made by scripts/generate_sync.py from engram/sdk/_async/_rpc.py: change that one.
"""Calls over MessagePack-RPC: a pool of connections, and several calls of a batch in flight on one.

A call that is cut short closes its connection, for its answer may still come.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from engram.errors import Busy, EngramError, RateLimited
from engram.sdk._policy import LinkLost, Policy, repeatable
from engram.sdk._sync._calls import Calls
from engram.sdk._sync._link import Link  # noqa: TC001 - a field's type
from engram.sdk._sync._net import now
from engram.sdk._sync._pool import Pool
from engram.wire import Answer, Events

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from engram.sdk._options import Options
    from engram.wire import Request

R = TypeVar("R", bound=Answer)

_WINDOW = 4
"""Calls of a batch in flight: enough to keep the node busy while the next one is prepared."""


class Rpc(Calls):
    """Carries requests to one node over `engram://`."""

    def __init__(self, options: Options) -> None:
        super().__init__(Policy(options.address, options.timeout_s))
        self._pool = Pool(options, self.policy)

    def attempt(self, request: Request[R], deadline: float, *, beside: bool = False) -> Answer | EngramError:
        """Make the call once, on a connection of its own while it lasts."""
        waits = isinstance(request, Events) and request.wait_s > 0
        link = self._pool.take(deadline, beside=beside or waits)
        try:
            call_id, data = link.prepare(self.policy.positioned(request))
        except EngramError:
            self._pool.give_back(link)
            raise
        try:
            link.send(data, deadline)
            outcome = link.outcome(call_id, deadline)
        except BaseException:
            self._pool.drop(link)
            raise
        self._pool.give_back(link)
        return outcome

    def call_many(self, requests: Iterable[Request[R]], window: int = _WINDOW) -> Generator[R | EngramError]:
        """Carry out requests, `window` in flight; give each one's answer or error, in order.

        Those whose turn it is are sent in one go, so that a node carries out small ones in one go too.
        """
        rest = iter(requests)
        waiting: deque[tuple[Request[R], _Sent | None]] = deque()
        try:
            while True:
                some: list[Request[R]] = []
                while len(some) + len(waiting) < window and (request := next(rest, None)) is not None:
                    some.append(request)
                if some:
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
                    self._pool.drop(sent.link)

    def close(self) -> None:
        """Close every connection. Calls under way, and later ones, raise `Unavailable`."""
        self.closed = True
        self._pool.close()

    # -- a call of many --

    def _submit(self, requests: Sequence[Request[R]], link: Link | None) -> list[_Sent | None]:
        """Send calls behind those on their way. None: not sent; it is made by itself when its turn comes."""
        nothing: list[_Sent | None] = [None] * len(requests)
        deadline = now() + max(map(self.policy.limit_s, requests))
        try:
            link = link or self._pool.take(deadline)
        except (EngramError, LinkLost, TimeoutError):
            return nothing
        sent, data = list(nothing), []
        for at, request in enumerate(requests):
            with contextlib.suppress(EngramError):  # it is raised again when its turn comes
                call_id, message = link.prepare(self.policy.positioned(request))
                data.append(message)
                sent[at] = _Sent(link, call_id)
        if not data:
            if not link.owed:
                self._pool.give_back(link)
            return nothing
        try:
            link.send(b"".join(data), deadline, calls=len(data))
        except (EngramError, LinkLost, TimeoutError):
            self._pool.drop(link)  # they may have come all the same, and are found lost when their turn comes
        except BaseException:
            self._pool.drop(link)
            raise
        return sent

    def _finish(self, request: Request[R], sent: _Sent | None) -> R | EngramError:
        if sent is None:
            return self.outcome(request)
        outcome = self._receive(sent, request)
        if isinstance(outcome, Busy | RateLimited) or (outcome is None and repeatable(request)):
            return self.outcome(request)
        return self.policy.gone(request) if outcome is None else cast("R | EngramError", outcome)

    def _receive(self, sent: _Sent, request: Request[Any]) -> Answer | EngramError | None:
        """Give what became of a call that was sent; None: its connection was lost."""
        if sent.link.closed and not sent.link.has_outcome(sent.call_id):
            return None
        try:
            outcome = sent.link.outcome(sent.call_id, now() + self.policy.limit_s(request))
        except TimeoutError:
            self._pool.drop(sent.link)
            return self.policy.too_late(request)
        except (EngramError, LinkLost):
            self._pool.drop(sent.link)
            return None
        except BaseException:
            self._pool.drop(sent.link)
            raise
        if not sent.link.owed and not sent.link.closed:
            self._pool.give_back(sent.link)
        self.policy.note(outcome)
        return outcome


class _Sent(msgspec.Struct, frozen=True):
    """A call on its way."""

    link: Link
    call_id: int
