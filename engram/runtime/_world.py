"""The other real ports: time, randomness, threads, SQLite."""

from __future__ import annotations

import os
import queue
import resource
import sqlite3
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

_DESCRIPTORS = 65_536
_WAL_PAGES = 4096
"""Pages of 4 KiB after which the WAL goes into the database: by then one page stands there many times."""


class RealClock:
    """The machine's clocks behind `engram.ports.Clock`."""

    def now_ns(self) -> int:
        """Give unix time in nanoseconds."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Give seconds that only grow."""
        return time.monotonic()

    async def sleep(self, duration_s: float) -> None:
        """Wait."""
        await trio.sleep(duration_s)


class RealRng:
    """The kernel's randomness behind `engram.ports.Rng`."""

    def bytes(self, count: int) -> bytes:
        """Give `count` random bytes."""
        return os.urandom(count)


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may: one a connection, one a body segment."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class RealTables:
    """SQLite behind `engram.ports.Tables`: WAL; synchronous NORMAL, since every table can be refolded from the log."""

    def connect(self, path: Path, *, readonly: bool = False) -> sqlite3.Connection:
        """Open a database for use by one thread at a time."""
        mode = "ro" if readonly else "rwc"
        connection = sqlite3.connect(
            f"file:{_quoted(path)}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        if not readonly:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        return connection


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class Threads:
    """Lanes of threads behind `engram.ports.Offload`; they are ours, and joined at the end."""

    def __init__(self, lanes: Mapping[str, int], *, background: frozenset[str] = frozenset()) -> None:
        """`lanes`: threads a lane. `background`: lanes whose threads give way to the others."""
        self._queues: dict[str, queue.SimpleQueue[Callable[[], None] | None]] = {}
        self._threads: list[tuple[str, threading.Thread]] = []
        for lane, count in lanes.items():
            self._queues[lane] = queue.SimpleQueue()
            for number in range(count):
                thread = threading.Thread(
                    target=_work, args=(self._queues[lane], lane in background), name=f"engram-{lane}-{number}"
                )
                thread.start()
                self._threads.append((lane, thread))

    async def run(self, lane: str, call: Callable[[], T]) -> T:
        """Run `call` on a thread of `lane`; its exception is raised here."""
        job = _Job(call, trio.lowlevel.current_trio_token())
        self._queues[lane].put(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def close(self) -> None:
        """Let every thread finish what is queued, then join it."""
        for lane, _ in self._threads:
            self._queues[lane].put(None)
        for _, thread in self._threads:
            thread.join()
        self._threads.clear()


class _Job:
    def __init__(self, call: Callable[[], Any], token: trio.lowlevel.TrioToken) -> None:
        self.call = call
        self.token = token
        self.done = trio.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self.result = self.call()
        except Exception as error:  # noqa: BLE001 (it is carried to the task that waits, which raises it)
            self.error = error
        except BaseException as error:  # noqa: BLE001 (a panic of the native core is a bug like any other)
            self.error = RuntimeError(f"{type(error).__name__} on a thread of ours")
            self.error.__cause__ = error
        try:
            self.token.run_sync_soon(self.done.set)
        except trio.RunFinishedError:
            return  # nobody waits any more


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None], give_way: bool) -> None:  # noqa: FBT001
    if give_way and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    while (job := jobs.get()) is not None:
        job()
