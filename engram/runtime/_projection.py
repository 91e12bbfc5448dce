"""The state of an actor as a fold of the log: brought back from a snapshot, kept current, snapshotted again."""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from engram.decoding import UNDECODABLE
from engram.events import Unknown, decode, is_known
from engram.runtime._snapshot import Snapshot, load, save
from engram.runtime._tail import LANE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from engram.events import Event
    from engram.ports import Disk, Offload
    from engram.runtime._log import Log
    from engram.runtime._tail import Follower, Tail


class Feed:
    """What an actor knows of the log, and where its small files are. It outlives the actor's crashes."""

    def __init__(self, name: str, tail: Tail, disk: Disk, folder: Path) -> None:
        """`folder`: of all snapshots and cursors, made when the first is written."""
        self.name = name
        self.tail = tail
        self.disk = disk
        self.snapshot_path = folder / f"{name}.snapshot"
        self.cursor_path = folder / f"{name}.cursor"
        self.begun_at = tail.size
        """How many events there were when it was made: before a node takes the first write."""
        self.applied: int | None = None
        """How many events the actor's state is of; None where it folds none."""
        self.reacted: int | None = None
        """How many events it has reacted to, or passed; None where it reacts to none."""


class Fold(msgspec.Struct, frozen=True):
    """What decides a state: the type of it, the author's version, and a method for each type of event."""

    state: type[msgspec.Struct]
    version: int
    methods: Mapping[type[Event], Callable[[Any, int], None]]

    @property
    def identity(self) -> str:
        """What tells this fold from another, in a snapshot."""
        types = sorted(str(kind.__struct_config__.tag) for kind in self.methods)
        structs: dict[type[msgspec.Struct], str] = {}
        _describe(self.state, structs)
        return f"{self.version} | {' '.join(types)} | {' | '.join(structs.values())}"


def _describe(kind: Any, structs: dict[type[msgspec.Struct], str]) -> None:
    """Describe the fields of a Struct, and of those within it: one that was added has a default that nobody folded."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in structs:
        fields = msgspec.structs.fields(kind)
        structs[kind] = ", ".join(f"{field.name}: {field.type!r}" for field in fields)
        for field in fields:
            _describe(field.type, structs)
    for inner in typing.get_args(kind):
        _describe(inner, structs)


class Projection:
    """One instance's state, and how far it has come. `state` is changed by folds alone."""

    def __init__(self, fold: Fold, set_state: Callable[[Any], None], feed: Feed, offload: Offload, log: Log) -> None:
        """`set_state` gives the actor its state, once it is known where it begins."""
        self.position = 0
        self._fold = fold
        self._set_state = set_state
        self._state: Any = None
        self._feed = feed
        self._offload = offload
        self._log = log
        self._follower: Follower = feed.tail.follow(0)
        self._skipped: set[str] = set()
        self._saved = 0
        self._moved = trio.lowlevel.ParkingLot()

    async def recover(self) -> None:
        """Bring the state to the log's end, from its snapshot where that is of this log and this fold."""
        found = await self._offload.run(LANE, self._load)
        state = None if found is None else await self._proved(found)
        if found is not None and state is not None:
            self.position = self._saved = found.position
            self._skipped = set(found.skipped)
            self._follower = self._feed.tail.follow(found.position)
        self._state = self._fold.state() if state is None else state
        self._set_state(self._state)
        self._feed.applied = self.position
        while self.position < self._feed.tail.size:
            await self._advance()

    async def keep(self, snapshot_every: int) -> None:
        """Fold what comes, for ever."""
        while True:
            await self._advance()
            if self.position - self._saved >= snapshot_every:
                await self.save()

    async def reached(self, position: int) -> None:
        """Wait until all events before `position` are folded."""
        while self.position < position:
            await self._moved.park()

    async def save(self) -> None:
        """Write a snapshot, if there is something new in it; a failing disk is only said."""
        proved = self._follower.proved
        if self.position == self._saved or proved is None:
            return
        state = msgspec.msgpack.encode(self._state)
        snapshot = Snapshot(self._feed.name, self._fold.identity, self.position, *proved, sorted(self._skipped), state)
        self._saved = self.position
        call = functools.partial(save, self._feed.disk, self._feed.snapshot_path, snapshot)
        try:
            with trio.CancelScope(shield=True):
                await self._offload.run(LANE, call)
        except OSError as error:  # it saves time at the next start, and nothing else
            self._log.warning("snapshot_not_written", reason=error.strerror)

    async def _advance(self) -> None:
        batch = await self._follower.next()
        for position, _, data in batch:
            event = decode(data)
            if isinstance(event, Unknown):
                self._skipped.add(event.type)
            elif (method := self._fold.methods.get(type(event))) is not None:
                method(event, position)
        self.position = self._feed.applied = self._follower.position
        self._moved.unpark_all()

    def _load(self) -> Snapshot | None:
        try:
            return load(self._feed.disk, self._feed.snapshot_path, Snapshot)
        except OSError:
            return None

    async def _proved(self, found: Snapshot) -> Any:
        """Give the state of a snapshot if it is of this actor, this fold and this log; None means to fold again."""
        if found.name != self._feed.name or found.fold != self._fold.identity or any(map(is_known, found.skipped)):
            return self._refused("it is of another fold")
        in_log = found.size <= found.position <= self._feed.tail.size
        if not in_log or await self._feed.tail.root_at(found.size) != found.root:
            return self._refused("it is of another log")
        try:
            return msgspec.msgpack.decode(found.state, type=self._fold.state)
        except UNDECODABLE:
            return self._refused("its state is of another form")

    def _refused(self, reason: str) -> None:
        self._log.info("snapshot_refused", reason=reason)
