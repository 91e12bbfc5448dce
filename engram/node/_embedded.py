"""`engram.open`: the same actors in the caller's process, without doors, on one trio thread of its own.

Theory of operation. What writes, embeds, or asks an actor crosses to that thread once, and waits there. What only reads
runs in the caller's thread, on the snapshot that was published last; a query by text crosses once, for its vector.
"""

from __future__ import annotations

import queue
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from engram.node._home import Home
from engram.node._reads import Reads
from engram.sdk import Api
from engram.wire import ChallengeV1, Get, History, KeyGet, KeyList, List, NamespaceList, Query, checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.node._config import Config
    from engram.node._places import Place
    from engram.node._service import NodeService
    from engram.runtime import Message
    from engram.wire import Answer, Request

R = TypeVar("R")
T = TypeVar("T", bound="Answer")

PLAIN: dict[type, Callable[[Reads, Any], Callable[[], Answer]]] = {
    Get: Reads.get,
    List: Reads.list,
    KeyGet: Reads.key_get,
    KeyList: Reads.key_list,
    History: Reads.history,
    NamespaceList: lambda reads, _: reads.namespaces(),
    ChallengeV1: Reads.challenge_v1,
}
"""What reads by the request alone, in two steps: it is looked at, and then carried out, in whatever thread."""


class Memory(Api):
    """A memory that is open in this process. It has the client's calls; use it from any thread, then close it.

    One that is forgotten without being closed is closed by and by.
    """

    def __init__(self, config: Config, place: Place) -> None:
        super().__init__()
        self._home = home = Home(config, place)
        self._forgotten = weakref.finalize(self, home.stop)
        self._forgotten.atexit = False
        opened: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            home.start(lambda: opened.put(None))
            opened.get()
        except BaseException:  # an interrupt: nobody will have it to close it
            home.stop()
            home.join()
            raise
        if home.error is not None:
            home.join()
            raise home.error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is under way, sign a checkpoint, release the folder, and end every thread; twice is allowed.

        A memory in one file is packed into it. Raises `StorageFailed` or `DiskFull` where that cannot be; it stays a
        folder beside the file then, which the next `open` takes up. Called by a signal handler in the middle of a read
        of this thread, it only begins: the read must end first.
        """
        self._home.stop()
        self._home.join()
        if (loss := self._home.take_loss()) is not None:
            raise loss

    def ask(self, actor: str, message: Message[R]) -> R:
        """Ask an actor of one's own, by the name that `engram.open(actors=…)` gave it, and wait for its answer.

        Raises the `EngramError` that its handler raises, `NotFound` where there is no such actor, and `TypeError` where
        it handles no message of this type.
        """
        return self._home.cross(lambda service: service.ask(actor, message))

    def _call(self, request: Request[T]) -> T:
        service = self._home.service
        if service is None:
            raise self._home.gone()
        if (failure := service.reads.failure) is not None:
            raise failure  # the memory is about to close with it, and says so from now on
        request = checked(request)
        if isinstance(request, Query):
            return cast("T", self._query(service, request))
        if (plain := PLAIN.get(type(request))) is not None:
            read = cast("Callable[[], T]", plain(service.reads, request))
            return self._read(service, read, getattr(request, "min_position", 0))
        return cast("T", self._home.cross(lambda service: service.call(request)))

    def _query(self, service: NodeService, request: Query) -> Answer:
        search = service.reads.query(request)
        vector = search.vector or self._home.cross(lambda service: service.vector_of(search))
        return self._read(service, partial(service.reads.search, search, vector), request.min_position)

    def _read(self, service: NodeService, read: Callable[[], R], position: int) -> R:
        if service.reads.position < position:
            self._home.cross(lambda service: service.reach(position))
        return self._home.gate.run(read)
