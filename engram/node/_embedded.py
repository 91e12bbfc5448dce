"""`engram.open`: the same actors in the caller's process, without doors, on one trio thread of its own.

Theory of operation. What writes, embeds, or asks an actor crosses to that thread and waits there. What only reads runs
in the caller's thread, on the snapshot that was published last; a query by text crosses once, for its vector. Readers
pass a gate. Closing shuts it and waits for those inside before the store goes, so none of them ever sees a file or a
connection of the store closed. A forked child has the handle, and none of the threads: it is refused everything.
"""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import trio

from engram.errors import BadRequest, EngramError, Forked, Unavailable
from engram.node._actor_config import actors_of
from engram.node._config import Config
from engram.node._gate import Gate
from engram.node._model_config import models_of
from engram.node._node import real_world, running
from engram.runtime import leaf
from engram.sdk import Api
from engram.wire import Get, List, NamespaceList, Query, checked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from engram.node._node import World
    from engram.node._service import NodeService
    from engram.runtime import Message
    from engram.wire import Answer, Request

R = TypeVar("R")
T = TypeVar("T", bound="Answer")


class Memory(Api):
    """A data folder, open in this process. It has the client's calls; use it from any thread, then close it."""

    def __init__(self, config: Config, world: World | None = None) -> None:
        super().__init__()
        self._config = config
        self._world = world or real_world()
        self._ready = threading.Event()
        self._service: NodeService | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._error: BaseException | None = None
        self._gate = Gate(self._gone)
        self._reading: dict[type, Callable[[NodeService, Any], Answer]] = {
            Query: self._query,
            Get: self._get,
            List: self._list,
            NamespaceList: self._namespace_list,
        }
        _OPEN.add(self)
        self._thread = threading.Thread(target=self._live, name="engram-memory", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is under way, sign a checkpoint, release the folder, and end every thread; twice is allowed.

        Called by a signal handler in the middle of a read of this thread, it only begins: the read must end first.
        """
        if self._token is not None and self._stop is not None:
            try:
                self._token.run_sync_soon(self._stop.set)
            except trio.RunFinishedError:
                self._stop = None
        if not self._gate.holds_me:
            self._thread.join()

    def ask(self, actor: str, message: Message[R]) -> R:
        """Ask an actor of one's own, by the name that `engram.open(actors=…)` gave it, and wait for its answer.

        Raises the `EngramError` that its handler raises, `NotFound` where there is no such actor, and `TypeError` where
        it handles no message of this type.
        """
        return self._cross(lambda service: service.ask(actor, message))

    def _call(self, request: Request[T]) -> T:
        service = self._service
        if service is None:
            raise self._gone()
        if (failure := service.reads.failure) is not None:
            raise failure  # the memory is about to close with it, and says so from now on
        request = checked(request)
        read = self._reading.get(type(request))
        return cast("T", read(service, request) if read else self._cross(lambda service: service.call(request)))

    # -- reading, in the caller's thread --

    def _query(self, service: NodeService, request: Query) -> Answer:
        search = service.reads.query(request)
        vector = search.vector or self._cross(lambda service: service.vector_of(search))
        return self._read(service, partial(service.reads.search, search, vector), request.min_position)

    def _get(self, service: NodeService, request: Get) -> Answer:
        return self._read(service, service.reads.get(request), request.min_position)

    def _list(self, service: NodeService, request: List) -> Answer:
        return self._read(service, service.reads.list(request), request.min_position)

    def _namespace_list(self, service: NodeService, request: NamespaceList) -> Answer:
        del request
        return self._read(service, service.reads.namespaces(), 0)

    def _read(self, service: NodeService, read: Callable[[], R], position: int) -> R:
        if service.reads.position < position:
            self._cross(lambda service: service.reach(position))
        return self._gate.run(read)

    # -- on the memory's thread --

    def _cross(self, call: Callable[[NodeService], Awaitable[R]]) -> R:
        if self._token is None or self._service is None or not self._thread.is_alive():
            raise self._gone()
        if threading.current_thread() is self._thread:  # it would wait for itself, and everybody for it
            raise BadRequest("this is the memory's own thread: a plug-in calls `await self.node.call(…)`")
        try:
            return _cross(partial(call, self._service), self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            raise self._gone() from None

    def _gone(self) -> EngramError:
        if isinstance(self._error, EngramError):
            return self._error
        if self._service is not None and (failure := self._service.reads.failure) is not None:
            return failure
        return Unavailable("this memory is closed; open it again")

    def _live(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 (whoever opens or calls is told, in their own thread)
            self._error = leaf(error)
        finally:
            self._service = None  # and with it what readers saw, which holds the maps of the bodies
            self._ready.set()

    async def _main(self) -> None:
        async with running(self._config, self._world, embedded=True) as service:
            self._service = service
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            self._ready.set()
            try:
                await self._stop.wait()
            finally:
                self._gate.close()

    def _forget(self) -> None:
        """Be of no use to the forked child that calls this, and do nothing to its parent."""
        self._error = Forked("this memory was opened before a fork, and is the parent's; let both talk to a node")
        self._service = self._token = self._stop = None


_OPEN: weakref.WeakSet[Memory] = weakref.WeakSet()


def _forget_all() -> None:
    for memory in list(_OPEN):
        memory._forget()  # noqa: SLF001


os.register_at_fork(after_in_child=_forget_all)


def _cross(call: Callable[[], Awaitable[R]], token: trio.lowlevel.TrioToken) -> R:
    """Run `call` on the memory's thread and wait for it, whatever loop the caller's thread may be running."""
    cross = partial(trio.from_thread.run, call, trio_token=token)
    if not trio.lowlevel.in_trio_run():
        return cross()
    with ThreadPoolExecutor(1) as beside:  # trio lets no thread wait that runs a loop of its own
        return beside.submit(cross).result()


def open_memory(
    path: str | Path, models: Mapping[str, object] | None = None, actors: Mapping[str, object] | None = None
) -> Memory:
    """Open the data folder at `path`, made if absent, in this process; see `Memory`.

    `models`: other embedding models as `node.toml` has them, such as `{"mpnet": {"backend": "sentence-transformers",
    "path": "/models/all-mpnet-base-v2"}}`. `actors`: plug-ins as `node.toml` has them, where a class may stand for its
    name: `{"census": {"class": Census, "report_every": 100}}`.

    Raises `BadRequest` for a model or plug-in that will not do, `FolderInUse` where a node or another process has the
    folder open, `FolderRefused` where it cannot be used.
    """
    if str(path) in {"", ":memory:"}:
        raise BadRequest(
            f"path: {str(path)!r} is no folder; give the path of one, which is made if absent", field="path"
        )
    config = Config(
        data_dir=Path(path),
        models=models_of(models or {}, lambda key: key),
        actors=actors_of(actors or {}, lambda key: key),
    )
    return Memory(config)
