"""Where `engram.open` finds a memory: in this process alone, in one file, in a folder, at a node."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e.processes import USER, code_of, environ, run

import engram
from engram.errors import BadRequest, FolderInUse, FolderRefused, NotFound, StorageFailed
from engram.runtime import RealDisk
from engram.sdk import EngramClient

V = [1.0] + [0.0] * 383


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def vector(number):
    return [1.0, float(number), *[0.0] * 382]


def tour(memory):
    """Use what every memory has; give the CIDs that are left."""
    cids = [memory.ingest_embedding(vector(n), {"n": n}) for n in range(20)]
    assert memory.query_by_vector(vector(3), top_k=1)[0].cid == cids[3]
    assert [hit.metadata["n"] for hit in memory.query_by_vector(vector(3), filter="n > 17")] == [18, 19]
    assert memory.get(cids[4], include_vector=True).metadata == {"n": 4}
    memory.namespaces.create("notes", dim=2, model="mine/1")
    assert memory.ingest_embeddings([[1.0, 2.0], [0.0, 0.0]], namespace="notes")[0].startswith("v1::")
    assert [space.name for space in memory.namespaces.list()] == ["public", "notes"]
    assert memory.delete(cids[0])
    assert [record.cid for record in memory.list()] == cids[1:]
    with pytest.raises(NotFound):
        memory.get(cids[0])
    return cids[1:]


def test_in_memory_it_is_a_whole_memory_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, files = set(threading.enumerate()), names(Path("/proc/self/fd"))
    with engram.open(":memory:") as memory:
        tour(memory)
        assert memory.status().records == 20
        assert memory.status().scrub.state == "off"
    assert not set(threading.enumerate()) - before
    assert len(names(Path("/proc/self/fd"))) == len(files)
    assert names(tmp_path) == []
    with engram.open(":memory:") as memory:
        assert memory.status().records == 0


def test_many_memories_are_open_at_once_and_apart():
    with ThreadPoolExecutor(8) as pool:
        memories = list(pool.map(engram.open, [":memory:"] * 8))
        cids = list(pool.map(lambda n: memories[n].ingest_embedding(vector(n)), range(8)))
        assert [len(memory.list()) for memory in memories] == [1] * 8
        assert [memory.list()[0].cid for memory in memories] == cids
        list(pool.map(lambda memory: memory.close(), memories))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engram")]


def test_many_threads_read_and_write_in_memory():
    with engram.open(":memory:") as memory, ThreadPoolExecutor(8) as pool:

        def use(who):
            for number in range(60):
                cid = memory.ingest_embedding(vector(who * 1000 + number + 1))
                assert memory.get(cid).cid == cid
                assert cid in [hit.cid for hit in memory.query_by_vector(vector(who * 1000 + number + 1), top_k=1000)]
                assert len(memory.list(limit=1000)) > number

        list(pool.map(use, range(8)))
        assert memory.status().records == 480


def test_a_single_file_is_all_that_is_left(tmp_path):
    path = tmp_path / "one.engram"
    before = set(threading.enumerate())
    with engram.open(path) as memory:
        cids = tour(memory)
        assert names(tmp_path) == ["one.engram.d"]
    assert names(tmp_path) == ["one.engram"]
    assert zipfile.is_zipfile(path)
    packed = path.read_bytes()
    with engram.open(str(path)) as memory:
        assert [record.cid for record in memory.list()] == cids
        assert names(tmp_path) == ["one.engram", "one.engram.d"]
    assert path.read_bytes() == packed  # nothing was written
    path.rename(tmp_path / "other")  # whatever it is called, now that it is there
    with engram.open(tmp_path / "other") as memory:
        assert [record.cid for record in memory.list()] == cids
        memory.ingest_embedding(vector(77))
    assert names(tmp_path) == ["other"]
    assert not set(threading.enumerate()) - before


KEEPING = """
import sys, engram
memory = engram.open(sys.argv[1])
for number in range(50):
    print(memory.ingest_embedding([1.0, float(number)] + [0.0] * 382), flush=True)
