"""Many callers of one client: threads, tasks, forks, loops that come and go, calls that are cut short."""

import asyncio
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from doors import WIRES
from flavours import again

from engram.errors import DeadlineExceeded, Unavailable
from engram.sdk import AsyncEngramClient, EngramClient
from engram.sdk._sync._pool import _LINKS
from engram.wire import Put

LOOPS = ["asyncio", "trio"]
on_each_loop = pytest.mark.parametrize("loop", LOOPS)
over_each_wire = pytest.mark.parametrize("wire", WIRES)
httpx_leaves_its_generators_to_trio = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Where a call is cancelled while it is sent."""


@over_each_wire
def test_a_hundred_threads_share_a_client(node):
    with EngramClient(node.url, timeout=60) as client, ThreadPoolExecutor(100) as threads:

        def work(name):
            return [client.get(client.ingest(f"{name} {n}")).text == f"{name} {n}" for n in range(3)]

        assert all(all(found) for found in threads.map(work, range(100)))


@over_each_wire
@on_each_loop
def test_hundreds_of_tasks_share_a_client(node, loop):
    async def main():
        right = []

        async def work(n):
            cid = await client.ingest(f"text {n}")
            right.append((await client.get(cid)).text == f"text {n}")

        count = 1000 if node.wire == "rpc" else 300  # a door of Python takes its time over HTTP
        async with AsyncEngramClient(node.url, timeout=60) as client, anyio.create_task_group() as tasks:
            for n in range(count):
                tasks.start_soon(work, n)
        assert right == [True] * count

    anyio.run(main, backend=loop)


@on_each_loop
def test_no_more_connections_are_made_than_the_pool_has(node, loop):
    async def main():
        async with AsyncEngramClient(node.url, timeout=60) as client, anyio.create_task_group() as tasks:
            for n in range(200):
                tasks.start_soon(client.ingest, "wait", {"n": n})
            with anyio.fail_after(20):
                while node.service.waiting < _LINKS:  # noqa: ASYNC110 - another loop counts
                    await anyio.sleep(0.01)
            node.open_gate()
        assert node.service.most_waiting == _LINKS
        assert len(node.service.records) == 200

    anyio.run(main, backend=loop)


@httpx_leaves_its_generators_to_trio
@over_each_wire
@on_each_loop
def test_a_cancelled_call_is_given_up_by_the_node_and_leaves_no_answer_for_the_next_one(node, loop):
    async def main():
        async with AsyncEngramClient(node.url, timeout=20) as client:
            for _ in range(3):
                with anyio.move_on_after(0.05) as scope:
                    await client.ingest("wait")
                assert scope.cancelled_caught
                with anyio.fail_after(20):
                    while node.service.waiting:  # noqa: ASYNC110 - another loop counts
                        await anyio.sleep(0.01)
                assert (await client.get(await client.ingest("a"))).text == "a"
            assert await client.embed("a") == await client.embed("a")

    anyio.run(main, backend=loop)


@httpx_leaves_its_generators_to_trio
@over_each_wire
@on_each_loop
def test_what_waits_for_a_connection_may_be_cancelled(node, loop):
    async def main():
        async with AsyncEngramClient(node.url, timeout=20) as client:
            with anyio.move_on_after(0.2):
                async with anyio.create_task_group() as tasks:
                    for _ in range(100):
                        tasks.start_soon(client.ingest, "wait")
            assert await client.is_online()

    anyio.run(main, backend=loop)


def test_a_wait_for_a_connection_counts_in_the_calls_time(node):
    with EngramClient(node.url, timeout=0.3) as client, ThreadPoolExecutor(100) as threads:
        calls = [threads.submit(client.ingest, "wait") for _ in range(100)]
        assert all(isinstance(call.exception(), DeadlineExceeded) for call in calls)


@over_each_wire
def test_a_client_may_be_used_in_one_loop_after_another(node):
    client = AsyncEngramClient(node.url, timeout=20)

    async def use():
        try:
            return await client.ingest("a")
        finally:
            if node.wire == "http":
                await client._calls._pool.aclose()

    cids = {asyncio.run(use()), asyncio.run(use()), anyio.run(use, backend="trio")}
    assert len(cids) == 1
    asyncio.run(client.aclose())


@over_each_wire
def test_closing_ends_calls_under_way(node, connect):
    client = connect(node.url, timeout=20)
    failures = []

    def work():
        try:
            client.ingest("wait")
        except Unavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while node.service.waiting < 3:
        pass
    client.close()
    for thread in threads:
        thread.join(10)
    assert len(failures) == 3


@over_each_wire
def test_a_pickled_client_is_another_one(node, connect):
    client = connect(node.url, timeout=20)
    cid = client.ingest("a")
    with again(client) as other:
        client.close()
        assert other.get(cid).text == "a"
        assert (other.url, other.timeout) == (client.url, client.timeout)


FORKS = """
import os, sys, threading
from engram.sdk import EngramClient
client = EngramClient(sys.argv[1], timeout=20)
stop = threading.Event()
def use(name):
    for n in range(20):
        assert client.get(client.ingest(f"{name} {n}")).text == f"{name} {n}"
threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
children = []
for n in range(5):
    child = os.fork()
    if child == 0:
        try:
            use(f"child {n}")
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
for thread in threads: thread.join()
client.close()
sys.exit(any(codes))
"""


@over_each_wire
def test_a_client_is_forked_in_the_midst_of_its_calls(node):
    done = subprocess.run([sys.executable, "-c", FORKS, node.url], capture_output=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(node.service.records) == 9 * 20


@pytest.mark.parametrize("wire", ["http"])
def test_what_openssl_locks_is_made_before_there_are_threads_to_fork_beside(node, connect, monkeypatch):
    client = connect(node.url, timeout=20)
    monkeypatch.setattr(ssl, "SSLContext", None)
    assert client.get(client.ingest("a")).text == "a"


@over_each_wire
def test_one_thread_of_a_forked_child_makes_the_client_the_childs_own(node, monkeypatch):
    """Another used it half made: with a lock that a thread of the parent may hold for ever."""
    client = EngramClient(node.url, timeout=20)
    pool = sys.modules[f"engram.sdk._sync._{'pool' if node.wire == 'rpc' else 'http'}"]
    monkeypatch.setattr(pool, "home", lambda: -1)
    answered, waited = threading.Event(), []

    def after_fork():
        waited.append(not answered.wait(0.3))

    def use():
        assert client.is_online()
        answered.set()

    monkeypatch.setattr(client._calls.policy, "after_fork", after_fork)
    with ThreadPoolExecutor(2) as threads:
        for used in [threads.submit(use) for _ in range(2)]:
            used.result()
    client.close()
    assert waited == [True]


FORKED_UNDER_WAY = """
import os, sys, threading
from engram.sdk import EngramClient
client = EngramClient(sys.argv[1], timeout=20)
waiting = threading.Thread(target=client.ingest, args=("wait",))
waiting.start()
sys.stdin.readline()
child = os.fork()
if child == 0:
    assert client.is_online()
    client.close()
    os._exit(0)
print(os.waitpid(child, 0)[1], flush=True)
waiting.join()
client.close()
"""


@over_each_wire
def test_a_forked_child_closes_none_of_its_parents_connections(node):
    """It shut them down, and the parent's call was lost, and made again."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED_UNDER_WAY, node.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        while not node.service.waiting:
            assert parent.poll() is None
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "0\n"
        node.open_gate()
        assert parent.wait(20) == 0
    assert [request.text for request in node.service.requests if isinstance(request, Put)] == ["wait"]


FORKED_LOOP = """
import asyncio, os, sys
from engram.sdk import AsyncEngramClient
client = AsyncEngramClient(sys.argv[1], timeout=20)
async def use(name):
    return (await client.get(await client.ingest(name))).text == name
async def main():
    assert await use("before")
    child = os.fork()
    if child == 0:
        import threading
        right = []
        def run():
            async def both():
                right.append(await use("child"))
                await client.aclose()
            asyncio.run(both())
        thread = threading.Thread(target=run)
        thread.start(); thread.join()
        os._exit(right != [True])
    assert os.waitpid(child, 0)[1] == 0
    assert await use("after")
    await client.aclose()
asyncio.run(main())
"""


@over_each_wire
def test_an_asynchronous_client_is_forked(node):
    done = subprocess.run([sys.executable, "-c", FORKED_LOOP, node.url], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(node.service.records) == 3
