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

from engram.actors import (
    CHALLENGER_LANE,
    EPOCH_S,
    INDEX_LANE,
    PROVER_LANE,
    ChallengeOnce,
    ChallengerActor,
    Checkpointer,
    CheckpointOnce,
    ConfiguredModel,
    EmbedderActor,
    Indexer,
    IndexOnce,
    Model,
    ProverActor,
    RecallChecker,
    ReplayOnce,
    Scrubber,
    ScrubOnce,
    StoreActor,
    Tally,
    keep_asking,
)
from engram.embed import REQUEST_TEXTS, OwnModel, RemoteSpec
from engram.events import FORMAT, SEGMENT_BYTES
from engram.gateway import Metered, Metrics, is_near, serve_rpc
from engram.identity import from_ss58
from engram.native._core import __version__
from engram.node._certificate import certificate_of
from engram.node._challenge_config import peer_of
from engram.node._challenging import Challenged, Terms, challenge
from engram.node._embedding import Embedding, Lane
from engram.node._evidence import EvidenceFolder
from engram.node._models import Models, Served
from engram.node._plugins import Loaded, Plugins, lanes_of, load_plugins
from engram.node._reports import actors_now
from engram.node._service import NodeService, ServiceSettings
from engram.node._stored_bodies import StoredBodies
from engram.proofs import Prover
from engram.runtime import LANE as LOG_LANE
from engram.runtime import (
    Log,
    RealClock,
    RealDisk,
    RealNetwork,
    RealRng,
    RealTables,
    Supervisor,
    Tail,
    Threads,
    leaf,
    raise_descriptor_limit,
)
from engram.store import SNAPSHOT_LEAVES, Indexing, IndexLimits, RecallCheck, Scrub, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from engram.embed import ModelSource
    from engram.events import Checkpoint
    from engram.gateway import Certificate, Serving
    from engram.node._config import Config
    from engram.ports import Clock, Disk, Network, Offload, Rng, Tables
    from engram.runtime import Ref

    OnEvent = Callable[[str, dict[str, Any]], None]

log = Log()

_SWITCH_INTERVAL_S = 0.0005
_FOREVER_S = 24 * 3600.0
_REMOTE_THREADS = 4
_REMOTE_ASKING = 2


class World(msgspec.Struct, frozen=True):
    """What a node is started on: the ports, and where its own model comes from.

    `offload` makes the threads, given how many each lane has.
    """

    disk: Disk
    clock: Clock
    rng: Rng
    tables: Tables
    offload: Callable[[Mapping[str, int]], Offload]
    network: Network
    model: ModelSource
    segment_bytes: int = SEGMENT_BYTES
    """Where segments of the log and of the bodies end: at most the formats' 64 MiB."""
    index_limits: IndexLimits = IndexLimits()
    """When parts of the index are sealed, merged and made anew."""
    snapshot_leaves: int = SNAPSHOT_LEAVES
    """From how many leaves of the state tries on a snapshot of these is kept."""
    epoch_s: float = EPOCH_S
    """After how long a checkpoint is signed, where anything was written."""


def real_world() -> World:
    """Give the machine's own ports."""
    return World(RealDisk(), RealClock(), RealRng(), RealTables(), _threads, RealNetwork(), OwnModel())


def _threads(lanes: Mapping[str, int]) -> Threads:
    background = ("embed", "scrub", INDEX_LANE)
    return Threads(lanes, background=frozenset(lane for lane in lanes if lane.startswith(background)))


class _Lanes(msgspec.Struct, frozen=True):
    """Where a model embeds: what is kept, and queries."""

    bulk: Lane
    ask: Lane


def _lanes(config: Config, threads: int) -> dict[str | None, _Lanes]:
    """Give each model lanes of its own, so that none waits for another: None is the node's own model."""
    lanes: dict[str | None, _Lanes] = {None: _Lanes(Lane("embed", threads), Lane("ask", 1))}
    for name, spec in config.models.items():
        bulk, ask = f"embed {name}", f"ask {name}"
        if isinstance(spec, RemoteSpec):
            lanes[name] = _Lanes(Lane(bulk, _REMOTE_THREADS, REQUEST_TEXTS), Lane(ask, _REMOTE_ASKING))
        else:
            lanes[name] = _Lanes(Lane(bulk, 1), Lane(ask, 1))
    return lanes


