"""The simulation of whole nodes: many seeds hold, a seed repeats itself, and each checker sees what it is for."""

import os
import subprocess
import sys

import msgspec
import pytest

from engram.events import Verdict
from engram.store import Store
from engram.testing import draw, parts_of, shrink, simulate, without
from engram.testing.__main__ import main

SEEDS, CHUNK = 800, 50


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_seeds_hold(first):
    failures = [
        f"seed {seed}: {report.failure}" for seed in range(first, first + CHUNK) if (report := simulate(seed)).failure
    ]
    assert not failures


def test_a_seed_gives_the_same_trace_again():
    first, again = simulate(11), simulate(11)
    assert first.trace == again.trace
    assert first.digest == again.digest
    assert simulate(12).digest != first.digest


def test_a_seed_gives_the_same_trace_in_another_process_whatever_the_hash_seed():
    code = "from engram.testing import simulate; print([simulate(seed).digest for seed in (3, 5, 8)])"
    said = set()
    for hash_seed in ("0", "1", "4711"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        said.add(done.stdout)
    assert said == {f"{[simulate(seed).digest for seed in (3, 5, 8)]}\n"}


def test_what_a_seed_draws_is_worth_the_name():
    """Crashes, faults, flips, rotations, every kind of call: none is so rare that a range of seeds goes without."""
    reports = [simulate(seed) for seed in range(100, 160)]
    lines = "\n".join(what for report in reports for _, _, what in report.trace)
    for sign in (
        "the machine stops here",
        "it fails",
        "there is no more room",
        "there is room again",
        "flips, in a copy",
        "rename bodies/0",
        "rename events/0",
        "namespace_create",
        "delete of",
        "query of",
        "put_many of",
        "no answer",
        "not_found",
        "created False",
        "unavailable",
    ):
        assert sign in lines, sign
    assert sum(report.lives for report in reports) > 150


# -- each checker has a bug that it catches ------------------------------------------------------------------------------


def first_failure(seeds=range(80)):
    return next((report.failure for seed in seeds if (report := simulate(seed)).failure), "")


def test_a_log_that_is_not_synced_loses_what_was_acknowledged(monkeypatch):
    leave_out_sync(monkeypatch, "/events/")
    assert any(sign in first_failure() for sign in ("and there is", "is lost", "LogCorrupt", "are durable"))


def test_bodies_that_are_not_synced_are_lost(monkeypatch):
    leave_out_sync(monkeypatch, "/bodies/")
    assert "bodies" in first_failure().lower()


def leave_out_sync(monkeypatch, folder):
    from engram.testing import SimFile

    settle = SimFile._sync
    monkeypatch.setattr(SimFile, "_sync", lambda self, call: None if folder in self._inode.path else settle(self, call))


def test_names_that_are_not_synced_are_lost(monkeypatch):
    from engram.testing import SimDisk

    monkeypatch.setattr(SimDisk, "sync_folder", lambda *_: None)
    assert first_failure()


def test_an_acknowledgement_before_the_sync_is_a_lost_write(monkeypatch):
    from engram.events import SegmentWriter

    monkeypatch.setattr(SegmentWriter, "sync", lambda _: None)
    assert first_failure()


def test_a_deletion_that_folding_again_forgets_lives_again(monkeypatch):
    from engram.store._fold import Fold

    deleted = Fold._deleted
    monkeypatch.setattr(
        Fold, "_deleted", lambda self, position, event: None if position % 3 == 0 else deleted(self, position, event)
    )
    assert any(
        sign in first_failure()
        for sign in (
            "what does not live",
            "which did not live",
            "stored while it lives",
            "and there is",
            "hits, and",
            "and it is lost",  # it was put again, and answered with the position of what had been deleted
            "is erased, and",  # it stands, since one of its memberships was forgotten to have ended
            "the tally has failed",  # it folds a deletion of what does not live
        )
    )


def change_found(monkeypatch, change):
    search = Store.search

    def changed(*given, **named):
        answer = search(*given, **named)
        return msgspec.structs.replace(answer, found=change(answer.found))

    monkeypatch.setattr(Store, "search", changed)


def test_a_query_that_misses_one_is_not_the_brute_force(monkeypatch):
    change_found(monkeypatch, lambda found: found[1:])
    assert "hits, and" in first_failure()


def test_a_score_that_is_off_is_not_the_brute_force(monkeypatch):
    change_found(monkeypatch, lambda found: [msgspec.structs.replace(item, score=item.score - 0.01) for item in found])
    assert "has the scores" in first_failure()


def test_a_position_that_is_not_its_event_is_seen(monkeypatch):
    from engram.store import Done, Store

    commit = Store.commit

    def wrong(self, operations, now_ns):
        return [
            msgspec.structs.replace(outcome, position=outcome.position + 1) if isinstance(outcome, Done) else outcome
            for outcome in commit(self, operations, now_ns)
        ]

    monkeypatch.setattr(Store, "commit", wrong)
    assert any(sign in first_failure() for sign in ("was told of", "was created, and is lost"))


def test_tables_that_are_no_fold_are_seen(monkeypatch):
    close = Store.close

    def spoil(self, now_ns):
        if self._writer:
            self._writer.execute("UPDATE tallies SET records = records + 1")
        close(self, now_ns)

    monkeypatch.setattr(Store, "close", spoil)
    assert "is not the fold of the log" in first_failure()


def test_a_count_that_a_deletion_leaves_as_it_was_is_seen(monkeypatch):
    from engram.store._fold import Fold

    tally = Fold._tally
    monkeypatch.setattr(Fold, "_tally", lambda self, ns, change, chunk: tally(self, ns, max(change, 0), chunk))
    assert "at no time" in first_failure()


def test_a_folder_that_stays_locked_is_seen(monkeypatch):
    from engram.store._folder import DataFolder

    monkeypatch.setattr(DataFolder, "close", lambda _: None)
    assert "there were left: 1 open files, 1 locks" in first_failure()


def test_a_lost_wake_up_is_seen(monkeypatch):
    from engram.wire import ServerConnection

    sent, counted = ServerConnection.send_result, []

    def forgetful(self, call_id, answer):
        counted.append(call_id)
        return b"" if len(counted) % 7 == 0 else sent(self, call_id, answer)

    monkeypatch.setattr(ServerConnection, "send_result", forgetful)
    assert "never answered" in first_failure()


def test_a_long_text_without_its_last_chunk_is_seen(monkeypatch):
    from engram.store._group import Group

    put = Group._put
    monkeypatch.setattr(
        Group,
        "_put",
        lambda self, operation: put(self, msgspec.structs.replace(operation, chunks=operation.chunks[:-1])),
    )
    assert "has the chunks" in first_failure()


def test_what_is_given_back_otherwise_than_it_was_put_is_seen(monkeypatch):
    from engram.node import _reads

    answer = _reads.record_answer

    def wrong(*given, **named):
        return msgspec.structs.replace(answer(*given, **named), text="something else")

    monkeypatch.setattr(_reads, "record_answer", wrong)
    assert any(sign in first_failure() for sign in ("not what was put", "not as it was put"))


def test_damage_that_goes_unnamed_is_seen(monkeypatch):
    monkeypatch.setattr("engram.testing._damage.judge", lambda *_: Verdict(0, 0, "", 0, ""))
    seeds = [seed for seed in range(1000) if any(life.flip == "events" for life in draw(seed).lives)]
    assert "the verification says" in first_failure(seeds[:60])


def test_a_snapshot_that_says_an_earlier_position_than_its_state_is_seen(monkeypatch):
    from engram.runtime import _projection

    snapshot = _projection.Snapshot
    monkeypatch.setattr(_projection, "Snapshot", lambda name, fold, at, *rest: snapshot(name, fold, at - 1, *rest))
    assert any(sign in first_failure() for sign in ("an actor's state is", "an actor was given"))


def test_a_reaction_that_is_left_out_is_seen(monkeypatch):
    from engram.runtime._reactions import Reactions

    reacting = Reactions._react

    async def forgetful(self, position, data):
        methods = self._methods
        self._methods = {} if position % 5 == 0 else methods
        await reacting(self, position, data)
        self._methods = methods

    monkeypatch.setattr(Reactions, "_react", forgetful)
    assert "was never told of the events" in first_failure()


# -- replaying and shrinking ---------------------------------------------------------------------------------------------


def test_a_failing_seed_shrinks_to_what_matters_and_is_replayed_by_one_line(monkeypatch, capsys):
    change_found(monkeypatch, lambda found: found[1:])
    report = next(report for seed in range(80) if (report := simulate(seed)).failure)
    small, left_out = shrink(report, lambda: True)
    assert small.failure
    assert len(small.plan.steps) <= 4
    assert main(["--seed", str(report.plan.seed), "--without", ",".join(left_out)]) == 1
    said = capsys.readouterr().out
    assert f"replay: python -m engram.testing --seed {report.plan.seed} --without {left_out[0]}" in said
    assert small.failure in said


def test_every_part_of_a_plan_can_be_left_out():
    plan = draw(3)
    assert without(plan, []) == plan
    nothing = without(plan, parts_of(plan))
    assert (nothing.lives, nothing.steps) == ((), ())
    assert not simulate(nothing).failure


def test_the_command_runs_a_range(capsys):
    assert main(["--seeds", "0..4", "--jobs", "1"]) == 0
    assert "4 seeds in" in capsys.readouterr().out
    assert main(["--seed", "2", "--trace"]) == 0
    assert "life 0 begins" in capsys.readouterr().out
