"""Actors that follow the log: their state is a fold of it whatever happens, and each event is reacted to."""

# ruff: noqa: ARG002 - folds, reactions and handlers have these parameters, whether they need them or not

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing
from runtime.log_actors import Break, Living, Look, Numbers, World, deleted, stored, world

from engram import events
from engram.errors import DeadlineExceeded, Internal, LogCorrupt, ModelNotReady, Unavailable
from engram.events import LogCreated, NamespaceCreated, RecordDeleted, RecordStored
from engram.runtime import EventActor, apply, check_actor, handle, react

pytestmark = pytest.mark.trio


def cids(*numbers):
    return [f"v1::{number}" for number in numbers]


# -- folding ----------------------------------------------------------------------------------------------------------


async def test_the_state_is_a_fold_of_all_that_was_there_and_of_what_comes(tmp_path, autojump_clock):
    async with world(tmp_path) as life:
        life.append(*map(stored, range(5)), deleted(2))
        ref = await life.start(Living)
        assert await ref.ask(Look()) == cids(0, 1, 3, 4)
        life.append(stored(7), deleted(0))
        assert await ref.ask(Look()) == cids(1, 3, 4, 7)
        assert life.feeds["living"].applied == life.log.size


async def test_a_handler_sees_all_that_was_committed_before_its_message_was_sent(tmp_path, autojump_clock):
    """However the fold and the handler are scheduled: 200 writes, each asked for at once."""
    async with world(tmp_path) as life:
        ref = await life.start(Living)
        for number in range(200):
            for _ in range(number % 5):
                await trio.lowlevel.checkpoint()
            life.append(stored(number))
            assert (await ref.ask(Look()))[-1] == f"v1::{number}"


async def test_a_message_whose_deadline_passes_while_the_state_catches_up_is_not_begun(tmp_path, autojump_clock):
    """The simulation found it: taken from the mailbox in time, it waited for a fold, and was begun all the same."""
    begun = []

    class Begins(Living):
        @handle
        async def look(self, message: Look) -> list[str]:
            begun.append(trio.current_time())
            return list(self.state.living)

    async with world(tmp_path) as life:
        ref = await life.start(Begins)
        run = life.offload.run

        async def slow(lane, call):
            found = await run(lane, call)
            await trio.sleep(5)
            return found

        life.offload.run = slow
        life.append(stored(1))
        with pytest.raises(DeadlineExceeded):
            await ref.ask(Look(), deadline=trio.current_time() + 1)
        assert await ref.ask(Look()) == ["v1::1"]
    assert len(begun) == 1


async def test_a_handler_sees_what_is_durable_though_nobody_was_told_of_it_yet(tmp_path, autojump_clock):
    """The simulation found it: a reader may have an event's position before the store has woken who follows."""
    async with world(tmp_path) as life:
        ref = await life.start(Living)
        life.append(stored(1), told=False)
        async with trio.open_nursery() as nursery:

            async def ask():
                assert await ref.ask(Look()) == ["v1::1"]

            nursery.start_soon(ask)
            await trio.sleep(1)
            life.tail.committed()


async def test_folding_is_done_before_on_start(tmp_path, autojump_clock):
    seen = []

    class Starts(Living):
        async def on_start(self):
            seen.append(list(self.state.living))

    async with world(tmp_path) as life:
        life.append(*map(stored, range(700)))
        await life.start(Starts)
    assert seen == [cids(*range(700))]


async def test_the_state_moves_on_while_a_handler_awaits(tmp_path, autojump_clock):
    class Slow(Living):
        @handle
        async def look(self, message: Look) -> list[str]:
            before = len(self.state.living)
            await trio.sleep(5)
            return [str(before), str(len(self.state.living))]

    async with world(tmp_path) as life, trio.open_nursery() as nursery:
        ref = await life.start(Slow)

        async def write():
            await trio.sleep(1)
            life.append(stored(1))

        nursery.start_soon(write)
        assert await ref.ask(Look()) == ["0", "1"]


