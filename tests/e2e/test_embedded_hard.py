"""An embedded memory in programs that interrupt it, forget it, fork, and are not careful."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import msgspec
import pytest
from disks import FullDisk
from e2e.processes import environ

import engram
from engram.errors import EngramError, FolderInUse, StorageFailed
from engram.node import Config, Memory, real_world
from engram.node._places import InFile
from engram.wire import Events

V = [1.0] + [0.0] * 383


def poll(memory):
    """Wait, for as long as one may, for an event that does not come."""
    return memory._call(Events(since=memory.status().position, wait_s=30.0))


def vector(number):
    return [1.0, float(number), *[0.0] * 382]


@pytest.fixture
def interrupted():
    """Have a Ctrl-C come by itself, so many seconds from now."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield lambda after_s: signal.setitimer(signal.ITIMER_REAL, after_s)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_an_interrupt_ends_a_call_and_not_the_memory(tmp_path, interrupted):
    with engram.open(tmp_path) as memory:
        began = time.monotonic()
        interrupted(0.2)
        with pytest.raises(KeyboardInterrupt):
            poll(memory)
        assert time.monotonic() - began < 10
        cid = memory.ingest_embedding(V)
        for _ in range(30):
            with pytest.raises(KeyboardInterrupt):
                interrupted(0.0005)
                while True:
                    memory.query_by_vector(V)
                    memory.get(cid)
                    memory.list()
        assert memory.get(cid).cid == cid
        began = time.monotonic()
    assert time.monotonic() - began < 10  # and the poll that nobody waits for holds nothing up


def test_an_interrupted_write_has_happened_whole_or_not_at_all(tmp_path, interrupted):
    with engram.open(tmp_path) as memory:
        kept = []
        for round_ in range(20):
            with pytest.raises(KeyboardInterrupt):
                interrupted(0.003)
                for number in range(10_000):
                    kept.append(memory.ingest_embedding(vector(round_ * 10_000 + number), {"n": number}))
        memory.ingest_embedding(V)
        listed = {record.cid for record in memory.list(limit=1000)}
        assert listed >= set(kept)
        assert len(listed) <= len(kept) + 21
    with engram.open(tmp_path) as memory:
        assert {record.cid for record in memory.list(limit=1000)} == listed


def ended(thread):
    """Wait for the end of a thread; of one whose start was interrupted, for its beginning first."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(RuntimeError):  # it is there, and has not begun
            thread.join(20)
            return True
        time.sleep(0.01)
    return False


def test_an_interrupt_while_it_opens_leaves_nothing(tmp_path, interrupted):
    before = set(threading.enumerate())
    for number in range(12):
        memory = None
        with suppress(KeyboardInterrupt):
            interrupted(0.001 + 0.012 * number)
            memory = engram.open(tmp_path / "one.engram")
            interrupted(0)
        if memory is not None:
            memory.close()
        for thread in set(threading.enumerate()) - before:  # one that was interrupted while it was being started
            assert ended(thread)
        assert not set(threading.enumerate()) - before
    with engram.open(tmp_path / "one.engram") as memory:
        assert memory.ingest_embedding(V)


def test_who_waits_for_events_holds_nobody_up(tmp_path):
    with engram.open(tmp_path) as memory:
        began, answers = time.monotonic(), []
        since = memory.status().position
        waiting = [
            threading.Thread(target=lambda: answers.append(memory._call(Events(since=since, wait_s=30.0))))
            for _ in range(8)
        ]
        for thread in waiting:
            thread.start()
        assert memory.status().records == 0
        memory.ingest_embedding(V)
        for thread in waiting:
            thread.join(20)
        assert [answer.events[0].type for answer in answers] == ["record_stored.1"] * 8
        assert time.monotonic() - began < 20


def test_closing_ends_who_waits_for_events(tmp_path):
    """It ends with an error, or with the fact of the checkpoint that closing signs, where that comes first."""
    memory = engram.open(tmp_path)
    ends = []

    def wait():
        try:
            ends.append([event.type for event in poll(memory).events])
        except EngramError as error:
            ends.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    memory.status()
    began = time.monotonic()
    memory.close()
    waiting.join(20)
    assert time.monotonic() - began < 10
    assert ends == [["state_committed.1"]] or isinstance(ends[0], EngramError)


def test_one_that_is_forgotten_is_closed_by_and_by(tmp_path):
    before = set(threading.enumerate())
    memory = engram.open(tmp_path / "one.engram")
    memory.ingest_embedding(V)
    del memory
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
    assert not set(threading.enumerate()) - before
    assert [path.name for path in tmp_path.iterdir()] == ["one.engram"]


FORGETTING = """
import gc, sys, engram
def use(path):
    memory = engram.open(path)
    memory.ingest_embedding([1.0] * 384)
    return memory.get
get = use(sys.argv[1])
gc.collect()
use(":memory:")
gc.collect()
print("ended")
"""


def test_a_program_that_forgets_its_memories_warns_of_nothing_and_ends(tmp_path):
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", FORGETTING, str(tmp_path / "one.engram")]
    ran = subprocess.run(command, capture_output=True, env=environ(), timeout=30, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"ended\n", b"")
    with engram.open(tmp_path / "one.engram") as memory:
        assert memory.status().records == 1


def in_a_process(path, own, said):
    """What a worker of multiprocessing does: try the parent's memory, then one of its own."""
    try:
        engram.open(path)
    except FolderInUse as error:
        said.put(error.message)
    with engram.open(own) as memory, engram.open(":memory:") as other:
        cid = memory.ingest_embedding(V)
        other.ingest_embedding(V)
        said.put(cid)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("name", ["data", "one.engram"])
def test_a_process_of_multiprocessing_has_memories_of_its_own(tmp_path, method, name):
    context = multiprocessing.get_context(method)
    with engram.open(tmp_path / name) as memory:
        cid, said = memory.ingest_embedding(V), context.SimpleQueue()
        worker = context.Process(target=in_a_process, args=(tmp_path / name, tmp_path / "own", said))
        worker.start()
        worker.join(60)
        assert worker.exitcode == 0
        assert f"in use by process {os.getpid()}" in said.get()
        assert said.get() == cid
        worker.close()
        assert memory.get(cid).cid == cid


def test_a_disk_that_fails_leaves_the_folder_of_a_single_file_for_the_next(tmp_path):
    disk = FullDisk()
    place = InFile(tmp_path / "one.engram", msgspec.structs.replace(real_world(), disk=disk))
    memory = Memory(Config(data_dir=place.data_dir), place)
    cid = memory.ingest_embedding(V)
    disk.full = True
    memory._home.service._store.fail(StorageFailed("the disk is gone"))
    with pytest.raises(StorageFailed):
        memory.ingest_embedding(vector(1))
    with pytest.raises(StorageFailed):
        memory.get(cid)
    memory.close()
    assert (tmp_path / "one.engram.d").is_dir()
    with engram.open(tmp_path / "one.engram") as again:
        assert again.get(cid).cid == cid
    assert [path.name for path in tmp_path.iterdir()] == ["one.engram"]
