"""Reads of an embedded memory: in the caller's thread, whatever the memory's own is doing, until it is closed."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import threading

import pytest
import trio
from store.test_store import NOW, open_store, put

import engram
from engram import cid
from engram.errors import Forked, NotFound, TooLarge, Unavailable, Unprocessable
from engram.node import _service as services
from engram.node._reads import Reads
from engram.store import PUBLIC, DeleteOperation, RecallCheck
from engram.wire import Get, KeyGet, List, Query

DIM = 384


def vector(number):
    return [1.0, float(number), *[0.0] * (DIM - 2)]


@pytest.fixture
def memory(tmp_path):
    with engram.open(tmp_path / "data") as memory:
        yield memory


@pytest.fixture
def busy(memory):
    """The memory's own thread has something else to do for as long as the test runs."""
    begun, done = threading.Event(), threading.Event()

    def block():
        begun.set()
        done.wait()

    cids = [memory.ingest_embedding(vector(number), {"n": number}) for number in range(5)]
    blocker = threading.Thread(
        target=trio.from_thread.run_sync, args=(block,), kwargs={"trio_token": memory._home._token}
    )
    blocker.start()
    begun.wait()
    yield cids
    done.set()
    blocker.join()


def test_reads_do_not_wait_for_the_memorys_thread(memory, busy):
    assert [hit.metadata for hit in memory.query_by_vector(vector(3), top_k=1)] == [{"n": 3}]
    assert len(memory.query_by_vector(vector(0), filter="n > 2", exact=True)) == 2
    assert memory.explain(vector=vector(0)).mode == "exact"
    assert memory.get(busy[1]).metadata == {"n": 1}
    assert [record.cid for record in memory.list()] == busy
    assert [(space.name, space.records) for space in memory.namespaces.list()] == [("public", 5)]
    with pytest.raises(NotFound):
        memory.get("v1::" + "0" * 64)
    with pytest.raises(Unprocessable):
        memory.query_by_vector([1.0, 2.0])


def test_reads_run_inside_a_loop_too(memory, busy):
    async def main():
        return memory.query_by_vector(vector(2), top_k=1)[0].cid

    assert trio.run(main) == busy[2]


def test_the_same_is_refused_as_over_the_wire(memory):
    for wrong, field in (
        ({"top_k": 0}, "top_k"),
        ({"top_k": 1001}, "top_k"),
        ({"top_k": "3"}, "top_k"),
        ({"namespace": "none"}, "namespace"),
        ({"filter": "n ="}, "filter"),
        ({"exact": "yes"}, "exact"),
    ):
        with pytest.raises(engram.errors.EngramError) as refused:
            memory._call(Query(vector=struct.pack("<384f", *vector(1)), **wrong))
        assert refused.value.field == field


@pytest.mark.parametrize("read", [Query(vector=vector(1)), Get(cid="v1::" + "0" * 64), List()])
def test_a_read_waits_for_its_min_position(memory, read, monkeypatch):
    monkeypatch.setattr(services, "_CATCH_UP_S", 0.05)
    late = type(read)(**{name: read.__getattribute__(name) for name in read.__struct_fields__} | {"min_position": 2})
    with pytest.raises(Unavailable, match="has 1 events, and the call asks for 2"):
        memory._call(late)
    monkeypatch.setattr(services, "_CATCH_UP_S", 20.0)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(memory._call(late).position))
    if not isinstance(read, Get):
        waiting.start()
        memory.ingest_embedding(vector(1))
        waiting.join(20)
        assert answers == [2]


def test_many_threads_read_while_one_writes_and_then_it_is_closed(tmp_path):
    memory = engram.open(tmp_path / "data")
    written, wrong, ended = [memory.ingest_embedding(vector(0))], [], []
    going = threading.Barrier(9)

    def read(number):
        going.wait()
        while True:
            known = len(written)
            try:
                hits = memory.query_by_vector(vector(number), top_k=1000)
                record = memory.get(written[known - 1])
                listed = memory.list(limit=1000)
                spaces = memory.namespaces.list()
            except Unavailable as error:
                ended.append(error.message)
                return
            except BaseException as error:
                wrong.append(error)
                raise
            scores = [hit.score for hit in hits]
            if not (scores == sorted(scores, reverse=True) and known <= len({hit.cid for hit in hits})):
                wrong.append(hits)
            if record.cid != written[known - 1] or len(listed) < known or spaces[0].records < known:
                wrong.append(record)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in readers:
        thread.start()
    going.wait()
    for number in range(1, 100):
        written.append(memory.ingest_embedding(vector(number)))
    memory.close()
    for thread in readers:
        thread.join(20)
        assert not thread.is_alive()
    assert not wrong
    assert ended == ["this memory is closed; open it again"] * 8


