"""The Disk and Tables ports in memory."""

from __future__ import annotations

import contextlib
import gc
import random
import sqlite3
import threading
from pathlib import Path

import pytest

from engram.runtime import Buffer, MemoryDisk, MemoryTables, RealDisk

DB = Path("/m/state.db")


def test_a_buffer_is_as_a_plain_bytearray_under_any_row_of_calls():
    rng = random.Random(7)
    for _ in range(50):
        ours, plain, views = Buffer(b"begin"), bytearray(b"begin"), []
        for _ in range(60):
            match rng.randrange(4):
                case 0:
                    at, data = rng.randrange(20_000), rng.randbytes(rng.randrange(5000))
                    ours.write(at, data)
                    plain.extend(bytes(max(0, at + len(data) - len(plain))))
                    plain[at : at + len(data)] = data
                case 1:
                    size = rng.randrange(25_000)
                    ours.truncate(size)
                    del plain[size:]
                    plain.extend(bytes(size - len(plain)))
                case 2:
                    views.append(ours.view())
                case 3:
                    at, size = rng.randrange(30_000), rng.randrange(30_000)
                    assert ours.read(at, size) == plain[at : at + size]
            assert ours.size == len(plain)
            for view in views:
                seen = min(len(view), len(plain))
                assert view[:seen] == plain[:seen]


def test_a_buffer_writes_along_only_what_somebody_still_maps():
    buffer = Buffer()
    view = buffer.view()
    for size in (10_000, 100_000, 1_000_000):
        buffer.write(size, b"x")
    assert len(buffer._all()) == 2
    view.release()
    del view
    gc.collect()
    assert len(buffer._all()) == 1


def disks(tmp_path):
    return [(MemoryDisk(), Path("/m")), (RealDisk(), tmp_path / "m")]


def test_it_does_as_the_real_disk_does(tmp_path):
    said = []
    for disk, folder in disks(tmp_path):
        answers = []

        def tell(call, *arguments, answers=answers, **options):
            try:
                answers.append(call(*arguments, **options))
            except OSError as error:
                answers.append(error.errno)

        tell(disk.open, folder / "a")
        tell(disk.list, folder)
        disk.make_folder(folder / "deep" / "er")
        disk.make_folder(folder)
        for name in ("b", "a", "deep/c"):
            file = disk.open(folder / name, create=True, private=True)
            file.write(3, name.encode())
            file.sync()
            file.datasync()
            answers += [file.size(), file.read(0, 100), bytes(file.map())]
            file.truncate(2)
            answers += [file.size(), file.read(1, 5)]
            file.close()
            file.close()
        tell(disk.list, folder)
        tell(disk.list, folder / "deep")
        answers += [disk.exists(folder / name) for name in ("a", "deep", "deep/c", "no", "deep/no")]
        answers += [disk.is_folder(folder / name) for name in ("a", "deep", "no")]
        tell(disk.rename, folder / "a", folder / "deep" / "a")
        tell(disk.rename, folder / "a", folder / "b")
        tell(disk.remove, folder / "a")
        tell(disk.remove_folder, folder / "deep")
        tell(disk.remove, folder / "deep" / "a")
        tell(disk.remove, folder / "deep" / "c")
        tell(disk.remove_folder, folder / "deep" / "er")
        tell(disk.remove_folder, folder / "deep")
        tell(disk.remove_folder, folder / "deep")
        tell(disk.list, folder)
        tell(disk.sync_folder, folder)
        first, second = (disk.open(folder / "b") for _ in range(2))
        answers += [first.lock(), second.lock(), first.lock()]
        first.close()
        answers += [second.lock()]
        second.close()
        reading = disk.open(folder / "b", writable=False)
        tell(reading.write, 0, b"x")
        reading.close()
        said.append(answers)
    assert said[0] == said[1]


@pytest.fixture
def tables():
    tables = MemoryTables()
    yield tables
    tables.close()


def test_readers_see_what_was_committed_and_wait_for_what_is_being_written(tables):
    writer = tables.connect(DB)
    writer.execute("CREATE TABLE t (n)")
    reader = tables.connect(DB, readonly=True)
    writer.execute("BEGIN")
    writer.execute("INSERT INTO t VALUES (1)")
    seen = []
    waiting = threading.Thread(target=lambda: seen.append(reader.execute("SELECT n FROM t").fetchall()))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    writer.execute("COMMIT")
    waiting.join(10)
    assert seen == [[(1,)]]
    writer.execute("BEGIN")
    writer.execute("INSERT INTO t VALUES (2)")
    writer.execute("ROLLBACK")
    assert reader.execute("SELECT n FROM t").fetchall() == [(1,)]
    for connection in (writer, reader):
        connection.close()


def test_who_closes_in_the_middle_of_a_transaction_lets_the_others_go_on(tables):
    writer, reader = tables.connect(DB), tables.connect(DB, readonly=True)
    writer.execute("CREATE TABLE t (n)")
    writer.execute("BEGIN")
    writer.close()
    assert reader.execute("SELECT n FROM t").fetchall() == []
    reader.close()


def test_a_long_read_and_many_writes_let_each_other_through(tables):
    writer, reader = tables.connect(DB), tables.connect(DB, readonly=True)
    writer.execute("CREATE TABLE t (n)")
    writer.execute("INSERT INTO t VALUES (0)")
    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            rows = [n for (n,) in reader.execute("SELECT n FROM t ORDER BY n")]
            if rows != list(range(len(rows))):
                wrong.append(rows)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        for number in range(1, 300):
            writer.execute("BEGIN")
            writer.execute("INSERT INTO t VALUES (?)", (number,))
            writer.execute("COMMIT")
    finally:
        stop.set()
        reading.join(10)
    assert not wrong
    for connection in (writer, reader):
        connection.close()


def test_two_memories_have_two_databases():
    one, other = MemoryTables(), MemoryTables()
    with contextlib.closing(one.connect(DB)) as first, contextlib.closing(other.connect(DB)) as second:
        first.execute("CREATE TABLE t (n)")
        with pytest.raises(sqlite3.OperationalError):
            second.execute("SELECT * FROM t")
    one.close()
    other.close()
