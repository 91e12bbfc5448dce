"""An actor of your own in an Engram node: it counts what lives in each namespace, and says when much is deleted.

In node.toml, where this module can be imported by the node's Python (PYTHONPATH, or your own installed package):

    [actors.census]
    class = "plugin_actor:Census"
    alarm_at = 100

`engram-node actors` then shows it beside the node's own. Run this file to see it at work in a memory in this process:

    python examples/plugin_actor.py ./memory
"""

# ruff: noqa: ARG002 - a fold is given the position, whether it needs it or not

from __future__ import annotations

import sys

import msgspec

import engram
from engram.events import RecordDeleted, RecordStored
from engram.identity import PUBLIC_NAMESPACE
from engram.runtime import Message, Plugin, apply, handle, react
from engram.wire import NamespaceList

HOUR_MS = 3_600_000


class Counts(msgspec.Struct):
    """The state: a fold of the log and of nothing else, so it can always be folded again. Every field has a default."""

    living: dict[bytes, int] = {}
    """Records in each namespace, by its id."""
    deleted: dict[int, int] = {}
    """Deletions in each hour since 1970."""


class Settings(msgspec.Struct):
    """The options: what may stand under [actors.census]. Other keys, and other types, are refused at the start."""

    alarm_at: int = 100


class HowMany(Message[int], frozen=True):
    """A message: how many records live in a namespace? `Message[int]` says that the answer is an int."""

    ns: bytes


class Census(Plugin):
    """The actor. An instance that fails is thrown away and another made, so that what it knows stands in `state`."""

    State = Counts
    Options = Settings
    fold_version = 1  # raise it when a fold below means something else: the state is then folded again from the start

    state: Counts
    options: Settings

    # Folds: plain functions that change self.state, for each event once and in order. Nothing else decides the state:
    # no clock, no random number, no call. After a crash it is a snapshot and the events after it.

    @apply
    def stored(self, event: RecordStored, position: int) -> None:
        """Count one more."""
        self.state.living[event.ns] = self.state.living.get(event.ns, 0) + 1

    @apply
    def deleted(self, event: RecordDeleted, position: int) -> None:
        """Count one less, and when that was."""
        self.state.living[event.ns] -= 1
        hour = event.issued_unix_ms // HOUR_MS
        self.state.deleted[hour] = self.state.deleted.get(hour, 0) + 1

    # Reactions: they may wait, call the node, and do things in the world. Every event comes at least once: again after
    # a crash. So what a reaction does must be right when it is done twice; here, an alarm is logged a second time.

    @react
    async def on_deleted(self, event: RecordDeleted, position: int) -> None:
        """Say so where this deletion is the one that makes them many in its hour."""
        if self.state.deleted[event.issued_unix_ms // HOUR_MS] == self.options.alarm_at:
            listed = await self.node.call(NamespaceList())
            names = {namespace.id: namespace.name for namespace in listed.namespaces}
            self.context.log.warning("much_is_deleted", namespace=names.get(event.ns.hex()), position=position)

    # Handlers: for messages of other actors. They see at least all that was committed before the message was sent.

    @handle
    async def how_many(self, message: HowMany) -> int:
        """Answer."""
        return self.state.living.get(message.ns, 0)


# How it is tested: on the real kernel, over a simulated disk, in virtual time, in which a power cut takes no time.


def test_the_census_survives_a_power_cut() -> None:
    """Count two records, lose the power, delete one of them, and count again."""
    from engram.testing import actor_harness, run_seeded  # noqa: PLC0415 (a node that runs has no use for it)

    ns, of = bytes(32), {"ns": bytes(32), "cid": "v1::00", "signer": bytes(32), "issued_unix_ms": 0}

    async def main() -> None:
        async with actor_harness(Census, options={"alarm_at": 1}) as harness:
            await harness.append(RecordStored(**of, payload=bytes(32)), RecordStored(**of, payload=bytes(32)))
            assert await harness.ref.ask(HowMany(ns)) == 2
            await harness.crash()
            await harness.append(RecordDeleted(**of, erase=False))
            assert await harness.ref.ask(HowMany(ns)) == 1

    run_seeded(main, seed=1)


if __name__ == "__main__":
    test_the_census_survives_a_power_cut()
    with engram.open(sys.argv[1], actors={"census": {"class": Census, "alarm_at": 2}}) as memory:
        cids = [memory.ingest_embedding([1.0] + [0.0] * 383, {"number": number}) for number in range(5)]
        for cid in cids[:2]:
            memory.delete(cid)
        print(
            f"{memory.ask('census', HowMany(PUBLIC_NAMESPACE))} live"
        )  # by now it has started, and seen the deletions
        for actor in memory.actors().actors:
            print(f"{actor.name:10}{actor.state:10}{actor.crashes} crashes")
