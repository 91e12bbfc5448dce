"""A disk that fails under a real node and under an embedded memory."""

from __future__ import annotations

import errno
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from disks import FaultyDisk
from e2e.processes import code_of

import engram
from engram.errors import EngramError, StorageFailed
from engram.node import Config, Memory, Place, real_world

FAILING_NODE = [sys.executable, str(Path(__file__).with_name("failing_node.py"))]


def vector(number):
    return [1.0, float(number), *[0.0] * 382]


def fail(node, what):
    node.data.with_name(f"{node.data.name}.fails").write_text(what)


def mend(node):
    node.data.with_name(f"{node.data.name}.fails").unlink()


@pytest.mark.parametrize("folder", ["events", "bodies"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failed_sync_ends_the_node_with_a_sentence_and_loses_nothing(make_node, folder, number):
    node = make_node(command=FAILING_NODE)
    with node.client() as client:
        kept = [client.ingest_embedding(vector(each)) for each in range(3)]
        fail(node, f"datasync {folder} {number}")
        assert code_of(lambda: client.ingest_embedding(vector(9))).code == "unavailable"
        assert node.process.wait(15) == 1
        assert code_of(client.status).code == "unavailable"
    node.process.stdout.close()
    last = node.logged().splitlines()[-1]
    assert last.startswith(f"error: cannot sync {node.data}/{folder}/")
    assert "mend the disk and open the folder again" in last
    assert "Traceback" not in node.logged()
    mend(node)
    node.log.write_text("")
    node.start()
    with node.client() as client:
        for cid in kept:
            assert client.get(cid).cid == cid
        assert client.ingest_embedding(vector(10))


def test_a_disk_without_room_for_more_refuses_puts_and_the_node_lives(make_node):
    """Reads go on, and so do writes once there is room: nothing was half-written, so nothing is unknown."""
    node = make_node(command=FAILING_NODE)
    fail(node, f"allocate bodies {errno.ENOSPC}")
    kept = []
    with node.client() as client:
        with pytest.raises(EngramError, match=r"no room for .*bodies.*free some, and try again") as said:
            for number in range(10_000):
                kept.append(client.ingest_embedding(vector(number), {"filler": "x" * 4000}))
        assert said.value.code == "unavailable"
        for cid in kept[-3:]:
            assert client.get(cid).cid == cid
        assert len(client.query_by_vector(vector(1), top_k=5)) == min(5, len(kept))
        assert code_of(lambda: client.ingest_embedding(vector(-1), {"filler": "x" * 4000})).code == "unavailable"
        mend(node)
        kept.append(client.ingest_embedding(vector(-1), {"filler": "x" * 4000}))
        assert client.status().records == len(kept)


@pytest.mark.parametrize("call", ["datasync events/", "datasync bodies/", "write events/"])
def test_an_embedded_memory_closes_and_every_later_call_says_why(tmp_path, call):
    before = set(threading.enumerate())
    disk = FaultyDisk()
    data = tmp_path / "data"
    memory = Memory(Config(data_dir=data), Place(data, msgspec.structs.replace(real_world(), disk=disk)))
    kept = [memory.ingest_embedding(vector(number)) for number in range(3)]
    per_write = [name.split()[0] + " " + name.split()[1].split("/")[0] + "/" for name in disk.called[-4:]]
    assert per_write == ["write bodies/", "datasync bodies/", "write events/", "datasync events/"]
    disk.at = len(disk.called) + per_write.index(call)
    with pytest.raises(StorageFailed, match="Input/output error"):
        memory.ingest_embedding(vector(9))
    reads = [
        lambda: memory.query_by_vector(vector(1)),
        lambda: memory.get(kept[0]),
        memory.list,
        memory.namespaces.list,
    ]
    for later in (*reads, memory.status, lambda: memory.ingest_embedding(vector(1)), *reads):
        with pytest.raises(StorageFailed, match="Input/output error"):
            later()
    memory.close()
    assert not set(threading.enumerate()) - before
    with engram.open(tmp_path / "data") as again:
        for cid in kept:
            assert again.get(cid).cid == cid
