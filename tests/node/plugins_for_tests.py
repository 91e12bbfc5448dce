"""Plug-ins that the tests load by name."""

# ruff: noqa: ARG002 - folds, reactions and handlers have these parameters, whether they need them or not

from __future__ import annotations

import msgspec

from engram.events import RecordDeleted, RecordStored
from engram.runtime import Actor, Message, Plugin, apply, handle, react
from engram.wire import Put


class Counts(msgspec.Struct):
    living: int = 0


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    at_most: int = 3
    words: list[str] = []


class HowMany(Message[int], frozen=True):
    pass


class Counter(Plugin):
    State = Counts
    Options = Limits
    state: Counts
    options: Limits

    @apply
    def stored(self, event: RecordStored, position: int) -> None:
        self.state.living += 1

    @apply
    def deleted(self, event: RecordDeleted, position: int) -> None:
        self.state.living -= 1

    @react
    async def keep_again(self, event: RecordDeleted, position: int) -> None:
        if self.state.living < self.options.at_most:
            await self.node.call(Put(vector=[1.0] * 384, metadata={"of": event.cid}))

    @handle
    async def how_many(self, message: HowMany) -> int:
        return self.state.living


class Plain(Plugin):
    pass


class NoPlugin(Actor):
    pass


class Asks(Plugin):
    asks = ("asked",)


class Asked(Plugin):
    asks = ("asks",)


class Broken(Counter):
    @apply
    def stored(self, event: RecordStored, position: int) -> None:
        raise RuntimeError("words of a user")


NUMBER = 7


class Unmade(Plugin):
    """Fails before it is there."""

    def __init__(self):
        raise ValueError("no luck")
