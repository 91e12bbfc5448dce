"""Where an embedded memory lives: one trio thread with its actors, and the way there and back for its callers' threads.

Theory of operation. A caller gives `send` a call and is told, on the memory's thread, when it has ended; how it waits
until then is its own business: a thread sleeps, a task of whatever loop awaits. Every call that was sent ends, once,
whatever becomes of the memory. Who stops waiting for a write abandons only the waiting: the write happens whole, or
not at all. Readers pass a gate. Stopping shuts it and waits for those inside before the store goes, so none of them
ever sees a file or a connection of the store closed. A forked child has the object, and none of the threads: it is
refused everything.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from engram.errors import BadRequest, EngramError, Forked, Internal, Unavailable
from engram.node._gate import Gate
from engram.node._node import running
from engram.runtime import leaf

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engram.node._config import Config
    from engram.node._places import Place
    from engram.node._service import NodeService

R = TypeVar("R")

_SLICE_S = 0.5
"""How long a caller waits at once: an interrupt that comes just before it waits, or to another thread, wakes nobody."""


class Home:
    """A memory's thread. `start` and `stop` only begin; who wants to know of their end is told, or joins."""

    def __init__(self, config: Config, place: Place) -> None:
        self._config = config
        self._place = place
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._stopping = False
        self._opened: Callable[[], None] = _tell_nobody
        self._ended: list[Callable[[], None]] = []
        self._is_over = False
        self._changed = True
        self._sound = False
        self.service: NodeService | None = None
        """None before it has opened, and once it is closed: then `gone` says why."""
        self.error: BaseException | None = None
        """Why it could not be opened, or what ended it."""
        self._loss: EngramError | None = None
        self.gate = Gate(self.gone)
        self._thread = threading.Thread(target=self._live, name="engram-memory", daemon=True)

    def start(self, opened: Callable[[], None]) -> None:
        """Open the memory on a thread of its own; `opened` is called there when it is open, or cannot be (`error`)."""
        if self._thread.ident is not None:
            raise self.gone()
        _LIVING.add(self)
        self._opened = opened
        self._thread.start()

    def stop(self, ended: Callable[[], None] | None = None) -> None:
        """Write what is under way, sign a checkpoint, release the folder, and end; twice is allowed.

        `ended` is called when all of it is done, on the thread that is about to end, or at once where there is none.
        """
        if ended is not None:
            self._ended.append(ended)
        self._stopping = True
        if self._stop is not None:
            self.run_soon(self._stop.set)
        if self._is_over or not self._thread.is_alive():
            self._tell_ended()

    def join(self) -> None:
        """Wait until the thread has ended, unless it is waiting for this very thread, which reads."""
        if not self.gate.holds_me and self._thread.ident is not None:
            self._thread.join()

    def take_loss(self) -> EngramError | None:
        """Say, to the first who asks, why the closed memory could not be put where it belongs, if it could not.

        Nothing that was acknowledged is lost.
        """
        loss, self._loss = self._loss, None
        return loss

    # -- calling ------------------------------------------------------------------------------------------------------

    def cross(self, call: Callable[[NodeService], Awaitable[R]]) -> R:
        """Run a call on the memory's thread, and have this thread wait for it, whatever loop it may be running."""
        if threading.current_thread() is self._thread:  # it would wait for itself, and everybody for it
            raise BadRequest("this is the memory's own thread: a plug-in calls `await self.node.call(…)`")
        ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        sent = self.send(call, lambda: ended.put(None))
        while True:
            try:
                ended.get(timeout=_SLICE_S)
            except queue.Empty:
                continue
            return sent.outcome()

    def send(self, call: Callable[[NodeService], Awaitable[R]], done: Callable[[], None]) -> Sent[R]:
        """Run a call on the memory's thread; `done` is called there when it has ended."""
        if self._token is None or self.service is None:
            raise self.gone()
        sent = Sent(self, call, done)
        try:
            self._token.run_sync_soon(sent.begin)
        except trio.RunFinishedError:
            raise self.gone() from None
        return sent

    def run_soon(self, call: Callable[[], Any]) -> None:
        """Have the memory's thread call something, if it still runs."""
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(call)

    def gone(self) -> EngramError:
        """Say why nothing can be asked of this memory any more."""
        if isinstance(self.error, EngramError):
            return self.error
        service = self.service  # which the memory's thread may be taking away just now
        if service is not None and (failure := service.reads.failure) is not None:
            return failure
        return Unavailable("this memory is closed; open it again")

    # -- on the memory's thread ---------------------------------------------------------------------------------------

    def _live(self) -> None:
        taken = False
        try:
            self._place.take()
            taken = True
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 (whoever opens or calls is told, in their own thread)
            self.error = leaf(error)
        self.service = None  # and with it what readers saw, which holds the maps of the bodies
        if taken:
            self._leave()
        self._is_over = True
        self._opened()
        self._tell_ended()

    async def _main(self) -> None:
        async with running(self._config, self._place.world, embedded=True) as service:
            began_at = service.reads.position
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            self.service = service
            self._opened()
            self._opened = _tell_nobody
            try:
                if not self._stopping:
                    await self._stop.wait()
            finally:
                self.gate.close()
        self._changed = service.reads.position > began_at
        self._sound = service.reads.failure is None

    def _leave(self) -> None:
        try:
            self._place.leave(sound=self._sound, changed=self._changed)
        except EngramError as error:
            self._loss = error
        except Exception as error:  # noqa: BLE001 (a bug of ours; whoever closes is told, in their own thread)
            self._loss = Internal(f"closing failed: {type(error).__name__}")
            self._loss.__cause__ = error

    def _tell_ended(self) -> None:
        with contextlib.suppress(IndexError):  # it may be told by two threads, each of a part
            while True:
                self._ended.pop()()

    def forget(self) -> None:
        """Be of no use to the forked child that calls this, and do nothing to its parent."""
        self.error = Forked("this memory was opened before a fork, and is the parent's; let both talk to a node")
        self.service = self._token = self._stop = None


class Sent(Generic[R]):
    """A call that was sent to a memory's thread."""

    def __init__(self, home: Home, call: Callable[[NodeService], Awaitable[R]], done: Callable[[], None]) -> None:
        self._home = home
        self._call = call
        self._done = done
        self._scope = trio.CancelScope()
        self._result: list[R] = []
        self._error: BaseException | None = None

    def outcome(self) -> R:
        """Give the call's result, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def cancel(self) -> None:
        """Have it end soon, done or not; nobody waits for it any more."""
        self._home.run_soon(self._scope.cancel)

    def begin(self) -> None:
        """Start it, on the memory's thread."""
        try:
            trio.lowlevel.spawn_system_task(self._run)
        except RuntimeError:  # the loop is at its end
            self._error = self._home.gone()
            self._done()

    async def _run(self) -> None:
        try:
            with self._scope:
                service = self._home.service
                if service is None:
                    raise self._home.gone()
                self._result.append(await self._call(service))
            if self._scope.cancelled_caught:
                self._error = Unavailable("this call was given up")
        except trio.Cancelled:
            self._error = self._home.gone()
            raise
        except BaseException as error:  # noqa: BLE001 (it is raised where the caller waits)
            self._error = error
        finally:
            self._done()


def _tell_nobody() -> None:
    """Be called where nobody waits."""


_LIVING: weakref.WeakSet[Home] = weakref.WeakSet()


def _forget_all() -> None:
    for home in list(_LIVING):
        home.forget()


os.register_at_fork(after_in_child=_forget_all)