def _ignore(event: str, facts: dict[str, Any]) -> None:
    """Be told, and do nothing."""


@contextlib.asynccontextmanager
async def running(
    config: Config, world: World, on_event: OnEvent = _ignore, *, embedded: bool = False
) -> AsyncIterator[NodeService]:
    """Open the data folder and start the actors, without doors; leaving it stops them and writes a checkpoint.

    What ends it, or what its body raises, is raised as itself, never in an exception group.
    """
    loaded = load_plugins(config.actors)
    threads = config.embedding_threads or max(1, (os.cpu_count() or 2) - 1)
    lanes = _lanes(config, threads)
    counts = {lane.name: lane.threads for own in lanes.values() for lane in (own.bulk, own.ask)}
    single = dict.fromkeys(("writer", "search", "model", "scrub", PROVER_LANE, INDEX_LANE, LOG_LANE), 1)
    if config.challenge is not None:
        single[CHALLENGER_LANE] = 1
    offload = world.offload(single | lanes_of(loaded) | counts)
    try:
        store = await _open_store(config.data_dir.absolute(), world, offload, on_event)
        try:
            async with _actors(config, world, offload, store, on_event, lanes, loaded, embedded=embedded) as service:
                yield service
        finally:
            with trio.CancelScope(shield=True):
                await offload.run("writer", functools.partial(store.close, world.clock.now_ns()))
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    finally:
        offload.close()


async def _open_store(path: Path, world: World, offload: Offload, on_event: OnEvent) -> Store:
    started = world.clock.monotonic()
    call = functools.partial(
        Store.open,
        world.disk,
        world.tables,
        path,
        world.rng,
        world.clock.now_ns(),
        f"engram-node {__version__}",
        segment_bytes=world.segment_bytes,
        snapshot_leaves=world.snapshot_leaves,
    )
    store = await offload.run("writer", call)
    records = await offload.run("search", store.count)
    seconds = world.clock.monotonic() - started
    position = store.published.position
    log.debug("store_opened", records=records, position=position, seconds=round(seconds, 3))
    _tell_changes(store)
    facts = {"records": records, "position": position, "seconds": seconds, "node_key": store.key.address}
    on_event("opened", facts | {"index_dropped": store.index_dropped})
    return store


def _tell_changes(store: Store) -> None:
    """Say what opening the folder made of it, beside reading it."""
    if store.folder.upgraded_from is not None:
        log.info("format_upgraded", from_format=store.folder.upgraded_from, to_format=FORMAT)
    if store.refolded:
        log.info("tables_refolded", events=store.published.position)
    if store.index_dropped:
        log.warning("index_dropped", reasons=store.index_dropped)
    if store.skipped:
        log.warning("unknown_events_skipped", types=sorted(store.skipped))


