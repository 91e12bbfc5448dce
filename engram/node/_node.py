"""The node: the one place that knows every actor. It opens the store, starts the actors, and stops them in reverse."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from engram.actors import EmbedderActor, Model, StoreActor
from engram.gateway import serve_rpc
from engram.native._core import __version__
from engram.node._service import NodeService, ServiceSettings
from engram.runtime import (
    Log,
    RealClock,
    RealDisk,
    RealRng,
    RealTables,
    Supervisor,
    Threads,
    leaf,
    raise_descriptor_limit,
)
from engram.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from engram.gateway import RpcServer
    from engram.node._config import Config
    from engram.ports import Clock, Disk, Offload, Rng, Tables

log = Log()

_SWITCH_INTERVAL_S = 0.0005
_FOREVER_S = 24 * 3600.0


class World(msgspec.Struct, frozen=True):
    """The ports that a node is started on. `offload` makes the threads, given those of the embedding lane."""

    disk: Disk
    clock: Clock
    rng: Rng
    tables: Tables
    offload: Callable[[int], Offload]


def real_world() -> World:
    """Give the machine's own ports."""
    return World(RealDisk(), RealClock(), RealRng(), RealTables(), _threads)


def _threads(embedding: int) -> Threads:
    lanes = {"writer": 1, "search": 1, "model": 1, "ask": 1, "embed": embedding}
    return Threads(lanes, background=frozenset({"embed"}))


def _ignore(event: str, facts: dict[str, Any]) -> None:
    """Be told, and do nothing."""


@contextlib.asynccontextmanager
async def running(
    config: Config, world: World, on_event: Callable[[str, dict[str, Any]], None] = _ignore, *, embedded: bool = False
) -> AsyncIterator[NodeService]:
    """Open the data folder and start the actors, without doors; leaving it stops them and writes a checkpoint."""
    threads = config.embedding_threads or max(1, (os.cpu_count() or 2) - 1)
    offload = world.offload(threads)
    try:
        store = await _open_store(config.data_dir.absolute(), world, offload, on_event)
        try:
            async with _actors(config, world, offload, store, on_event, threads, embedded=embedded) as service:
                yield service
        finally:
            with trio.CancelScope(shield=True):
                await offload.run("writer", functools.partial(store.close, world.clock.now_ns()))
    finally:
        offload.close()


async def _open_store(
    path: Path, world: World, offload: Offload, on_event: Callable[[str, dict[str, Any]], None]
) -> Store:
    started = world.clock.monotonic()
    call = functools.partial(
        Store.open, world.disk, world.tables, path, world.rng, world.clock.now_ns(), f"engram-node {__version__}"
    )
    store = await offload.run("writer", call)
    records = await offload.run("search", store.count)
    seconds = world.clock.monotonic() - started
    position = store.published.position
    log.debug("store_opened", records=records, position=position, seconds=round(seconds, 3))
    facts = {"records": records, "position": position, "seconds": seconds, "node_key": store.key.address}
    on_event("opened", facts)
    return store


@contextlib.asynccontextmanager
async def _actors(
    config: Config,
    world: World,
    offload: Offload,
    store: Store,
    on_event: Callable[[str, dict[str, Any]], None],
    threads: int,
    *,
    embedded: bool,
) -> AsyncIterator[NodeService]:
    model = Model()
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, world.clock, world.rng)
        store_ref = await supervisor.start("store", lambda: StoreActor(store, offload, world.clock))
        embedder_ref = await supervisor.start("embedder", lambda: EmbedderActor(offload, "embed", threads))
        asker_ref = await supervisor.start("asker", lambda: EmbedderActor(offload, "ask", 1))
        nursery.start_soon(model.prepare, config.model_dir, offload, world.clock, on_event)
        settings = ServiceSettings(
            role=config.role,
            version=__version__,
            data_dir=config.data_dir,
            write_queue_items=config.write_queue_items,
            embedding_threads=threads,
            on_long=config.on_long,
            wait_for_fetch_s=_FOREVER_S if embedded else 0.0,
        )
        try:
            yield NodeService(
                settings, store, model, store_ref, embedder_ref, asker_ref, offload, world.clock, world.rng
            )
        finally:
            with trio.CancelScope(shield=True):
                model.stop()
                await supervisor.stop()
            nursery.cancel_scope.cancel()


async def run(
    config: Config,
    *,
    on_event: Callable[[str, dict[str, Any]], None] | None = None,
    world: World | None = None,
) -> None:
    """Run a node with its doors until SIGINT or SIGTERM.

    `on_event(name, facts)` hears `opened`, `listening`, `model_progress`, `model_ready`, `model_failed`, `stopping`
    and `stopped`. Raises an `EngramError` for what an operator can mend, never an exception group.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    raise_descriptor_limit()
    tell = on_event or _ignore
    try:
        await _serve(config, world or real_world(), tell)
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    tell("stopped", {})


async def _serve(config: Config, world: World, tell: Callable[[str, dict[str, Any]], None]) -> None:
    told = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as listening:
            listening.start_soon(_hear_signals, signals, told, tell)
            async with running(config, world, tell) as service, trio.open_nursery() as nursery:
                start = functools.partial(serve_rpc, service, host=config.host, port=config.port)
                server: RpcServer = await nursery.start(start)
                log.debug("listening", url=server.url)
                tell("listening", {"url": server.url})
                await told.wait()
                server.stop()
            listening.cancel_scope.cancel()


async def _hear_signals(
    signals: AsyncIterator[int], told: trio.Event, tell: Callable[[str, dict[str, Any]], None]
) -> None:
    """Take signals until the folder is closed: one that nobody took would end the process at the receiver's end."""
    async for number in signals:
        if not told.is_set():
            log.debug("stopping", signal=signal.Signals(number).name)
            tell("stopping", {})
            told.set()