def test_a_read_that_is_under_way_is_answered_though_the_memory_is_being_closed(memory, monkeypatch):
    cid = memory.ingest_embedding(vector(1), {"n": 1})
    inside, go_on, found = threading.Event(), threading.Event(), []
    search = type(memory._home.service._store).search

    def slow(*arguments, **named):
        inside.set()
        go_on.wait()
        return search(*arguments, **named)

    monkeypatch.setattr(type(memory._home.service._store), "search", slow)
    reader = threading.Thread(target=lambda: found.extend(memory.query_by_vector(vector(1))))
    reader.start()
    inside.wait()
    closer = threading.Thread(target=memory.close)
    closer.start()
    with pytest.raises(Unavailable, match="closed"):
        while True:
            memory.list()
    assert closer.is_alive()
    go_on.set()
    for thread in (reader, closer):
        thread.join(20)
    assert [hit.cid for hit in found] == [cid]


def test_a_signal_handler_may_close_what_its_thread_is_reading(tmp_path, monkeypatch):
    memory = engram.open(tmp_path / "data")
    cid = memory.ingest_embedding(vector(1))
    search = type(memory._home.service._store).search

    def interrupted(*arguments, **named):
        signal.raise_signal(signal.SIGUSR1)
        return search(*arguments, **named)

    monkeypatch.setattr(type(memory._home.service._store), "search", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: memory.close())
    try:
        assert memory.query_by_vector(vector(1))[0].cid == cid
    finally:
        signal.signal(signal.SIGUSR1, before)
    memory.close()
    with engram.open(tmp_path / "data") as again:
        assert again.get(cid).cid == cid


def in_child(call):
    """Run `call` in a forked child; give what it printed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(call()).encode())
        except BaseException as error:  # noqa: BLE001 (the child of a test ends here, whatever happens)
            os.write(writing, repr(error).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    return text


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_childs_handle_raises_forked_and_the_parent_goes_on(memory):
    cid = memory.ingest_embedding(vector(1))

    def call(method):
        try:
            method()
        except Forked as error:
            return error.message
        return "answered"

    def use():
        calls = (
            lambda: memory.query_by_vector(vector(1)), lambda: memory.get(cid), memory.list, memory.namespaces.list,
            lambda: memory.ingest_embedding(vector(2)), memory.status,
        )  # fmt: skip
        said = {call(method) for method in calls}
        memory.close()
        return said

    assert in_child(use) == str({"this memory was opened before a fork, and is the parent's; let both talk to a node"})
    assert memory.query_by_vector(vector(1))[0].cid == cid
    assert memory.ingest_embedding(vector(2))


def test_a_key_that_always_names_something_is_always_found(memory):
    """Between the look at the key and that at the record both changed: it was said to name what was deleted."""
    reads, ended, errors = memory._home.service.reads, threading.Event(), []
    old = memory.put(vector=vector(0), key="doc").cid

    def read():
        while not ended.is_set():
            try:
                reads.key_get(KeyGet(key="doc"))()
            except NotFound as error:
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 300):
        new = memory.put(vector=vector(number), key="doc").cid
        memory.delete(old)
        old = new
    ended.set()
    for reader in readers:
        reader.join()
    assert errors == []


def test_hits_that_no_answer_carries_are_refused_before_they_are_copied(memory):
    memory.namespaces.create("long", dim=2, model="mine")
    for number in range(10):
        memory.put(text=f"{number} {'x' * 900_000}", vector=[1.0, number], namespace="long")
    assert len(memory.query_by_vector([1.0, 0.0], top_k=9, namespace="long")) == 9
    with pytest.raises(TooLarge, match=r"9000720 bytes .* 8388608;") as refused:
        memory.query_by_vector([1.0, 0.0], top_k=10, namespace="long")
    assert refused.value.field == "top_k"


def test_a_content_is_found_though_the_first_record_of_it_is_deleted_meanwhile(tmp_path, monkeypatch):
    """Of two records with one text, the one that stood all along was not found."""
    store = open_store(tmp_path / "data")
    puts = [put(store, "east", 1.0, metadata={"n": n}) for n in range(2)]
    store.commit(puts, NOW)
    first, second = sorted(puts, key=lambda each: each.digest)
    get, gone = store.get, []

    def get_late(ns, digest):
        if not gone:
            gone.extend(store.commit([DeleteOperation(ns, first.digest, store.key.public)], NOW))
        return get(ns, digest)

    monkeypatch.setattr(store, "get", get_late)
    find = Reads(store, RecallCheck(store)).get(Get(cid=f"sha256:{hashlib.sha256(b'east').hexdigest()}"))
    assert find().cid == cid.from_digest(second.digest)
    store.commit([DeleteOperation(PUBLIC.ns, second.digest, store.key.public)], NOW)
    with pytest.raises(NotFound):
        find()
    store.close(NOW)