async def test_a_fold_that_raises_is_a_crash_and_the_message_that_waits_survives_it(tmp_path, autojump_clock):
    class Picky(Living):
        broken = True

        @apply
        def stored(self, event: RecordStored, position: int) -> None:
            if event.cid == "v1::1" and Picky.broken:
                Picky.broken = False
                raise RuntimeError("cannot fold it")
            self.state.living.append(event.cid)

    async with world(tmp_path) as life:
        ref = await life.start(Picky)
        life.append(stored(0), stored(1), stored(2))
        assert await ref.ask(Look()) == cids(0, 1, 2)
        [report] = life.supervisor.report()
        assert (report.crashes, report.restarts, report.dead_letters, report.handled) == (1, 1, 0, 1)
        assert "RuntimeError" in report.last_error


async def test_a_half_folded_state_is_never_kept(tmp_path, autojump_clock):
    """A crash in the middle of a batch: what was folded of it is dropped, and folded again, once."""

    class Picky(Living):
        lives = 0

        def __init__(self):
            super().__init__()
            Picky.lives += 1

        @apply
        def stored(self, event: RecordStored, position: int) -> None:
            self.state.living.append(event.cid)
            if event.cid == "v1::30" and Picky.lives < 3:
                raise RuntimeError("cannot fold it")

    async with world(tmp_path) as life:
        ref = await life.start(Picky)
        life.append(*map(stored, range(60)))
        assert await ref.ask(Look()) == cids(*range(60))
    async with world(tmp_path) as life:
        assert await (await life.start(Picky)).ask(Look()) == cids(*range(60))


async def test_a_crash_of_a_handler_ends_all_of_the_actor_and_the_state_is_folded_again(tmp_path, autojump_clock):
    async with world(tmp_path) as life:
        folded = []
        ref = await life.start(lambda: Living(folded=folded))
        life.append(stored(0))
        with pytest.raises(Internal):
            await ref.ask(Break())
        life.append(stored(1))
        assert await ref.ask(Look()) == cids(0, 1)
        assert folded == [1, 1, 2]


async def test_what_no_restart_mends_escalates(tmp_path, autojump_clock):
    with pytest.raises(LogCorrupt, match="malformed"):
        try:
            async with world(tmp_path) as life:
                await life.start(Living)
                life.append(msgspec.msgpack.encode({"type": "record_stored.1", "cid": 7}))
                await trio.sleep(1)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None


# -- snapshots --------------------------------------------------------------------------------------------------------


async def test_a_snapshot_saves_the_way_from_the_beginning(tmp_path, autojump_clock):
    async with world(tmp_path) as life:
        await life.start(Living)
        life.append(*map(stored, range(300)))
    folded = []
    async with world(tmp_path) as life:
        life.append(stored(300))
        ref = await life.start(lambda: Living(folded=folded))
        assert await ref.ask(Look()) == cids(*range(301))
        assert folded == [301]


async def test_snapshots_are_taken_every_so_many_events_and_not_only_at_the_stop(tmp_path, autojump_clock):
    async with trio.open_nursery() as nursery:
        life = World(nursery, tmp_path)
        ref = await life.start(Living)
        for number in range(120):
            life.append(stored(number))
            await ref.ask(Look())
        copy = (tmp_path / "projections" / "living.snapshot").read_bytes()
        await life.supervisor.stop()
        life.log.close()
    (tmp_path / "projections" / "living.snapshot").write_bytes(copy)  # as a kill would have left it
    folded = []
    async with world(tmp_path) as life:
        ref = await life.start(lambda: Living(folded=folded))
        assert await ref.ask(Look()) == cids(*range(120))
        assert 0 < len(folded) < 50


class Folded2(Living):
    fold_version = 2


class FoldsMore(Living):
    @apply
    def created(self, event: NamespaceCreated, position: int) -> None:
        self.state.living.append("namespace")


class Wider(Living):
    class State(Numbers):
        more: int = 0


@pytest.mark.parametrize("changed", [Folded2, FoldsMore, Wider])
async def test_another_fold_folds_again(tmp_path, autojump_clock, changed):
    async with world(tmp_path) as life:
        await life.start(Living)
        life.append(*map(stored, range(60)))
    folded = []
    async with world(tmp_path) as life:
        ref = await life.start(lambda: changed(folded=folded))
        assert await ref.ask(Look()) == cids(*range(60))
        assert len(folded) == 60
    folded.clear()
    async with world(tmp_path) as life:
        await life.start(lambda: changed(folded=folded))
        assert folded == []


