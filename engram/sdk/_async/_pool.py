"""The connections of a client: made when they are needed, kept for the next call, each used by one caller at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from engram.errors import EngramError, Unavailable
from engram.sdk._async._link import connect
from engram.sdk._async._net import Slots, home
from engram.sdk._fork import leaving
from engram.sdk._tls import check_node, foreseen_context, greeting, proof
from engram.wire import HelloResult

if TYPE_CHECKING:
    from engram.sdk._async._link import AsyncLink
    from engram.sdk._options import Options
    from engram.sdk._policy import Policy

_LINKS = 32
"""Connections with calls under way; others wait for one of them. A node has 1,024 for everybody."""
_IDLE_LINKS = 8


class AsyncPool:
    """Connections to one node. A forked child makes its own."""

    def __init__(self, options: Options, policy: Policy) -> None:
        self._options = options
        self._policy = policy
        self._signer = options.signer()
        self._tls = foreseen_context(options)
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._slots = Slots(_LINKS)
        self._idle: list[AsyncLink] = []
        self._used: dict[AsyncLink, bool] = {}
        """Whether each holds one of the slots."""
        self._home = home()  # the last: who finds itself at home uses the others

    async def take(self, deadline: float, *, beside: bool = False) -> AsyncLink:
        """Give a connection that nobody else uses. `beside`: one more than the pool's number, if need be.

        Raise `TimeoutError`, or what is wrong with the node.
        """
        if self._home != home():
            self._leave_home()
        if not beside:
            await self._slots.acquire(deadline)
        try:
            link = self._reused() or await self._opened(deadline)
            with self._lock:
                if self._closed:
                    link.close()
                    raise Unavailable("this client is closed; make a new one")
                self._used[link] = not beside
        except BaseException:
            if not beside:
                self._slots.release()
            raise
        return link

    def give_back(self, link: AsyncLink) -> None:
        """Keep a connection for the next call. Every call on it is answered."""
        assert not link.owed, "a late answer would be taken for the next call's"
        with self._lock:
            kept = not self._closed and not link.closed and len(self._idle) < _IDLE_LINKS
            if kept:
                self._idle.append(link)
        self._end(link, close=not kept)

    def drop(self, link: AsyncLink) -> None:
        """Close a connection; an answer may still come on it."""
        self._end(link, close=True)

    def close(self) -> None:
        """Close every connection; one that is in use is found lost by who uses it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            used = list(self._used)
        for link in idle:
            link.close()
        for link in used:
            link.interrupt()

    def _end(self, link: AsyncLink, *, close: bool) -> None:
        if close:
            link.close()
        with self._lock:
            counted = self._used.pop(link, False)
        if counted:
            self._slots.release()

    def _reused(self) -> AsyncLink | None:
        while True:
            with self._lock:
                if self._closed:
                    raise Unavailable("this client is closed; make a new one")
                link = self._idle.pop() if self._idle else None
            if link is None or link.reusable:
                return link
            link.close()

    async def _opened(self, deadline: float) -> AsyncLink:
        link = await connect(self._options, self._tls, deadline)
        try:
            if self._greets(link):
                await self._greet(link, deadline)
        except BaseException:
            link.close()
            raise
        return link

    def _greets(self, link: AsyncLink) -> bool:
        wanted = self._options.node_key is not None or self._signer is not None
        return wanted or link.certificate is not None or self._policy.position > 0

    async def _greet(self, link: AsyncLink, deadline: float) -> None:
        """Find out who answers, how long its log is, and say who calls."""
        said = greeting(self._signer)
        heard = await link.ask(said, deadline)
        if isinstance(heard, EngramError):
            raise heard
        assert isinstance(heard, HelloResult)
        if link.certificate is not None or self._options.node_key is not None:
            check_node(said, heard, link.certificate, self._options.node_key)
        if self._signer is not None:
            proved = await link.ask(proof(said, heard, link.certificate, self._signer), deadline)
            if isinstance(proved, EngramError):
                raise proved
        self._policy.met(heard.node_key, heard.log_size)

    def _leave_home(self) -> None:
        """Be a fork's: the parent's connections stay open in the parent, and are not ours."""
        with leaving():
            if self._home == home():
                return  # another thread was first
            idle = self._idle
            self._policy.after_fork()
            self._begin()
        for link in idle:
            link.close()
