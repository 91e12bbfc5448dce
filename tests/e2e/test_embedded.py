"""`engram.open` in all sorts of programs, and what it leaves behind: nothing."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio
from e2e.processes import USER, code_of, environ, run

import engram
from engram.errors import BadRequest, FolderInUse, FolderRefused, Unavailable
from engram.runtime import Message, Plugin, handle

V = [1.0] + [0.0] * 383


def vector(number):
    return [1.0, float(number), *[0.0] * 382]


def open_files(folder):
    """Give the files of the folder that this process holds."""
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return [path for path in links if path.startswith(str(folder))]


def mapped(folder):
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]


def test_a_with_block_leaves_no_thread_and_no_file(tmp_path):
    before = set(threading.enumerate())
    with engram.open(tmp_path / "data") as memory:
        cid = memory.ingest_embedding(V)
        assert memory.query_by_vector(V)[0].cid == cid
        assert open_files(tmp_path)
    assert set(threading.enumerate()) == before
    assert open_files(tmp_path) == []
    assert mapped(tmp_path) == []


def test_an_error_within_the_block_is_the_callers_and_the_folder_is_released(tmp_path):
    before = set(threading.enumerate())

    def fail():
        with engram.open(tmp_path) as memory:
            memory.ingest_embedding(V)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert set(threading.enumerate()) == before
    with engram.open(tmp_path) as memory:
        assert memory.status().records == 1


def test_closed_twice_and_called_after(tmp_path):
    memory = engram.open(tmp_path)
    memory.close()
    memory.close()
    for call in (
        memory.status,
        memory.list,
        lambda: memory.ingest_embedding(V),
        lambda: memory.ingest("x"),
        lambda: memory.query_by_vector(V),
        lambda: memory.get("v1::" + "0" * 64),
        memory.namespaces.list,
    ):
        error = code_of(call)
        assert isinstance(error, Unavailable)
        assert "this memory is closed; open it again" in error.message
    assert memory.is_online() is False
    with memory:
        pass


def test_a_second_open_is_refused_with_the_pid_and_the_first_goes_on(tmp_path):
    before = set(threading.enumerate())
    with engram.open(tmp_path) as memory:
        memory.embed("x")  # the model is loaded, and what loaded it is gone
        during = set(threading.enumerate())
        for path in (tmp_path, str(tmp_path), tmp_path / "." / "x" / ".."):
            error = code_of(engram.open, path)
            assert isinstance(error, FolderInUse)
            assert f"is in use by process {os.getpid()}" in error.message
        assert set(threading.enumerate()) == during
        assert memory.ingest_embedding(V)
    assert set(threading.enumerate()) == before


def test_another_process_is_refused_too(tmp_path):
    program = "import sys, engram; engram.open(sys.argv[1])"
    with engram.open(tmp_path):
        ran = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, env=environ(), check=False
        )
    assert ran.returncode == 1
    assert f"FolderInUse: the data folder {tmp_path} is in use by process {os.getpid()}".encode() in ran.stderr


@pytest.mark.parametrize(
    "path",
    ["/proc/engram", "/dev/null/x", "/proc/version", "a\0b", "a\0b.engram", "/proc/x.engram", "/dev/null/x.engram"],
)
def test_a_folder_that_cannot_be_is_refused_and_leaves_no_thread(path):
    before = set(threading.enumerate())
    assert isinstance(code_of(engram.open, path), FolderRefused)
    assert set(threading.enumerate()) == before


def test_it_is_called_from_any_thread(tmp_path):
    with engram.open(tmp_path) as memory, ThreadPoolExecutor(16) as pool:
        cids = list(pool.map(lambda n: memory.ingest_embedding(vector(n % 50 + 1)), range(200)))
        assert len(set(cids)) == 50
        assert memory.status().position == 51
        found = pool.map(lambda n: memory.query_by_vector(vector(n), top_k=1)[0].cid, range(1, 51))
        assert list(found) == cids[:50]


def test_it_is_opened_used_and_closed_by_different_threads(tmp_path):
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        memory = one.submit(engram.open, tmp_path).result()
        cid = other.submit(memory.ingest_embedding, V).result()
        one.submit(memory.close).result()
    assert code_of(memory.get, cid).code == "unavailable"


def test_closing_while_others_call_answers_them_all(tmp_path):
    memory = engram.open(tmp_path)
    going, outcomes = threading.Barrier(9), []

    def use(who):
        going.wait()
        for number in range(1, 500):
            try:
                outcomes.append(memory.ingest_embedding(vector(who * 1000 + number)))
            except Unavailable as error:
                outcomes.append(error)
                return

    threads = [threading.Thread(target=use, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    going.wait()
    memory.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    with engram.open(tmp_path) as again:
        kept = [outcome for outcome in outcomes if isinstance(outcome, str)]
        for cid in kept:
            assert again.get(cid).cid == cid


def test_within_a_running_trio_program(tmp_path):
    async def main():
        with engram.open(tmp_path) as memory:
            cid = memory.ingest_embedding(V)
            return cid, await trio.to_thread.run_sync(lambda: memory.query_by_vector(V)[0].cid)

    first, second = trio.run(main)
    assert first == second


def test_within_a_running_asyncio_program(tmp_path):
    async def main():
        with engram.open(tmp_path) as memory:
            cid = memory.ingest_embedding(V)
            return cid, await asyncio.to_thread(lambda: memory.query_by_vector(V)[0].cid)

    first, second = asyncio.run(main())
    assert first == second


class Keep(Message[str], frozen=True):
    pass


class Careless(Plugin):
    memory = None

    @handle
    async def keep(self, message: Keep) -> str:
        del message
        self.memory.ingest_embedding(V)


def test_a_plug_in_that_calls_the_memory_and_not_its_node_is_told_and_does_not_wait_for_itself(tmp_path):
    with engram.open(tmp_path, actors={"careless": {"class": Careless}}) as memory:
        Careless.memory = memory
        with pytest.raises(BadRequest, match=r"self\.node\.call"):
            memory.ask("careless", Keep())
        assert memory.ingest_embedding(V)


def test_a_text_waits_for_the_model_and_reads_its_own_write(tmp_path, weights):
    with engram.open(tmp_path) as memory:
        cid = memory.ingest("the first call after opening")
        assert memory.query("the first call", top_k=1)[0].cid == cid
    with engram.open(tmp_path) as memory:
        assert memory.get(cid).text == "the first call after opening"


FORGETFUL = """
import sys, engram
memory = engram.open(sys.argv[1])
print(memory.ingest_embedding([1.0] * 384))
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError", 1), ("import os; os._exit(4)", 4)]
)
def test_a_program_that_never_closes_ends_all_the_same_and_loses_nothing(tmp_path, end, code):
    command = [sys.executable, "-c", FORGETFUL.format(end=end), str(tmp_path / "data")]
    ran = subprocess.run(command, capture_output=True, env=environ(), timeout=30, check=False)
    assert ran.returncode == code
    assert b"Fatal" not in ran.stderr
    assert (b"Traceback" in ran.stderr) == ("raise" in end)
    with engram.open(tmp_path / "data") as memory:
        assert memory.get(ran.stdout.decode().strip())