input()
"""


def test_a_killed_process_leaves_a_folder_that_the_next_takes_up(tmp_path):
    path = tmp_path / "one.engram"
    with engram.open(path) as memory:
        first = memory.ingest_embedding(vector(99))
    command = [sys.executable, "-c", KEEPING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environ()) as keeping:
        kept = [keeping.stdout.readline().decode().strip() for _ in range(50)]
        refused = code_of(engram.open, path)
        assert isinstance(refused, FolderInUse)
        assert f"is in use by process {keeping.pid}" in refused.message
        assert "engram-node" in refused.message
        keeping.send_signal(signal.SIGKILL)
    assert names(tmp_path) == ["one.engram", "one.engram.d"]
    with engram.open(path) as memory:
        assert [record.cid for record in memory.list(limit=100)] == [first, *kept]
    assert names(tmp_path) == ["one.engram"]


def test_a_file_of_somebody_elses_is_refused_and_not_touched(tmp_path):
    for name in ("one.engram", "notes.txt"):
        (tmp_path / name).write_text("a shopping list")
        before = set(threading.enumerate())
        error = code_of(engram.open, tmp_path / name)
        assert isinstance(error, FolderRefused)
        assert f"{tmp_path / name} is not a packed memory" in error.message
        assert not set(threading.enumerate()) - before
        assert (tmp_path / name).read_text() == "a shopping list"
    assert names(tmp_path) == ["notes.txt", "one.engram"]


def test_a_folder_may_be_called_as_it_likes(tmp_path):
    (tmp_path / "x.engram").mkdir()
    with engram.open(tmp_path / "x.engram") as memory:
        memory.ingest_embedding(V)
    assert (tmp_path / "x.engram" / "FORMAT").is_file()


def test_what_cannot_be_packed_says_so_and_is_there_again(tmp_path, monkeypatch):
    memory = engram.open(tmp_path / "one.engram")
    cid = memory.ingest_embedding(V)

    rename = RealDisk.rename

    def fail(disk, source, target):
        if target.name == "one.engram":
            raise OSError(5, "Input/output error")
        rename(disk, source, target)

    with monkeypatch.context() as broken:
        broken.setattr(RealDisk, "rename", fail)
        with pytest.raises(StorageFailed, match=r"cannot pack .* Nothing is lost"):
            memory.close()
    memory.close()
    assert names(tmp_path) == ["one.engram.d"]
    with engram.open(tmp_path / "one.engram") as again:
        assert again.get(cid)
    assert names(tmp_path) == ["one.engram"]


def test_an_error_within_the_block_is_the_callers_and_it_is_packed(tmp_path):
    def fail():
        with engram.open(tmp_path / "one.engram") as memory:
            memory.ingest_embedding(V)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == ["one.engram"]


def test_a_url_gives_the_client(node):
    with engram.open(node.url) as memory:
        assert isinstance(memory, EngramClient)
        assert memory.status().node_key
    for option in ("models", "actors"):
        with pytest.raises(BadRequest, match=f"{option}: a node has its own"):
            engram.open(node.url, **{option: {}})


def test_a_url_of_another_kind_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("ftp://host", "engrams://host:1", "://"):
        with pytest.raises(BadRequest, match="is no scheme of a node's URL; these are: engram://, http://, https://"):
            engram.open(url)
        with pytest.raises(BadRequest):
            engram.open_async(url)
    assert names(tmp_path) == []


def test_a_path_object_may_say_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with engram.open(Path(":memory:")) as memory:
        assert memory.ingest_embedding(V)
    assert names(tmp_path) == []


def test_the_command_line_opens_a_single_file(tmp_path):
    with engram.open(tmp_path / "one.engram") as memory:
        cid = memory.ingest_embedding(V, {"n": 1})
    ran = run(USER, "get", cid, "--data", tmp_path / "one.engram", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert cid in ran.out
    assert names(tmp_path) == ["one.engram"]


def test_a_client_by_url_loads_no_node():
    code = "import sys, engram; engram.open('engram://127.0.0.1:1'); print({'trio', 'sqlite3'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env=environ())
    assert ran.stdout.strip() == "set()"