@contextlib.asynccontextmanager
async def _actors(
    config: Config,
    world: World,
    offload: Offload,
    store: Store,
    on_event: OnEvent,
    lanes: Mapping[str | None, _Lanes],
    loaded: list[Loaded],
    *,
    embedded: bool,
) -> AsyncIterator[NodeService]:
    own, configured = Model(), {name: ConfiguredModel(name, spec) for name, spec in config.models.items()}
    wait_s = _FOREVER_S if embedded else 0.0
    async with trio.open_nursery() as nursery:
        tail = Tail(store.log, offload)
        plugins = Plugins(loaded, tail, world.disk, config.data_dir.absolute())
        supervisor = Supervisor(nursery, world.clock, world.rng, offload=offload)
        store_ref = await supervisor.start("store", lambda: StoreActor(store, offload, world.clock, tail))
        served = [
            await _serve_model(model, lanes[model.name], supervisor, offload, wait_s)
            for model in (own, *configured.values())
        ]
        await _start_indexing(supervisor, nursery, store, world)
        recall = await offload.run("search", functools.partial(RecallCheck, store))
        checker = await supervisor.start("recall_checker", functools.partial(RecallChecker, recall), essential=False)
        nursery.start_soon(keep_asking, checker, ReplayOnce, world.clock)
        make = functools.partial(Checkpointer, store, store_ref, world.epoch_s)
        checkpointer = await supervisor.start("checkpointer", make, essential=False)
        nursery.start_soon(keep_asking, checkpointer, CheckpointOnce, world.clock)
        scrub = await _start_scrub(config, supervisor, nursery, offload, store, world.clock)
        tally = Tally()
        prover = await _start_prover(config, supervisor, offload, store, world.clock, tally)
        await _start_challenger(config, supervisor, nursery, offload, store, world)
        nursery.start_soon(own.prepare, world.model, config.model_dir, offload, world.clock, on_event)
        for name, model in configured.items():
            nursery.start_soon(model.load, offload, lanes[name].ask.name, world.clock, on_event)
        models = Models(served[0], served[1:], wait_s)
        settings = ServiceSettings(
            role=config.role,
            version=__version__,
            data_dir=config.data_dir,
            write_queue_items=config.write_queue_items,
            on_long=config.on_long,
            challengers=_challengers(config),
        )
        service = NodeService(
            settings,
            store,
            models,
            store_ref,
            tail,
            offload,
            world.clock,
            world.rng,
            lambda: actors_now(supervisor, plugins.feeds, store.published.position),
            recall,
            prover,
            tally,
            scrub,
        )
        try:
            service.plugins = await supervisor.boot(plugins.plans(service.call))
            yield service
        finally:
            with trio.CancelScope(shield=True):
                for each in served:
                    each.model.stop()
                await supervisor.stop()
                for each in served:
                    each.model.abandon()
            nursery.cancel_scope.cancel()


async def _start_scrub(
    config: Config, supervisor: Supervisor, nursery: trio.Nursery, offload: Offload, store: Store, clock: Clock
) -> Scrub | None:
    if config.scrub_mb_s == 0:
        return None
    scrub = await offload.run("scrub", functools.partial(Scrub, store))
    make = functools.partial(Scrubber, store, scrub, config.scrub_mb_s * 1e6)
    nursery.start_soon(keep_asking, await supervisor.start("scrubber", make, essential=False), ScrubOnce, clock)
    return scrub


async def _start_prover(
    config: Config, supervisor: Supervisor, offload: Offload, store: Store, clock: Clock, tally: Tally
) -> Ref:
    prover = Prover(store.key, StoredBodies(store), _challengers(config))
    make = functools.partial(ProverActor, prover, lambda: store.proofs, offload, clock, tally)
    return await supervisor.start("prover", make, essential=False)


async def _start_challenger(
    config: Config, supervisor: Supervisor, nursery: trio.Nursery, offload: Offload, store: Store, world: World
) -> None:
    spec = config.challenge
    if spec is None:
        return
    terms, keeper = Terms(m=spec.m), EvidenceFolder(world.disk, config.data_dir.absolute() / "evidence")

    async def known(node_key: bytes) -> Checkpoint | None:
        return await offload.run(CHALLENGER_LANE, functools.partial(keeper.largest, node_key))

    async def challenged(node: str) -> Challenged:
        return await challenge(peer_of(node), store.key, terms, world.clock, world.rng, known=known)

    make = functools.partial(ChallengerActor, spec.nodes, spec.every_s, challenged, keeper)
    actor = await supervisor.start("challenger", make, essential=False)
    nursery.start_soon(keep_asking, actor, ChallengeOnce, world.clock)


def _challengers(config: Config) -> frozenset[bytes]:
    return frozenset(from_ss58(address) for address in config.challengers)