FORKING = """
import os, sys, engram
memory = engram.open(sys.argv[1])
ended, end = os.pipe()
child = os.fork()
if child == 0:
    os.close(end)
    os.read(ended, 1)  # until the parent has closed its end
    os._exit(0)
memory.close()
with engram.open(sys.argv[1]) as again:
    print(again.status().records)
os.close(end)
os.waitpid(child, 0)
"""


def test_a_forked_child_does_not_hold_the_folder_that_its_parent_has_closed(tmp_path):
    """A worker of multiprocessing inherited the lock, and its parent could not open the folder again."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, env=environ(), timeout=30, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"0\n", b"")


def test_a_memory_is_no_parcel(tmp_path):
    with engram.open(tmp_path) as memory, pytest.raises(TypeError):
        pickle.dumps(memory)


def test_the_command_line_opens_a_folder_by_itself(tmp_path, weights):
    data = tmp_path / "data"
    kept = run(USER, "ingest", "kept without a node", "--data", data)
    assert (kept.code, kept.err) == (0, "")
    found = run(USER, "query", "without a node", "--data", data)
    assert found.out.split("\t")[1] == kept.out.strip()
    assert len(kept.out.splitlines()) == len(found.out.splitlines()) == 1  # the library's own log went there, too
    assert (found.code, found.err) == (0, "")


def test_an_empty_path_is_refused():
    with pytest.raises(BadRequest, match="it is empty"):
        engram.open("")