def with_people(*fields):
    person = msgspec.defstruct("Person", fields, module=__name__)
    state = [("living", list[str], []), ("seen", int, 0), ("people", dict[str, person | None], {})]
    return type("WithPeople", (Living,), {"State": msgspec.defstruct("People", state, module=__name__)})


async def test_a_struct_within_the_state_that_has_other_fields_folds_again(tmp_path, autojump_clock):
    """The snapshot was read with the new field at its default, which no fold had filled."""
    changed = with_people(("born", int, 0), ("died", int, 0))
    for actor, expected in ((with_people(("born", int, 0)), 60), (changed, 60), (changed, 0)):
        folded = []
        async with world(tmp_path) as life:
            if life.log.size == 1:
                life.append(*map(stored, range(60)))
            await life.start(lambda actor=actor, folded=folded: actor(folded=folded))
        assert len(folded) == expected


async def test_a_type_that_was_skipped_and_is_known_now_folds_again(tmp_path, autojump_clock, monkeypatch):
    async with world(tmp_path) as life:
        await life.start(Living)
        life.append(stored(1), msgspec.msgpack.encode({"type": "dream_dreamt.1"}), stored(2))
    folded = []
    async with world(tmp_path) as life:
        await life.start(lambda: Living(folded=folded))
        assert folded == []
    from engram.events import _vocabulary

    monkeypatch.setattr(_vocabulary, "_KNOWN", {*_vocabulary._KNOWN, "dream_dreamt.1"})
    monkeypatch.setattr(
        "engram.runtime._projection.decode", lambda data: events.decode(data) if b"dream" not in data else 0
    )
    async with world(tmp_path) as life:
        await life.start(lambda: Living(folded=folded))
        assert folded == [1, 3]