async def _start_indexing(supervisor: Supervisor, nursery: trio.Nursery, store: Store, world: World) -> None:
    make = functools.partial(Indexer, store, Indexing(store, world.index_limits))
    nursery.start_soon(keep_asking, await supervisor.start("indexer", make, essential=False), IndexOnce, world.clock)


async def _serve_model(model: Model, lanes: _Lanes, supervisor: Supervisor, offload: Offload, wait_s: float) -> Served:
    """Start the two embedders of a model: for what is kept, and for queries."""
    of = f" of {model.name}" if model.name else ""
    bulk = await supervisor.start(f"embedder{of}", _embedder(offload, lanes.bulk))
    ask = await supervisor.start(f"asker{of}", _embedder(offload, lanes.ask))
    return Served(
        model,
        Embedding(model, bulk, offload, lanes.bulk, wait_s),
        Embedding(model, ask, offload, lanes.ask, wait_s),
    )


def _embedder(offload: Offload, lane: Lane) -> Callable[[], EmbedderActor]:
    return functools.partial(EmbedderActor, offload, lane.name, lane.threads)


async def run(config: Config, *, on_event: OnEvent | None = None, world: World | None = None) -> None:
    """Run a node with its doors until SIGINT or SIGTERM; otherwise as `main`."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    raise_descriptor_limit()
    tell = on_event or _ignore
    stop = trio.Event()
    try:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as listening:
                listening.start_soon(_hear_signals, signals, stop)
                await main(config, world or real_world(), tell, stop)
                listening.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None


async def main(config: Config, world: World, on_event: OnEvent, stop: trio.Event) -> None:
    """Run a node with its doors until `stop` is set.

    `on_event(name, facts)` hears `opened`, `listening`, `model_progress`, `model_ready`, `model_failed`, `stopping`
    and `stopped`. Raises an `EngramError` for what an operator can mend, never an exception group.
    """
    try:
        async with running(config, world, on_event) as service, trio.open_nursery() as nursery:
            certificate = await _certificate(config, world)
            metrics = Metrics()
            server: Serving = await nursery.start(
                functools.partial(
                    serve_rpc,
                    Metered(service, metrics, "rpc", world.clock),
                    host=config.host,
                    port=config.port,
                    certificate=certificate,
                    network=world.network,
                    rng=world.rng,
                )
            )
            doors = [server]
            facts = {"url": server.url}
            if config.http_port >= 0:
                doors.append(http := await _start_http(service, config, world, certificate, metrics, nursery))
                facts["http_url"] = http.url
            log.debug("listening", **facts)
            on_event("listening", facts)
            await stop.wait()
            on_event("stopping", {})
            service.stop_waiting()
            for door in doors:
                door.stop()
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    on_event("stopped", {})


async def _certificate(config: Config, world: World) -> Certificate | None:
    """Give what the doors show to who comes from elsewhere; None where nobody does."""
    if await is_near(world.network, config.host):
        return None
    files = (config.tls_cert, config.tls_key) if config.tls_cert and config.tls_key else None
    return certificate_of(files, world.disk, config.data_dir.absolute(), world.rng, config.host)


async def _start_http(
    service: NodeService,
    config: Config,
    world: World,
    certificate: Certificate | None,
    metrics: Metrics,
    nursery: trio.Nursery,
) -> Serving:
    from engram.gateway.http import HttpSettings, serve_http  # noqa: PLC0415 (a web server, which no embedded memory loads)

    server: Serving = await nursery.start(
        functools.partial(
            serve_http,
            service,
            host=config.host,
            port=config.http_port,
            settings=HttpSettings(unsigned=config.unsigned),
            certificate=certificate,
            network=world.network,
            clock=world.clock,
            rng=world.rng,
            metrics=metrics,
        )
    )
    return server


async def _hear_signals(signals: AsyncIterator[int], stop: trio.Event) -> None:
    """Take signals until the folder is closed: one that nobody took would end the process at the receiver's end."""
    async for number in signals:
        if not stop.is_set():
            log.debug("stopping", signal=signal.Signals(number).name)
            stop.set()
