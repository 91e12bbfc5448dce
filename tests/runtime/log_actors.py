"""A log, a tail and a supervisor in one place, for the tests of actors that follow the log."""

# ruff: noqa: ARG002 - folds, reactions and handlers have these parameters, whether they need them or not

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec
import trio
from kernel_actors import TrioClock

from engram import events
from engram.events import Log, LogCreated, RecordDeleted, RecordStored
from engram.runtime import EventActor, Feed, Message, RealDisk, RealRng, Supervisor, Tail, apply, handle, react

NS = bytes(32)


def stored(number: int) -> RecordStored:
    return RecordStored(ns=NS, cid=f"v1::{number}", payload=bytes(32), signer=bytes(32), issued_unix_ms=number)


def deleted(number: int) -> RecordDeleted:
    return RecordDeleted(ns=NS, cid=f"v1::{number}", signer=bytes(32), issued_unix_ms=number, erase=False)


class InlineOffload:
    """The Offload port in the loop: a call runs after one pass of the scheduler."""

    def __init__(self):
        self.calls = 0

    async def run(self, lane, call):
        assert lane == "log"
        self.calls += 1
        await trio.lowlevel.checkpoint()
        return call()

    def close(self):
        pass


class Numbers(msgspec.Struct):
    living: list[str] = []
    seen: int = 0


class Look(Message[list[str]], frozen=True):
    pass


class Break(Message[None], frozen=True):
    pass


class Living(EventActor):
    """Which records live; tells `told` of what was deleted."""

    State = Numbers
    snapshot_every = 50
    state: Numbers

    def __init__(self, told=None, folded=None):
        self.told = told if told is not None else []
        self.folded = folded if folded is not None else []

    @apply
    def stored(self, event: RecordStored, position: int) -> None:
        self.folded.append(position)
        self.state.living.append(event.cid)
        self.state.seen += 1

    @apply
    def deleted(self, event: RecordDeleted, position: int) -> None:
        self.folded.append(position)
        self.state.living.remove(event.cid)
        self.state.seen += 1

    @react
    async def on_deleted(self, event: RecordDeleted, position: int) -> None:
        assert event.cid not in self.state.living
        self.told.append(event.cid)

    @handle
    async def look(self, message: Look) -> list[str]:
        return list(self.state.living)

    @handle
    async def break_(self, message: Break) -> None:
        raise RuntimeError("broken")


class World:
    """One life of a process over a folder: what is appended here is durable, and the tail is told of it."""

    def __init__(self, nursery, path, disk=None, segment_bytes=4096):
        self.disk = disk or RealDisk()
        self.path = path
        self.log = Log.open(self.disk, path / "events", segment_bytes=segment_bytes)
        self.offload = InlineOffload()
        if not self.log.size:
            self.log.append([events.encode(LogCreated(format=1, node_key=bytes(32)))], 1)
        self.tail = Tail(self.log, self.offload)
        self.supervisor = Supervisor(nursery, TrioClock(), RealRng(), offload=self.offload)
        self.feeds = {}

    def append(self, *new, told=True):
        """Append events, or bytes of some, as one frame."""
        self.log.append([each if isinstance(each, bytes) else events.encode(each) for each in new], 1)
        if told:
            self.tail.committed()

    async def start(self, make, name="living", **more):
        feed = self.feeds[name] = Feed(name, self.tail, self.disk, self.path / "projections")

        def made():
            actor = make()
            actor.feed = feed
            return actor

        return await self.supervisor.start(name, made, **more)


@asynccontextmanager
async def world(path, **more):
    """A life that ends in order."""
    async with trio.open_nursery() as nursery:
        life = World(nursery, path, **more)
        yield life
        await life.supervisor.stop()
        life.log.close()
