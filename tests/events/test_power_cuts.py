"""Power cuts: whatever part of the unsynced sectors and names is kept, no wrong proof is given and no export is broken."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from logs import CREATED, event
from tiles_reader import TilesReader

from engram import events
from engram.events import Checkpoint, Log, LogCreated, LogTree, checkpoints, export_tiles, verify_inclusion
from engram.identity import NodeKey
from engram.testing import Crashed, LoseAll, LoseNothing, LoseSome, SimDisk, stream

KEY = NodeKey(bytes(range(32)))
DATA, OUT, TREE = Path("/data"), Path("/out"), Path("/data/tree")


def nothing(*_):
    """Let every call happen."""


def losses(number):
    return LoseAll(), LoseNothing(), LoseSome(stream(number, "loss"))


def append(disk, log, count):
    first = [events.encode(LogCreated(format=1, node_key=KEY.public))] if log.size == 0 else []
    new = first + [event(log.size + n) for n in range(len(first), count)]
    log.append(new, 10**9 + log.size)
    disk.make_folder(DATA / "checkpoints")
    checkpoints.write(disk, DATA / "checkpoints", Checkpoint(log.size, log.root), KEY)


def cut_at_every_call(disk, run, judge):
    """Run, and judge what a power cut before each call would leave."""
    calls = 0

    def hook(call, path, offset, size):
        nonlocal calls
        if call == "read":
            return
        calls += 1
        for loss in losses(calls):
            image = disk.image(loss)
            image.hook = nothing
            judge(image)

    disk.hook = hook
    run()
    disk.hook = nothing
    return calls


def published(disk):
    """How many events a reader of others finds, all of them proved; 0 where nothing was published yet."""
    files = disk.files()
    if f"{OUT}/checkpoint" not in files:
        return 0
    return len(TilesReader(lambda path: files.get(f"{OUT}/{path}")).check())


def test_an_export_is_whole_after_a_power_cut_at_any_call():
    disk = SimDisk()
    log = Log.open(disk, DATA / "events")
    sizes = [0]
    for count in (10, 300, 250):
        append(disk, log, count)
        found = set()

        def judge(image, found=found):
            found.add(published(image))
            export_tiles(image, DATA, OUT)
            assert published(image) == log.size

        assert cut_at_every_call(disk, lambda: export_tiles(disk, DATA, OUT), judge) > 10
        sizes.append(log.size)
        assert found <= set(sizes[-2:])
        assert published(disk) == log.size
    log.close()


@pytest.mark.parametrize("at", range(30))
def test_what_a_killed_export_has_left_is_durable_once_the_next_one_ends(at):
    """The power holds when a process is killed: its files are seen, and nobody knows whether they are durable."""
    disk = SimDisk()
    log = Log.open(disk, DATA / "events")
    append(disk, log, 300)
    calls = 0

    def killing(call, path, offset, size):
        nonlocal calls
        calls += call != "read"
        if calls > at:
            raise Crashed

    disk.hook = killing
    with contextlib.suppress(Crashed):
        export_tiles(disk, DATA, OUT)
    disk.hook = nothing
    after = disk.restarted()
    export_tiles(after, DATA, OUT)
    assert published(after.image(LoseAll())) == log.size


def test_a_tree_gives_right_proofs_after_a_power_cut_at_any_call():
    disk = SimDisk()
    log = Log.open(disk, DATA / "events")
    written = [CREATED]
    log.append(written, 1)
    tree = LogTree(disk, TREE, log)
    for count in (300, 5, 900):
        new = [event(log.size + n) for n in range(count)]
        written += new
        log.append(new, 10**9 + log.size)
        size, root = log.tip

        def judge(image, size=size, root=root, written=written):
            again = Log.open(image, DATA / "events")
            proofs = LogTree(image, TREE, again)
            for position in (0, 3, 255, 256, size // 2, size - 1):
                assert verify_inclusion(written[position], position, size, proofs.inclusion(position, size), root)
            again.close()

        assert cut_at_every_call(disk, tree.catch_up, judge) > 0
    log.close()
