"""`engram.open_async`: the embedded memory for a program of asyncio or of trio.

Theory of operation. The memory lives on a thread of its own, as every embedded one does, and a call crosses to it
without blocking the program's loop: its task sleeps until the memory's thread tells it of the end. What is expected to
take less than that way is done at once, in the loop; but after a while of nothing else a call lets the loop's other
tasks have their turn. A task that is cancelled goes at once. What it had asked for is given up too, where it only
reads; a write happens whole, or not at all.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from engram.node._embedded import PLAIN
from engram.node._home import Home
from engram.node._waiting import breathe, told
from engram.sdk import AsyncApi
from engram.wire import (
    Delete,
    Get,
    KeyDelete,
    KeyGet,
    KeySet,
    NamespaceCreate,
    NamespaceDelete,
    Put,
    PutMany,
    Query,
    checked,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engram.node._config import Config
    from engram.node._home import Sent
    from engram.node._places import Place
    from engram.node._service import NodeService
    from engram.runtime import Message
    from engram.wire import Answer, Request

R = TypeVar("R")
T = TypeVar("T", bound="Answer")

_WRITES = (Put, PutMany, Delete, KeySet, KeyDelete, NamespaceCreate, NamespaceDelete)
_QUICK = (Get, KeyGet)
"""What looks a few rows up, by their keys."""
_TURN_S = 0.002
"""For how long a row of quick calls keeps the loop to itself."""


class AsyncMemory(AsyncApi):
    """A memory in this process: `async with engram.open_async(path) as memory`. It has the client's calls, awaited.

    Any number of the loop's tasks may use it. Leaving the block closes it, whatever the block ended by, and leaves no
    thread and no task. To open it again, make another.
    """

    def __init__(self, config: Config, place: Place) -> None:
        super().__init__()
        self._place = place
        self._home = Home(config, place)
        self._forgotten = weakref.finalize(self, self._home.stop)
        self._forgotten.atexit = False
        self._breathed_at = 0.0

    async def __aenter__(self) -> Self:
        try:
            await told(self._home.start)
        except BaseException:  # cancelled: nobody will have it to close it
            await told(self._home.stop)
            raise
        if self._home.error is not None:
            self._home.join()
            raise self._home.error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what is under way, sign a checkpoint, release the folder, and end every thread; twice is allowed.

        A cancellation waits for that. Raises as `Memory.close` does.
        """
        await told(self._home.stop)
        self._home.join()
        if (loss := self._home.take_loss()) is not None:
            raise loss

    async def ask(self, actor: str, message: Message[R]) -> R:
        """Ask an actor of one's own, as `Memory.ask` does."""
        return await self._cross(lambda service: service.ask(actor, message), _let)

    async def _call(self, request: Request[T]) -> T:
        service = self._home.service
        if service is None:
            raise self._home.gone()
        if (failure := service.reads.failure) is not None:
            raise failure
        if (now := self._now(service, request)) is not None:
            await self._breathe()
            return cast("T", now)
        give_up = _let if isinstance(request, _WRITES) else _cancel
        return cast("T", await self._cross(lambda service: service.call(checked(request)), give_up))

    def _now(self, service: NodeService, request: Request[Any]) -> Answer | None:
        """Answer at once what is expected to be quick; None for all else."""
        if type(request) is Query and request.vector is not None:
            quick = cast("Query", checked(request))
            return self._home.gate.run(lambda: service.answer_now(quick))
        if isinstance(request, _QUICK) and self._place.is_quiet and service.reads.is_free:
            plain = checked(request)
            if getattr(plain, "min_position", 0) <= service.reads.position:
                return self._home.gate.run(PLAIN[type(plain)](service.reads, plain))
        return None

    async def _breathe(self) -> None:
        now = self._place.world.clock.monotonic()
        if now - self._breathed_at > _TURN_S:
            self._breathed_at = now
            await breathe()

    async def _cross(self, call: Callable[[NodeService], Awaitable[R]], give_up: Callable[[Sent[R]], None]) -> R:
        sent = await told(lambda tell: self._home.send(call, tell), give_up)
        return sent.outcome()


def _cancel(sent: Sent[Any]) -> None:
    sent.cancel()


def _let(sent: Sent[Any]) -> None:
    """Let it happen."""
