"""The other simulated ports: tables, threads, network, time."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
import trio

from engram.testing import (
    Crashed,
    NetworkFaults,
    Power,
    SimClock,
    SimDisk,
    SimNetwork,
    SimOffload,
    SimTables,
    run_seeded,
    stream,
)

DB = Path("/data/state.db")


@pytest.fixture
def disk():
    disk = SimDisk()
    disk.make_folder(DB.parent)
    return disk


def tables_with(disk, commits):
    tables = SimTables(disk, stream(3, "tables"))
    writer = tables.connect(DB)
    writer.execute("CREATE TABLE t (n)")
    for number in range(commits):
        writer.execute("BEGIN")
        writer.execute("INSERT INTO t VALUES (?)", (number,))
        writer.execute("COMMIT")
    return tables, writer


def rows(tables):
    with contextlib.closing(tables.connect(DB, readonly=True)) as reader:
        return [number for (number,) in reader.execute("SELECT n FROM t")]


def test_a_reader_sees_what_was_committed(disk):
    tables, writer = tables_with(disk, 2)
    assert rows(tables) == [0, 1]
    writer.execute("BEGIN")
    writer.execute("INSERT INTO t VALUES (9)")
    with contextlib.closing(tables.connect(DB, readonly=True)) as reader, pytest.raises(sqlite3.OperationalError):
        reader.execute(
            "SELECT n FROM t"
        ).fetchall()  # memory has no WAL: it waits, and never sees what is not committed
    writer.execute("ROLLBACK")
    tables.close()


def test_a_crash_leaves_the_image_of_some_commit(disk):
    tables, _ = tables_with(disk, 12)
    lengths = set()
    for _ in range(40):
        image = disk.image(loss())
        left = tables.image(image, "some")
        with contextlib.suppress(sqlite3.OperationalError):  # from before the table was made
            found = rows(left)
            assert found == list(range(len(found)))
            lengths.add(len(found))
        left.close()
    assert len(lengths) > 3
    tables.close()


def loss():
    from engram.testing import LoseAll

    return LoseAll()


def test_damaged_tables_are_refused_by_sqlite_and_missing_ones_are_empty(disk):
    tables, _ = tables_with(disk, 3)
    image = disk.image(loss())
    damaged = tables.image(image, "damaged")
    with pytest.raises(sqlite3.DatabaseError) as caught:
        rows(damaged)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_NOTADB
    missing = tables.image(image, "missing")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        rows(missing)
    for each in (tables, damaged, missing):
        each.close()


def test_tables_that_the_disk_removed_are_gone(disk):
    tables, _ = tables_with(disk, 3)
    disk.remove(DB)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        rows(tables)
    tables.close()


def test_a_lane_takes_its_calls_in_order_and_as_many_at_once_as_it_has_threads():
    async def main():
        order = []
        async with trio.open_nursery() as nursery:
            offload = SimOffload(nursery, {"one": 1, "two": 2}, stream(0, "offload"), Power())
            async with trio.open_nursery() as callers:
                for number in range(20):
                    callers.start_soon(offload.run, "one", lambda number=number: order.append(number))
                await trio.testing.wait_all_tasks_blocked()
                assert offload.under_way == 1
            assert offload.under_way == 0
        return order

    queued = run_seeded(main, 1)
    assert sorted(queued) == list(range(20))


def test_an_abandoned_wait_leaves_the_call_running_and_closing_finishes_what_is_queued():
    async def main():
        done = []
        async with trio.open_nursery() as nursery:
            offload = SimOffload(nursery, {"one": 1}, stream(0, "offload"), Power())
            for number in range(3):
                with trio.move_on_after(0):
                    await offload.run("one", lambda number=number: done.append(number))
            offload.close()
            assert done == [0, 1, 2]

    run_seeded(main, 1)


def test_the_end_of_the_power_ends_every_waiter():
    async def main():
        power = Power()
        async with trio.open_nursery() as nursery:
            offload = SimOffload(nursery, {"one": 1}, stream(0, "offload"), power)

            def crash():
                power.cut()
                raise Crashed

            with pytest.raises(BaseExceptionGroup) as caught:
                async with trio.open_nursery() as callers:
                    callers.start_soon(offload.run, "one", crash)
                    callers.start_soon(offload.run, "one", list)
            assert {type(error) for error in caught.value.exceptions} == {Crashed}
            with pytest.raises(Crashed):
                await offload.run("one", list)

    run_seeded(main, 1)


def test_virtual_time_passes_at_once():
    async def main():
        clock = SimClock()
        before = clock.now_ns(), clock.monotonic()
        await clock.sleep(86_400)
        assert clock.now_ns() - before[0] == 86_400 * 10**9
        assert clock.monotonic() - before[1] == 86_400

    run_seeded(main, 0)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_arrive_in_order_whatever_the_pieces(seed):
    async def main():
        network = SimNetwork(stream(seed, "network"), NetworkFaults(pieces=0.7, latency_spread_s=0.5))
        [(_, listener)] = await network.host().listen("127.0.0.1", 8090)
        sent = stream(seed, "data").randbytes(300_000)
        got = bytearray()

        async def serve():
            stream_ = await listener.accept()
            async with stream_:
                async for data in stream_:
                    got.extend(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with await network.host().connect("127.0.0.1", 8090) as client:
                await client.send_all(sent)
        assert got == sent

    run_seeded(main, seed)


def test_nobody_listens_and_the_connect_is_refused():
    async def main():
        with pytest.raises(ConnectionRefusedError):
            await SimNetwork(stream(0, "network")).host().connect("127.0.0.1", 1)

    run_seeded(main, 0)


def test_a_host_that_loses_its_power_takes_its_connections_along():
    async def main():
        network, power = SimNetwork(stream(0, "network")), Power()
        [(_, listener)] = await network.host(power).listen("127.0.0.1", 8090)
        client = await network.host().connect("127.0.0.1", 8090)
        served = await listener.accept()
        power.cut()
        for end in (client, served):
            with pytest.raises(trio.BrokenResourceError):
                await end.receive_some()
        with pytest.raises(ConnectionRefusedError):
            await network.host().connect("127.0.0.1", 8090)

    run_seeded(main, 0)


def test_simulated_streams_keep_trios_rules():
    async def main():
        network = SimNetwork(stream(0, "network"), NetworkFaults(latency_spread_s=0.001))
        port = 9000

        async def pair():
            nonlocal port
            port += 1
            [(_, listener)] = await network.host().listen("127.0.0.1", port)
            client = await network.host().connect("127.0.0.1", port)
            return client, await listener.accept()

        with trio.fail_after(60):
            await trio.testing.check_half_closeable_stream(pair, None)

    trio.run(main)


def test_the_seed_decides_the_order_of_the_tasks():
    async def main():
        order = []

        async def note(number):
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(note, number)
        return tuple(order)

    assert run_seeded(main, 5) == run_seeded(main, 5)
    assert len({run_seeded(main, seed) for seed in range(10)}) > 5


def test_a_trio_that_cannot_be_seeded_is_refused(monkeypatch):
    monkeypatch.delattr("trio._core._run._r")
    with pytest.raises(RuntimeError, match="cannot be seeded"):
        run_seeded(trio.sleep_forever, 0)