def damaged(data):
    """Every way in which a small file may come back, but whole."""
    for length in (0, 3, 20, 36, len(data) // 2, len(data) - 1):
        yield f"cut at {length}", data[:length]
        yield f"zeros from {length}", data[:length] + bytes(len(data) - length)
    for at in range(0, len(data), 5):
        yield f"bit flipped at {at}", data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
    yield "longer", data + b"\0"


async def test_a_damaged_snapshot_is_never_believed_and_never_refuses_to_start(tmp_path, autojump_clock):
    async with world(tmp_path) as life:
        await life.start(Living)
        life.append(*map(stored, range(20)), deleted(3))
    path = tmp_path / "projections" / "living.snapshot"
    whole = path.read_bytes()
    for what, data in damaged(whole):
        path.write_bytes(data)
        folded = []
        async with world(tmp_path) as life:
            ref = await life.start(lambda folded=folded: Living(folded=folded))
            assert await ref.ask(Look()) == cids(*(n for n in range(20) if n != 3)), what
        assert len(folded) == 21, what
    path.unlink()
    path.mkdir()  # what cannot even be read
    async with world(tmp_path) as life:
        assert len(await (await life.start(Living)).ask(Look())) == 19


async def test_a_snapshot_of_another_log_or_of_a_longer_one_is_not_believed(tmp_path, autojump_clock):
    for name, count in (("one", 20), ("other", 30)):
        async with world(tmp_path / name) as life:
            await life.start(Living)
            life.append(*map(stored, range(100 * count, 101 * count)))
    for source, target, numbers in (("one", "other", range(3000, 3030)), ("other", "one", range(2000, 2020))):
        data = (tmp_path / source / "projections" / "living.snapshot").read_bytes()
        copy = tmp_path / f"{source} in {target}"
        (tmp_path / target).rename(copy)
        snapshot = copy / "projections" / "living.snapshot"
        own = snapshot.read_bytes()
        snapshot.write_bytes(data)
        async with world(copy) as life:
            assert await (await life.start(Living)).ask(Look()) == cids(*numbers)
        snapshot.write_bytes(own)
        copy.rename(tmp_path / target)


async def test_a_snapshot_of_another_actor_is_not_believed(tmp_path, autojump_clock):
    async with world(tmp_path) as life:
        await life.start(Living)
        life.append(stored(1))
    folder = tmp_path / "projections"
    (folder / "living.snapshot").rename(folder / "twin.snapshot")
    async with world(tmp_path) as life:
        folded = []
        await life.start(lambda: Living(folded=folded), name="twin")
        assert folded == [1]


async def test_a_disk_that_takes_no_snapshot_is_no_failure(tmp_path, autojump_clock):
    from disks import FullDisk

    disk = FullDisk()
    async with world(tmp_path, disk=disk) as life:
        ref = await life.start(Living)
        life.append(*map(stored, range(20)))
        assert len(await ref.ask(Look())) == 20
        disk.full = True
    disk.full = False
    async with world(tmp_path, disk=disk) as life:
        assert len(await (await life.start(Living)).ask(Look())) == 20


# -- reacting ---------------------------------------------------------------------------------------------------------


async def test_reactions_begin_at_the_end_of_the_log_and_go_on_after_a_stop(tmp_path, autojump_clock):
    told = []
    async with world(tmp_path) as life:
        life.append(stored(0), deleted(0))
        await life.start(lambda: Living(told))
        life.append(stored(1), stored(2), deleted(1))
        await trio.sleep(1)
        assert told == cids(1)
        assert life.feeds["living"].reacted == life.log.size
    async with world(tmp_path) as life:
        life.append(deleted(2))
        await life.start(lambda: Living(told))
        await trio.sleep(1)
    assert told == cids(1, 2)


async def test_what_comes_while_the_first_life_is_being_readied_is_reacted_to(tmp_path, autojump_clock):
    """Nobody waits for a plug-in's start, so the node's first writes came before it knew where its reactions begin."""
    told = []
    async with world(tmp_path) as life:
        life.append(stored(0), deleted(0))
        await life.start(lambda: Living(told), essential=False)
        life.append(stored(1), deleted(1))
        await trio.sleep(1)
    assert told == cids(1)


async def test_reactions_may_begin_with_the_logs_first_event(tmp_path, autojump_clock):
    class FromStart(Living):
        react_from = "start"

    told = []
    async with world(tmp_path) as life:
        life.append(*map(stored, range(9)), *map(deleted, range(9)))
        await life.start(lambda: FromStart(told))
        await trio.sleep(1)
    assert told == cids(*range(9))
    async with world(tmp_path) as life:
        await life.start(lambda: FromStart(told))
        await trio.sleep(1)
    assert told == cids(*range(9))


async def test_an_event_whose_reaction_crashed_comes_again_and_those_before_it_do_not(tmp_path, autojump_clock):
    told = []

    class Fragile(Living):
        @react
        async def on_deleted(self, event: RecordDeleted, position: int) -> None:
            told.append(event.cid)
            if told.count("v1::3") == 1 and event.cid == "v1::3":
                raise RuntimeError("not yet")

    async with world(tmp_path) as life:
        await life.start(Fragile)
        life.append(*map(stored, range(6)), *map(deleted, range(6)))
        await trio.sleep(10)
    assert told == cids(0, 1, 2, 3, 3, 4, 5)


async def test_what_was_reacted_to_comes_again_after_a_kill_and_only_what_was_not_kept(tmp_path, autojump_clock):
    """A kill between any two steps: nothing is left out, and what comes again is what no cursor had been kept of."""
    for steps in (0, 1, 2, 3, 4, 5, 6, 7, 9, 20, 60):
        told, path = [], tmp_path / str(steps)
        async with world(path) as life:
            life.append(*map(stored, range(200)))
            await life.start(lambda told=told: Living(told))
        keep = {}
        async with world(path) as life:
            await life.start(lambda told=told: Living(told))
            life.append(*map(deleted, range(200)))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            keep = {file: file.read_bytes() for file in (path / "projections").iterdir()}
            before = list(told)
        for file, data in keep.items():
            file.write_bytes(data)
        told[:] = before
        async with world(path) as life:
            await life.start(lambda told=told: Living(told))
            await trio.sleep(5)
        again = told[len(before) :]
        assert again == cids(*range(200 - len(again), 200))
        assert len(before) + len(again) >= 200
        assert len(before) + len(again) - 200 <= 64


async def test_a_damaged_cursor_has_everything_come_again(tmp_path, autojump_clock):
    async with world(tmp_path) as life:
        life.append(stored(0), stored(1))
        await life.start(Living)
        life.append(deleted(0))
        await trio.sleep(1)
    path = tmp_path / "projections" / "living.cursor"
    whole = path.read_bytes()
    for what, data in damaged(whole):
        path.write_bytes(data)
        told = []
        async with world(tmp_path) as life:
            await life.start(lambda told=told: Living(told))
            await trio.sleep(1)
        assert told == cids(0), what


async def test_the_cursor_is_kept_while_nothing_comes(tmp_path, autojump_clock):
    async with trio.open_nursery() as nursery:
        life = World(nursery, tmp_path)
        life.append(stored(0))
        await life.start(Living)
        path = tmp_path / "projections" / "living.cursor"
        first = path.read_bytes()
        life.append(deleted(0))
        await trio.sleep(0.5)
        assert path.read_bytes() == first
        await trio.sleep(1)
        assert path.read_bytes() != first
        await life.supervisor.stop()
        life.log.close()


async def test_a_reaction_that_takes_too_long_crashes_and_comes_again(tmp_path, autojump_clock):
    told = []

    class Slow(Living):
        reaction_limit_s = 5

        @react
        async def on_deleted(self, event: RecordDeleted, position: int) -> None:
            told.append(trio.current_time())
            await trio.sleep(60 if len(told) == 1 else 1)

    async with world(tmp_path) as life:
        life.append(stored(0))
        await life.start(Slow)
        life.append(deleted(0))
        await trio.sleep(30)
        assert len(told) == 2
        assert life.supervisor.report()[0].crashes == 1


async def test_a_reaction_is_tried_again_when_the_node_said_to_and_that_is_no_crash(tmp_path, autojump_clock):
    """One that wrote a text while the node's model was being loaded was given up within two seconds of the start."""
    told = []

    class Early(Living):
        @react
        async def on_deleted(self, event: RecordDeleted, position: int) -> None:
            told.append(event.cid)
            if len(told) < 20:
                raise ModelNotReady("the model is being loaded", retry_after_s=2.0)

    async with world(tmp_path) as life:
        ref = await life.start(Early, essential=False)
        life.append(*map(stored, range(2)), *map(deleted, range(2)))
        await trio.sleep(37)
        assert told == cids(*[0] * 19)
        await trio.sleep(2)
        assert told == cids(*[0] * 20, 1)
        assert ref.stats.crashes == 0


async def test_a_stop_cancels_the_reaction_that_is_under_way_and_it_comes_again(tmp_path, autojump_clock):
    begun, done = [], []

    class Slow(Living):
        @react
        async def on_deleted(self, event: RecordDeleted, position: int) -> None:
            begun.append(event.cid)
            await trio.sleep(5)
            done.append(event.cid)

    async with world(tmp_path) as life:
        life.append(stored(0), stored(1))
        await life.start(Slow)
        life.append(deleted(0), deleted(1))
        await trio.sleep(7)
    assert (begun, done) == (cids(0, 1), cids(0))
    async with world(tmp_path) as life:
        await life.start(Slow)
        await trio.sleep(7)
    assert (begun, done) == (cids(0, 1, 1), cids(0, 1))


async def test_an_event_is_reacted_to_when_the_state_has_it(tmp_path, autojump_clock, monkeypatch):
    from engram.runtime._projection import Projection

    class Sees(Living):
        @react
        async def on_deleted(self, event: RecordDeleted, position: int) -> None:
            assert self.state.seen >= position
            self.told.append(event.cid)

    advance, told = Projection._advance, []

    async def late(self):
        await trio.sleep(3)
        await advance(self)

    async with world(tmp_path) as life:
        monkeypatch.setattr(Projection, "_advance", late)
        await life.start(lambda: Sees(told))
        life.append(stored(0), deleted(0))
        life.append(stored(1), deleted(1))
        await trio.sleep(60)
        assert life.supervisor.report()[0].crashes == 0
    assert told == cids(0, 1)


async def test_an_actor_may_react_without_a_state(tmp_path, autojump_clock):
    told = []

    class Reacts(EventActor):
        @react
        async def anything(self, event: RecordStored | RecordDeleted, position: int) -> None:
            told.append(position)

    async with world(tmp_path) as life:
        await life.start(Reacts)
        life.append(stored(0), deleted(0))
        await trio.sleep(1)
    assert told == [1, 2]


# -- lives ------------------------------------------------------------------------------------------------------------


async def test_one_that_cannot_fold_is_given_up_and_the_others_live(tmp_path, autojump_clock):
    class Never(Living):
        @apply
        def stored(self, event: RecordStored, position: int) -> None:
            raise RuntimeError("never")

    async with world(tmp_path) as life:
        life.append(stored(0))
        bad = await life.start(Never, name="never", essential=False)
        good = await life.start(Living)
        await trio.sleep(120)
        assert {report.name: report.state for report in life.supervisor.report()} == {
            "never": "failed",
            "living": "running",
        }
        with pytest.raises(Unavailable):
            await bad.ask(Look())
        assert await good.ask(Look()) == cids(0)


async def test_one_that_hangs_at_its_start_holds_nobody_up(tmp_path, autojump_clock):
    class Hangs(Living):
        async def on_start(self):
            await trio.sleep_forever()

    async with world(tmp_path) as life:
        with trio.fail_after(1):
            await life.start(Hangs, name="hangs", essential=False)
            ref = await life.start(Living)
            assert await ref.ask(Look()) == []
        assert life.supervisor.report()[0].state == "starting"
        start = trio.current_time()
    assert trio.current_time() - start < 1  # and the stop neither


async def test_nothing_is_left_behind(tmp_path, autojump_clock):
    async with world(tmp_path) as life:
        await life.start(Living)
        life.append(stored(0))
    assert sorted(path.name for path in (tmp_path / "projections").iterdir()) == ["living.cursor", "living.snapshot"]
    assert not life.tail._waiting


# -- classes that will not do -----------------------------------------------------------------------------------------


async def refused(tmp_path, kind):
    async with world(tmp_path) as life:
        try:
            await life.start(kind)
        except TypeError as error:
            return str(error)
    return None


async def test_what_a_class_has_wrong_is_said(tmp_path, autojump_clock):
    class Frozen(msgspec.Struct, frozen=True):
        n: int = 0

    class Needs(msgspec.Struct):
        n: int

    class WithFrozen(EventActor):
        State = Frozen

    class WithNeeds(EventActor):
        State = Needs

    class NoState(EventActor):
        @apply
        def created(self, event: LogCreated, position: int) -> None:
            pass

    class Twice(Living):
        @apply
        def also(self, event: RecordStored, position: int) -> None:
            pass

    class Confused(Living):
        @apply
        def also(self, event: Look, position: int) -> None:
            pass

    class Texts(Living):
        asks = "store"

    class Typo(Living):
        react_from = "begin"

    with pytest.raises(TypeError, match="asks is the text 'store': make it a tuple"):
        check_actor(Texts)
    assert "Typo.react_from is 'begin'" in await refused(tmp_path, Typo)
    assert "WithFrozen.State is frozen" in await refused(tmp_path, WithFrozen)
    assert "WithNeeds.State must be a Struct of plain fields, each with a default" in await refused(tmp_path, WithNeeds)
    assert "NoState folds events and has no `State`" in await refused(tmp_path, NoState)
    assert "also and stored both take RecordStored" in await refused(tmp_path, Twice)
    assert "is no type of event" in await refused(tmp_path, Confused)
    with pytest.raises(TypeError, match="make it a plain `def`"):

        @apply
        async def fold(self, event: RecordStored, position: int) -> None:
            pass

    with pytest.raises(TypeError, match="make it `async def`"):

        @react
        def reaction(self, event: RecordStored, position: int) -> None:
            pass
